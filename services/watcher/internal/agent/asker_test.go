package agent_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/agent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// served is an agent server with one handler, and an asker of its port that
// runs. Each key that is told comes by the channel.
func served(t *testing.T, h http.HandlerFunc) (*agent.Asker, *sandbox.Pod, <-chan string) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	host, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	a := agent.New(n, time.Now, zap.NewNop())
	told := make(chan string, 8)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.Run(ctx, func(key string) { told <- key })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return a, &sandbox.Pod{UID: "pod-uid", RuntimeID: "abcdefghijklmnop", IP: host}, told
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	var path atomic.Pointer[string]
	a, pod, told := served(t, func(w http.ResponseWriter, r *http.Request) {
		p := r.Method + " " + r.URL.Path
		path.Store(&p)
		for _, secret := range []string{"X-Api-Key", "X-Session-Api-Key", "Authorization", "Cookie"} {
			if r.Header.Get(secret) != "" {
				t.Errorf("a stranger is told %s", secret)
			}
		}
		fmt.Fprint(w, `{"uptime":99.5,"idle_time":12.25,"resources":{"cpu":1}}`)
	})
	if at, _ := a.Answer(pod.UID); !at.IsZero() {
		t.Error("an answer before anybody asked")
	}
	before := time.Now()
	a.Ask("acme.key", pod)
	if key := <-told; key != "acme.key" {
		t.Errorf("told %q", key)
	}
	at, idle := a.Answer(pod.UID)
	if idle != 12250*time.Millisecond || at.Before(before) || at.After(time.Now()) {
		t.Errorf("%v at %v", idle, at)
	}
	if *path.Load() != "GET /server_info" {
		t.Error(*path.Load())
	}
	if at, _ := a.Answer("another"); !at.IsZero() {
		t.Error("an answer of a pod that was not asked")
	}
}

// Whatever a sandbox answers instead changes nothing, and the asker goes on.
func TestFailedAnswersChangeNothing(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		t.Error("the asker was sent elsewhere")
		fmt.Fprint(w, `{"idle_time":99}`)
	}))
	defer elsewhere.Close()
	for name, h := range map[string]http.HandlerFunc{
		"not found":    http.NotFound,
		"error":        func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"idle_time":99}`, 500) },
		"redirect":     func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"no JSON":      func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"no idle time": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"uptime":3}`) },
		"null":         func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"idle_time":null}`) },
		"text":         func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"idle_time":"99"}`) },
		"negative":     func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"idle_time":-1}`) },
		"no number":    func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"idle_time":1e999}`) },
		"a list":       func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `[{"idle_time":99}]`) },
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"x":"`+strings.Repeat("y", 1<<20)+`","idle_time":99}`)
		},
		"large header":     func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("y", 1<<16)) },
		"broken off":       func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"created, not 200": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); fmt.Fprint(w, `{"idle_time":99}`) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			second := make(chan struct{})
			a, pod, told := served(t, func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) == 2 {
					close(second)
				}
				h(w, r)
			})
			for asked.Load() < 2 { // asked again only after the first was done with
				a.Ask("acme.key", pod)
				select {
				case <-second:
				case <-time.After(time.Millisecond):
				case key := <-told:
					t.Fatalf("told of %s", key)
				}
			}
			if at, idle := a.Answer(pod.UID); !at.IsZero() {
				t.Errorf("%v idle", idle)
			}
		})
	}
}

func TestALongIdleTimeIsCut(t *testing.T) {
	t.Parallel()
	a, pod, told := served(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"idle_time":1e300}`) })
	a.Ask("acme.key", pod)
	<-told
	if _, idle := a.Answer(pod.UID); idle != sandbox.MaxLifecycle*time.Second {
		t.Error(idle)
	}
}

func TestWhoIsNotAsked(t *testing.T) {
	t.Parallel()
	a := agent.New(60000, time.Now, zap.NewNop())
	a.Ask("acme.key", nil)
	for _, ip := range []string{"", "0.0.0.0", "::", "example.org", "224.0.0.1", "169.254.169.254", "fe80::1%eth0", "127.0.0.1:80"} {
		a.Ask("acme.key", &sandbox.Pod{UID: "u" + ip, IP: ip})
	}
	if n := a.Waiting(); n != 0 {
		t.Errorf("%d are asked", n)
	}
	for range 3 {
		a.Ask("acme.key", &sandbox.Pod{UID: "u", IP: "10.1.2.3"})
	}
	if n := a.Waiting(); n != 1 {
		t.Errorf("%d questions for one pod", n)
	}
	for i := range 5000 {
		a.Ask("acme.key", &sandbox.Pod{UID: fmt.Sprint(i), IP: "10.1.2.3"})
	}
	if n := a.Waiting(); n > 2000 {
		t.Errorf("%d wait", n)
	}
}
