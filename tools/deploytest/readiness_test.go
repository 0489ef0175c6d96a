//go:build system

package deploytest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// readiness is /readiness, as architecture 8 has it: what ails this pod alone is
// 503, what ails all alike is 200 and "degraded". Provisioner and watcher have
// less to tell.
type readiness struct {
	Status string `json:"status"`
	Detail string `json:"detail"`
}

// dependencies are what gateway and router tell of what they need.
type dependencies struct {
	NATS struct {
		Connected bool `json:"connected"`
	} `json:"nats"`
	Views struct {
		Complete bool   `json:"complete"`
		AgeMS    int64  `json:"age_ms"`
		Leader   string `json:"leader"`
	} `json:"views"`
	Provisioners *struct {
		Present bool `json:"present"`
	} `json:"provisioners"`
}

// The ports of deploy/ on a pod's own address, past the Services.
const (
	gatewayPort = 5000
	healthPort  = 8081
)

func at(p corev1.Pod, port int) string { return fmt.Sprintf("http://%s:%d", p.Status.PodIP, port) }

// ask asks for /readiness.
func (i *installation) ask(ctx context.Context, base string) (client.Answer, readiness, error) {
	answer, err := client.Caller{Base: base, HTTP: i.http}.Do(ctx, client.Request{Path: "/readiness"})
	if err != nil {
		return client.Answer{}, readiness{}, err
	}
	var r readiness
	return answer, r, json.Unmarshal(answer.Body, &r)
}

func (i *installation) readinessTellsEachDependency(t *testing.T) {
	for _, c := range []struct {
		workload, status string
		port             int
		tells            bool // its dependencies
	}{
		{"gateway", "ok", gatewayPort, true},
		{"router", "ready", healthPort, true},
		{"provisioner", "ready", healthPort, false},
		{"watcher", "ready", healthPort, false},
	} {
		for _, p := range podsOf(t, c.workload) {
			answer, r, err := i.ask(t.Context(), at(p, c.port))
			if err != nil || answer.Status != http.StatusOK || r.Status != c.status {
				t.Errorf("%s: %s, %v, want 200 and %q", p.Name, answer, err, c.status)
			}
			if c.tells {
				fulfilled(t, answer)
			}
		}
	}
}

// fulfilled checks that all is well with what a gateway or router needs.
func fulfilled(t *testing.T, answer client.Answer) {
	t.Helper()
	var d dependencies
	if err := answer.Decode(&d); err != nil {
		t.Error(err)
	}
	const old = 5 * time.Second // the heartbeat comes once a second
	if !d.NATS.Connected || !d.Views.Complete || d.Views.AgeMS < 0 || d.Views.AgeMS > old.Milliseconds() {
		t.Errorf("%s: want NATS connected, the views complete and not old", answer)
	}
	// Its identity begins with its host name, which is the pod's.
	leads := func(p corev1.Pod) bool { return strings.HasPrefix(d.Views.Leader, p.Name) }
	if !slices.ContainsFunc(podsOf(t, "watcher"), leads) {
		t.Errorf("%s: the leader is no watcher's pod", answer)
	}
	if d.Provisioners != nil && !d.Provisioners.Present {
		t.Errorf("%s: want provisioners", answer)
	}
}

// waitReadiness waits until the gateway, by its Service, says so; all the while
// with 200, for a pod with 503 is taken out of service.
func (i *installation) waitReadiness(t *testing.T, want string, connected bool) {
	t.Helper()
	waitFor(t, readyLimit, "readiness is "+want, func(ctx context.Context) (string, bool) {
		answer, r, err := i.ask(ctx, i.gateway)
		if err != nil {
			return err.Error(), false
		}
		if answer.Status != http.StatusOK {
			t.Errorf("%s, want 200", answer)
		}
		var d dependencies
		err = answer.Decode(&d)
		return fmt.Sprintf("%s, %v", answer, err), r.Status == want && d.NATS.Connected == connected
	})
}
