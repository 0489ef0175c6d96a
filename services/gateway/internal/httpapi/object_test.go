package httpapi_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/httpapi"
)

var update = flag.Bool("update", false, "write the golden files")

// Every phase as clients see it. All fields that some client reads are always
// there.
func TestRuntimeObject(t *testing.T) {
	t.Parallel()
	phase := func(s sandbox.Status, p sandbox.PodStatus, change func(*sandbox.View)) *sandbox.View {
		v := newView("tenant-a", "s", runtimeA)
		v.Status, v.PodStatus = s, p
		if change != nil {
			change(v)
		}
		return v
	}
	for name, v := range map[string]*sandbox.View{
		"accepted": phase(sandbox.StatusStarting, sandbox.PodNotFound, nil),
		"pending": phase(sandbox.StatusStarting, sandbox.PodPending, func(v *sandbox.View) {
			v.StatusDetail = "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu."
		}),
		"running": phase(sandbox.StatusRunning, sandbox.PodReady, func(v *sandbox.View) {
			v.RestartCount, v.RestartReasons = 1, []string{"OOMKilled"}
		}),
		"paused": phase(sandbox.StatusPaused, sandbox.PodNotFound, nil),
		"crashed": phase(sandbox.StatusError, sandbox.PodCrashLoop, func(v *sandbox.View) {
			v.RestartCount, v.RestartReasons = 3, []string{"Error", "Error"}
			v.StatusDetail, v.PodLogs = "CrashLoopBackOff: Error: exit code 1", "no <such> file\n"
		}),
		"stopped": phase(sandbox.StatusStopped, sandbox.PodNotFound, func(v *sandbox.View) {
			v.SessionKey, v.Image, v.Route.WorkHosts = "", "", nil
		}),
		"logs only in error": phase(sandbox.StatusRunning, sandbox.PodReady, func(v *sandbox.View) { v.PodLogs = "old" }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, httpapi.Options{})
			b.memory.Merge(v, 1)
			a := b.get("/sessions/s")
			for _, field := range []string{
				"session_api_key", "session_id", "runtime_id", "url", "status", "pod_status",
				"restart_count", "restart_reasons", "work_hosts", "status_detail",
			} {
				if _, ok := a.object[field]; !ok {
					t.Errorf("%s is missing", field)
				}
			}
			golden(t, filepath.Join("testdata", name+".json"), a.Body.Bytes())
		})
	}
}

func golden(t *testing.T, path string, body []byte) {
	t.Helper()
	var got bytes.Buffer
	if err := json.Indent(&got, body, "", "  "); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil { //nolint:gosec // no secret
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s differs:\n%s", path, got.Bytes())
	}
}
