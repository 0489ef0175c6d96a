package contract_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

var update = flag.Bool("update", false, "write the golden files anew")

var born = time.Date(2026, 3, 4, 5, 6, 7, 89_000_000, time.UTC)

func ptr[T any](v T) *T { return &v }

func fullCommand() sandbox.Command {
	return sandbox.Command{
		ID: "Tm90LWEtc2VjcmV0LWlk", Verb: sandbox.Start, Tenant: "acme", SessionID: "3dHk9Qz1LmNoPqRsTuVwXy", Deadline: born.Add(8 * time.Second),
		Spec: &sandbox.Spec{
			Image: "ghcr.io/openhands/agent-server:1.2", Command: []string{"/agent", "--port", "60000"}, WorkingDir: "/workspace",
			Environment: map[string]string{"LOG_JSON": "true", "HTML": "<a href=\"x\">&"}, ResourceFactor: 2, RuntimeClass: "sysbox-runc",
			RunAsUser: ptr[int64](0), RunAsGroup: ptr[int64](10001), FSGroup: ptr[int64](10001), ImagePullPolicy: "Always",
			Lifecycle: &sandbox.Lifecycle{
				Idle: ptr[int64](1200), MaxAge: ptr[int64](0), Retention: ptr[int64](864_000), Pending: ptr[int64](900), Unclaimed: ptr[int64](600),
			},
		},
		Limits:    &sandbox.Limits{Key: "team-a", Sandboxes: 10, CPU: 8000, Memory: 16 << 30, StartsPerMinute: 30},
		RotateKey: true, Fresh: true,
	}
}

func boundCommand() sandbox.Command {
	return sandbox.Command{
		ID: "id", Verb: sandbox.Reconcile, Tenant: "acme", SessionID: "s", RuntimeID: runtimeID, Generation: 1_772_600_767_089, RecordUID: "record-uid", PodUID: "pod-uid",
		Fence: 1_772_600_767_089_122, Reason: "idle for 20m0s",
	}
}

func fullView() *sandbox.View {
	return &sandbox.View{
		Record: recordName, RecordUID: "record-uid", Tenant: "acme", SessionID: "s", RuntimeID: runtimeID,
		Generation: 1_772_600_767_089, Incarnation: 2, Order: 1<<64 - 1, LastCommand: "id",
		Status: sandbox.StatusRunning, PodStatus: sandbox.PodRunning, StatusDetail: "Error: exit code 3",
		Route: sandbox.Route{
			Label: "s-abcdefghijklmnop", URL: "https://s-abcdefghijklmnop.run.example.org", VSCodeURL: "https://vscode-s-abcdefghijklmnop.run.example.org",
			WorkHosts: map[string]int{"https://work-1-s-abcdefghijklmnop.run.example.org": 12000, "https://work-2-s-abcdefghijklmnop.run.example.org": 12001},
		},
		Address: "10.1.2.3", SessionKey: "the-session-key", SealedKey: "c2VhbGVk",
		RestartCount: 1, RestartReasons: []string{"Error"}, PodLogs: "panic\n", Image: "agent:1", CreatedAt: born, Served: true, UnreadySince: born.Add(time.Minute),
		RouteCheck: sandbox.RouteVerified,
		Transitions: []sandbox.Transition{
			{RuntimeID: runtimeID, Number: 6, Type: sandbox.EventReady, Time: born.Add(time.Second)},
			{RuntimeID: runtimeID, Number: 7, Type: sandbox.EventUnready, Time: born.Add(time.Minute), Reason: "the readiness probe fails"},
		},
	}
}

func leastView() *sandbox.View {
	return &sandbox.View{
		Record: recordName, Tenant: "acme", SessionID: "s", RuntimeID: runtimeID, Generation: 1, Incarnation: 1,
		Status: sandbox.StatusStopped, PodStatus: sandbox.PodNotFound, Route: sandbox.Route{WorkHosts: map[string]int{}},
	}
}

// The messages as other versions of the services read them. A difference here
// breaks a fleet of two versions.
func TestGolden(t *testing.T) {
	t.Parallel()
	body := func(v any) []byte {
		t.Helper()
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	command := func(c sandbox.Command) []byte {
		t.Helper()
		subject, out, err := contract.EncodeCommand(c)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := contract.DecodeCommand(subject, out); err != nil || !reflect.DeepEqual(back, c) {
			t.Errorf("read back as %+v, %v", back, err)
		}
		return out
	}
	view := func(v *sandbox.View) []byte {
		t.Helper()
		out, err := contract.EncodeView(v)
		if err != nil {
			t.Fatal(err)
		}
		want := v.Clone()
		want.SessionKey = "" // only its sealed form travels
		if back, err := contract.DecodeView(contract.ViewKey(v.Tenant, v.Record), out); err != nil || !reflect.DeepEqual(back, want) {
			t.Errorf("read back as %+v, %v", back, err)
		}
		return out
	}
	event := func(tr sandbox.Transition) []byte {
		t.Helper()
		e, err := contract.NewEvent(fullView(), tr)
		if err != nil {
			t.Fatal(err)
		}
		return body(map[string]any{"subject": e.Subject, "id": e.ID, "headers": e.Headers, "body": json.RawMessage(e.Body)})
	}
	for name, got := range map[string][]byte{
		"command":       command(fullCommand()),
		"command.bound": command(boundCommand()),
		"view":          view(fullView()),
		"view.least":    view(leastView()),
		"reply":         body(contract.Reply{CommandID: "id", View: fullView(), Revision: 1_772_600_767_089_123}),
		"reply.refused": body(contract.Reply{CommandID: "id", Code: sandbox.CodeQuota, Message: "exceeded quota: pods"}),
		"reply.limited": body(limitedReply()),
		"event":         event(fullView().Transitions[1]),
		"event.earlier": event(sandbox.Transition{RuntimeID: "ponmlkjihgfedcba", Number: 9, Type: sandbox.EventStopped, Time: born}),
		"deadletter": body(contract.DeadLetter{
			CommandID: "id", Verb: sandbox.Start, Tenant: "acme", Record: recordName, RuntimeID: runtimeID, Sequence: 1_772_600_767_089_123, Delivered: 6,
			Error: "not done after 5 deliveries", Time: born,
		}),
		"heartbeat": body(contract.Heartbeat{Leader: "watcher-0", Time: born, Complete: true, Created: born, Gaps: []sandbox.Gap{{From: born.Add(-time.Hour), To: born}}}),
		"pace":      body(fullPace()),
		"claim":     body(contract.Claim{RuntimeID: runtimeID, Generation: 1_772_600_767_089}),
		"activity":  body(contract.Activity{RuntimeID: runtimeID, Last: born}),
	} {
		t.Run(name, func(t *testing.T) { golden(t, name+".json", got) })
	}
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, got, "", "  "); err != nil {
		t.Fatal(err)
	}
	pretty.WriteByte('\n')
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, pretty.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(pretty.Bytes(), want) {
		t.Errorf("%s differs (go test -update writes it anew)\n got %s\nwant %s", path, pretty.Bytes(), want)
	}
}

// Every member of what is on the wire stands in a golden file with a value, so
// that a new one is seen there.
func TestGoldenFilesAreWhole(t *testing.T) {
	t.Parallel()
	full, view := fullCommand(), fullView()
	bound := boundCommand()
	full.RuntimeID, full.Generation, full.RecordUID, full.PodUID = bound.RuntimeID, bound.Generation, bound.RecordUID, bound.PodUID
	full.Fence, full.Reason = bound.Fence, bound.Reason
	for _, v := range []any{full, *full.Spec, *full.Spec.Lifecycle, *full.Limits, *view, view.Route, view.Transitions[1], fullPace()} {
		rv := reflect.ValueOf(v)
		for i := range rv.NumField() {
			if rv.Field(i).IsZero() && rv.Type().Field(i).Name != "Unknown" { // what no golden file can hold
				t.Errorf("%s.%s has no value", rv.Type(), rv.Type().Field(i).Name)
			}
		}
	}
}

// A reader ignores what it does not know: a newer version adds it.
func TestUnknownMembersAreIgnored(t *testing.T) {
	t.Parallel()
	add := func(body []byte) []byte {
		var m map[string]any
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber() // an order has more digits than a float
		if err := d.Decode(&m); err != nil {
			t.Fatal(err)
		}
		m["added_later"] = map[string]any{"x": []int{1}}
		out, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	c := fullCommand()
	subject, body, err := contract.EncodeCommand(c)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := contract.DecodeCommand(subject, add(body)); err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("command: %+v, %v", got, err)
	}
	v := fullView()
	v.SessionKey = ""
	body, err = contract.EncodeView(v)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := contract.DecodeView(contract.ViewKey(v.Tenant, v.Record), add(body)); err != nil || !reflect.DeepEqual(got, v) {
		t.Errorf("view: %+v, %v", got, err)
	}
	h := contract.Heartbeat{Leader: "a", Time: born, Complete: true, Created: born, Gaps: []sandbox.Gap{{From: born, To: born.Add(1)}}}
	if body, err = json.Marshal(h); err != nil {
		t.Fatal(err)
	}
	if got, err := contract.DecodeHeartbeat(add(body)); err != nil || !reflect.DeepEqual(got, h) {
		t.Errorf("heartbeat: %+v, %v", got, err)
	}
	e, err := contract.NewEvent(v, v.Transitions[0])
	if err != nil {
		t.Fatal(err)
	}
	if got, err := contract.DecodeEvent(add(e.Body)); err != nil || got.RuntimeID != runtimeID || got.Number != 6 {
		t.Errorf("event: %+v, %v", got, err)
	}
}

func limitedReply() contract.Reply {
	r := contract.Reply{CommandID: "id", View: fullView()}
	r.Refuse(&sandbox.Error{Code: sandbox.CodeRateLimited, Message: "too many", Resource: sandbox.ResourceStarts, RetryAfter: 1500 * time.Millisecond, Err: errors.New("inner")})
	return r
}

// A refusal arrives as it was sent, but for what is inside.
func TestRefusal(t *testing.T) {
	t.Parallel()
	r := limitedReply()
	var e *sandbox.Error
	if !errors.As(r.Refusal(), &e) || *e != (sandbox.Error{Code: sandbox.CodeRateLimited, Message: "too many", Resource: sandbox.ResourceStarts, RetryAfter: 2 * time.Second}) {
		t.Errorf("%+v", r.Refusal())
	}
	if err := (&contract.Reply{View: fullView()}).Refusal(); err != nil {
		t.Errorf("no refusal: %v", err)
	}
	var odd contract.Reply
	odd.Refuse(errors.New("inner"))
	if odd.Code != sandbox.CodeInternal || odd.Message != "internal error" {
		t.Errorf("%+v", odd)
	}
}
