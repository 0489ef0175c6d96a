//go:build openhands

package main_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

func TestAPIRemoteWorkspace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ target, argv string }{
		{"binary", "/agent-server/.venv/bin/python -m openhands.agent_server --port 60000"}, // by the launcher
		{"source", "/agent-server/.venv/bin/python -m openhands.agent_server --port 60000"},
	} {
		t.Run(c.target, func(t *testing.T) {
			t.Parallel()
			t.Attr("conformance", "66 real node")
			session := newSession(t)
			config := map[string]any{"session_id": session, "target_type": c.target}
			first := drive(t, "sdk", "workspace.py", config)
			first.want(t, facts{
				"user": "10001", "argv": c.argv, "version": "1.58.2",
				"uploaded": true, "downloaded": true, "same": true,
				"exit_code": 3, "stdout": "out", "stderr": "err",
				"alive_while_paused": false, "alive_after_resume": true, "kept": true,
			})
			r, err := api().Session(t.Context(), session)
			if err != nil || r.Status != "running" {
				t.Fatalf("a workspace that is kept alive: %+v, %v", r, err)
			}
			first.want(t, facts{"runtime_id": r.RuntimeID})

			drive(t, "sdk", "attach.py", config).want(t, facts{"runtime_id": r.RuntimeID, "size": "3145728"})
			wantStopped(t, session, r.RuntimeID)
		})
	}
}

// wantStopped waits until nothing of a sandbox is left.
func wantStopped(t *testing.T, session, runtimeID string) {
	t.Helper()
	if r, err := api().Session(t.Context(), session); client.StatusOf(err) != http.StatusNotFound && (err != nil || r.Status != "stopped") {
		t.Errorf("after the cleanup: %+v, %v", r, err)
	}
	poll(t, "nothing is left of "+runtimeID, func(ctx context.Context) (string, bool) {
		which := metav1.ListOptions{LabelSelector: kube.LabelRuntimeID + "=" + runtimeID}
		pods, err := bed.kube.CoreV1().Pods(bed.env["NAMESPACE"]).List(ctx, which)
		if err != nil {
			return err.Error(), false
		}
		claims, err := bed.kube.CoreV1().PersistentVolumeClaims(bed.env["NAMESPACE"]).List(ctx, which)
		if err != nil {
			return err.Error(), false
		}
		return fmt.Sprintf("%d pods, %d volumes", len(pods.Items), len(claims.Items)), len(pods.Items)+len(claims.Items) == 0
	})
}
