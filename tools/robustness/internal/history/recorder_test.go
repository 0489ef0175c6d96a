package history_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
)

func TestHistoryIsReadAsWritten(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	r := history.NewRecorder(&file)
	for _, e := range []history.Entry{
		{Op: &history.Op{Client: "changer-0", Verb: history.Start, Outcome: history.OK, Invoked: 1, Returned: 2, Seen: []history.Seen{{Session: "s", RuntimeID: "r"}}}},
		{Pod: &history.Pod{Record: "sandbox-a", Name: "p"}},
		{Event: &history.Event{ID: "r/1", Number: 1}},
		{View: &history.View{Key: "default.sandbox-a", Generation: 4}},
		{Fault: &history.Fault{Kind: "kill", Round: 1}},
		{Pulse: &history.Pulse{Late: 30}},
		{End: &history.End{Tenant: "default", Seen: history.Seen{Session: "s", Status: "running"}}},
		{Sample: &history.Sample{Kind: "gateway", Name: "gateway-0", Figures: map[history.Figure]int64{history.Goroutines: 40}}},
		{Left: &history.Left{Kind: "Pod", Name: "p"}},
	} {
		r.Add(e)
	}
	recorded, err := r.History()
	if err != nil {
		t.Fatal(err)
	}
	read, err := history.Read(&file)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(read, recorded) || len(read.Ops) != 1 || len(read.Left) != 1 {
		t.Errorf("read %+v, recorded %+v", read, recorded)
	}
	if _, err := history.Read(strings.NewReader(`{"op":`)); err == nil {
		t.Error("half a line was read")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestAFullDiskIsTold(t *testing.T) {
	t.Parallel()
	r := history.NewRecorder(full{})
	r.Add(history.Entry{Pulse: &history.Pulse{}})
	if _, err := r.History(); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("%v, want the writer's error", err)
	}
}
