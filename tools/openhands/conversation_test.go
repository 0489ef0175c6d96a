//go:build openhands

package main_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/openhands/internal/llm"
)

// model starts a scripted language model where pods reach it.
func model(t *testing.T) (m *llm.Server, config map[string]any) {
	t.Helper()
	m = &llm.Server{Key: "sk-scripted"}
	listener, err := net.Listen("tcp", net.JoinHostPort(bed.env["HOST_IP"], "0"))
	if err != nil {
		t.Fatal(err)
	}
	const patience = 10 * time.Second // for a header
	server := &http.Server{Handler: m, ReadHeaderTimeout: patience}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		if err := errors.Join(server.Close(), <-ended); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the model: %v", err)
		}
		for _, p := range m.Problems() {
			t.Errorf("the model: %s", p)
		}
	})
	return m, map[string]any{
		"llm_model": llm.Model, "llm_key": m.Key, "llm_url": "http://" + listener.Addr().String() + "/v1",
	}
}

func TestConversation(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprintf("stream=%t", stream), func(t *testing.T) {
			t.Parallel()
			t.Attr("conformance", "66 real node")
			m, config := model(t)
			converse(t, config, 17, stream)
			all, streamed := m.Answers()
			// Four answers before the pause and two after it.
			if want := 6; all != want || stream != (streamed == want) {
				t.Errorf("the model answered %d times, %d of them as a stream; want %d", all, streamed, want)
			}
		})
	}
}

// converse runs a conversation about a number, over a pause.
func converse(t *testing.T, config map[string]any, number int, stream bool) {
	t.Helper()
	n, config := strconv.Itoa(number), maps.Clone(config)
	maps.Copy(config, map[string]any{"session_id": newSession(t), "n": number, "stream": stream})
	told := drive(t, "sdk", "conversation.py", config)
	told.want(t, facts{"file": "squares: " + llm.Sum(n), "kept": true})
	for name, answer := range map[string]string{
		"first":  "The squares below " + n + " sum up to " + llm.Sum(n) + ".",
		"second": "Below " + n + " it is still " + llm.Sum(n) + ".",
	} {
		half, _ := told[name].(map[string]any)
		facts(half).want(t, facts{"status": "finished", "answer": answer})
	}
	if tokens, _ := told["tokens"].(float64); stream && tokens == 0 {
		t.Error("the client saw no streamed token")
	}
}

// Ten sessions at once, each with its own number: an answer that came from another's
// sandbox would be wrong.
func TestTenConversationsAtOnce(t *testing.T) {
	t.Attr("conformance", "66 real node")
	m, config := model(t)
	const sessions = 10
	// Ten agent servers start at once, twice, and share two cores with what else runs:
	// the client's own patience of 300 s is for one.
	config["workspace"] = map[string]any{"startup_wait_timeout": 900}
	var all sync.WaitGroup
	for i := range sessions {
		all.Go(func() {
			t.Run(strconv.Itoa(i), func(t *testing.T) { converse(t, config, 20+i, i%2 == 0) })
		})
	}
	all.Wait()
	if answers, _ := m.Answers(); answers != 6*sessions {
		t.Errorf("the model answered %d times, want %d", answers, 6*sessions)
	}
}

// A first process leaves a conversation and its sandbox paused; a second one knows the two
// ids, and goes on.
func TestConversationOverTwoProcesses(t *testing.T) {
	t.Parallel()
	t.Attr("conformance", "66 real node")
	_, config := model(t)
	session, word := newSession(t), rand.Text()
	maps.Copy(config, map[string]any{"session_id": session, "n": 23, "secret": word})
	first := drive(t, "sdk", "leave.py", config)
	if r, err := api().Session(t.Context(), session); err != nil || r.Status != "paused" {
		t.Fatalf("a workspace that pauses at its end: %+v, %v", r, err)
	}
	comeBack(t, first, config, word)
}

// comeBack goes on where leave.py ended, or hand_over.py, after which there are more events.
func comeBack(t *testing.T, first facts, config map[string]any, word string) {
	t.Helper()
	config["conversation_id"] = first["conversation_id"]
	second := drive(t, "sdk", "come_back.py", config)
	if events := first["events"]; events != nil {
		second.want(t, facts{"events": events})
	}
	digest := sha256.Sum256([]byte(word))
	for name, answer := range map[string]string{
		"second": "Below 23 it is still " + llm.Sum("23") + ".",
		"word":   hex.EncodeToString(digest[:]),
	} {
		half, _ := second[name].(map[string]any)
		facts(half).want(t, facts{"status": "finished", "answer": answer})
	}
}

func TestPausedInTheMiddleOfARun(t *testing.T) {
	t.Parallel()
	t.Attr("conformance", "66 real node")
	m, config := model(t)
	var held sync.Once
	m.Before = func(ctx context.Context, r llm.Request) {
		if r.Results() == 1 {
			held.Do(func() { <-ctx.Done() }) // until the sandbox is gone
		}
	}
	maps.Copy(config, map[string]any{"session_id": newSession(t), "n": 29})
	told := drive(t, "sdk", "interrupted.py", config)
	told.want(t, facts{"while_running": "running", "kept": true})
	first, _ := told["first"].(map[string]any)
	facts(first).want(t, facts{"status": "finished", "answer": "The squares below 29 sum up to " + llm.Sum("29") + "."})
}
