package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/httpapi"
)

func TestSessionIDs(t *testing.T) {
	t.Parallel()
	b := newBench(t, httpapi.Options{})
	ids := []string{
		"plain", "Plain", "with.dots.and-0", "agent-server-3f2504e0-4f89-11d3-9a0c-0305e82c3301", strings.Repeat("x", 256),
		"a/b", "..", ".", "a b", "a+b", "a%2Fb", "ünï", "a?b#c", "a;b", "a//b", "batch",
	}
	for i, id := range ids {
		b.put(newView("tenant-a", id, fmt.Sprintf("%c%s", 'a'+i, runtimeA[1:])), sandbox.StatusRunning)
	}
	for i, id := range ids[:len(ids)-1] { // batch is the other endpoint
		a := b.get("/sessions/" + url.PathEscape(id))
		if a.Code != http.StatusOK || a.object["session_id"] != id {
			t.Errorf("%q: %d %.200s", id, a.Code, a.Body)
		}
		if rt := fmt.Sprintf("%c%s", 'a'+i, runtimeA[1:]); a.object["runtime_id"] != rt {
			t.Errorf("%q is %v", id, a.object["runtime_id"])
		}
	}
	if b.indexed != 0 {
		t.Errorf("%d read indexes for hits", b.indexed)
	}
	if a := b.get("/sessions/batch"); a.Code != http.StatusOK || a.Body.String() != "[]\n" {
		t.Errorf("batch without ids: %d %s", a.Code, a.Body)
	}
}

func TestExistence(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"/sessions/s", "/runtime/" + runtimeA} {
		b := newBench(t, httpapi.Options{})
		b.get(target).want(t, http.StatusNotFound, "no such sandbox")
		b.index = unsure
		b.get(target).want(t, http.StatusServiceUnavailable, "unsure")
		b.index = nil
		b.onIndex = func() { b.put(newView("tenant-a", "s", runtimeA), sandbox.StatusStarting) }
		if a := b.get(target); a.Code != http.StatusOK || a.object["runtime_id"] != runtimeA || a.object["pod_status"] != "not found" {
			t.Errorf("%s: %d %s", target, a.Code, a.Body)
		}
		b.index = unsure // what is in memory needs none
		b.get(target).want(t, http.StatusOK, "")
		b.get(target, "X-API-Key", "key-b").want(t, http.StatusServiceUnavailable, "")
		b.index = nil
		b.get(target, "X-API-Key", "key-b").want(t, http.StatusNotFound, "")
	}
}

// A session that is known as stopped may have been started again by another
// gateway.
func TestStoppedIsConfirmed(t *testing.T) {
	t.Parallel()
	again := newView("tenant-a", "s", "bbbbbbbbbbbbbbbb")
	again.Generation = 2
	for _, target := range []string{"/sessions/s", "/sessions/batch?ids=s"} {
		b := newBench(t, httpapi.Options{})
		b.put(newView("tenant-a", "s", runtimeA), sandbox.StatusStopped)
		if a := b.get(target); a.Code != http.StatusOK || !strings.Contains(a.Body.String(), `"stopped"`) {
			t.Errorf("%s: %d %s", target, a.Code, a.Body)
		}
		b.index = unsure
		b.get(target).want(t, http.StatusServiceUnavailable, "")
		b.index, b.onIndex = nil, func() { b.put(again.Clone(), sandbox.StatusStarting) }
		if a := b.get(target); !strings.Contains(a.Body.String(), `"starting"`) {
			t.Errorf("%s: %d %s", target, a.Code, a.Body)
		}
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	b := newBench(t, httpapi.Options{})
	b.put(newView("tenant-a", "s1", runtimeA), sandbox.StatusRunning)
	b.put(newView("tenant-a", "s3", "cccccccccccccccc"), sandbox.StatusPaused)
	b.put(newView("tenant-b", "s4", "dddddddddddddddd"), sandbox.StatusRunning)
	for query, want := range map[string]string{
		"":                      "[]",
		"ids=":                  "[]",
		"other=1":               "[]",
		"ids=s2&ids=s1&ids=s3":  "[null s1 s3]",
		"ids=s2,s1,s3":          "[null s1 s3]",
		"ids=s1,,s3&ids=s1":     "[s1 s3 s1]",
		"ids=s4":                "[null]",
		"ids=s1&ids=s1&ids=%ff": "[s1 s1 null]",
	} {
		a := b.get("/sessions/batch?" + query)
		var objects []map[string]any
		if err := json.Unmarshal(a.Body.Bytes(), &objects); err != nil || a.Code != http.StatusOK {
			t.Errorf("%s: %d %s", query, a.Code, a.Body)
		}
		got := make([]string, len(objects))
		for i, o := range objects {
			got[i] = "null"
			if o != nil {
				got[i] = o["session_id"].(string)
			}
		}
		if s := fmt.Sprint(got); s != want {
			t.Errorf("%s: %s, want %s", query, s, want)
		}
	}
	b.get("/sessions/batch?ids="+strings.Repeat("x,", 1001)).want(t, http.StatusBadRequest, "at most 1000")
	b.get("/sessions/batch?ids=%zz").want(t, http.StatusBadRequest, "query")
	b.indexed = 0
	b.get("/sessions/batch?ids=x1,x2,x3")
	if b.indexed != 1 {
		t.Errorf("%d read indexes for one batch", b.indexed)
	}
	b.index = unsure
	b.get("/sessions/batch?ids=s1,s3").want(t, http.StatusOK, "")
	b.get("/sessions/batch?ids=s1,s2").want(t, http.StatusServiceUnavailable, "")
}

func TestList(t *testing.T) {
	t.Parallel()
	b := newBench(t, httpapi.Options{})
	for i, status := range []sandbox.Status{"starting", "running", "paused", "stopped", "error"} {
		v := newView("tenant-a", string(status), strings.Repeat(string(rune('a'+i)), 16))
		v.CreatedAt = born.Add(-time.Duration(i) * time.Second)
		b.put(v, status)
	}
	b.put(newView("tenant-b", "other", "zzzzzzzzzzzzzzzz"), sandbox.StatusRunning)
	sessions := func(target string) string {
		a := b.get(target)
		var l struct {
			Runtimes []map[string]any
			Total    int
		}
		if err := json.Unmarshal(a.Body.Bytes(), &l); err != nil || a.Code != http.StatusOK || l.Total != len(l.Runtimes) {
			t.Fatalf("%d %s", a.Code, a.Body)
		}
		var out []string
		for _, r := range l.Runtimes {
			out = append(out, r["session_id"].(string))
		}
		return fmt.Sprint(out, a.Header().Get(httpapi.HeaderViewAge))
	}
	for target, want := range map[string]string{
		"/list":                "[running starting]",
		"/list?show_all=true":  "[error stopped paused running starting]",
		"/list?show_all=maybe": "[running starting]",
	} {
		if got := sessions(target); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
	b.index = unsure
	if got := sessions("/list"); got != "[running starting]100" {
		t.Errorf("unconfirmed: %s", got)
	}
	b.status.Ready = false
	b.get("/list").want(t, http.StatusServiceUnavailable, "unsure")
	b.index, b.status.Ready = nil, true
	if a := b.get("/list", "X-API-Key", "key-strict"); a.Code != http.StatusOK {
		t.Errorf("another key of the tenant: %d", a.Code)
	}
}

func TestListOfNone(t *testing.T) {
	t.Parallel()
	if a := newBench(t, httpapi.Options{}).get("/list"); a.Body.String() != `{"runtimes":[],"total":0}`+"\n" {
		t.Errorf("%d %s", a.Code, a.Body)
	}
}
