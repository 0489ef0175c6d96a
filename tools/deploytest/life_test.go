//go:build system

package deploytest_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/tools/conformance"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// start starts a sandbox as V1 does, and waits until it serves.
func (i *installation) start(t *testing.T) client.Runtime {
	t.Helper()
	session := "deploy-" + strings.ToLower(rand.Text()[:12])
	body := must(conformance.Body("v1a", session, bed.sandboxImage)).or(t)
	must(i.api.Start(t.Context(), body)).or(t)
	return i.waitReady(t, session)
}

func (i *installation) waitReady(t *testing.T, session string) (r client.Runtime) {
	t.Helper()
	waitFor(t, readyLimit, session+" is ready", func(ctx context.Context) (string, bool) {
		var err error
		if r, err = i.api.Session(ctx, session); err != nil {
			if ctx.Err() == nil {
				t.Fatalf("poll of %s: %v", session, err) // as it is for the SDK
			}
			return err.Error(), false
		}
		return fmt.Sprintf("%+v", r), r.Status == "running" && r.PodStatus == "ready"
	})
	return r
}

// waitAlive asks for /alive through the router, by the sandbox's own host name.
func (i *installation) waitAlive(t *testing.T, r client.Runtime, status int) {
	t.Helper()
	agent := client.NewAgent(i.http, r.URL, r.SessionAPIKey)
	waitFor(t, visibleLimit, fmt.Sprintf("%s/alive is %d", r.URL, status), func(ctx context.Context) (string, bool) {
		answer, err := agent.Do(ctx, client.Request{Path: "/alive"})
		if err != nil {
			return err.Error(), false
		}
		return answer.String(), answer.Status == status
	})
}

func (i *installation) stop(t *testing.T, r client.Runtime) {
	t.Helper()
	if err := i.api.Stop(t.Context(), r.RuntimeID); err != nil {
		t.Error(err)
	}
	waitFor(t, goneLimit, "all of "+r.RuntimeID+" is gone", func(ctx context.Context) (string, bool) {
		left, err := objects(ctx, r)
		if err != nil {
			return err.Error(), false
		}
		return "left are " + strings.Join(left, ", "), len(left) == 0
	})
}

// objects are what a sandbox is made of. Its record stays a while, so that a
// second stop is known.
func objects(ctx context.Context, r client.Runtime) (found []string, err error) {
	core, its := bed.kube.CoreV1(), metav1.ListOptions{LabelSelector: "sandbar.io/runtime-id=" + r.RuntimeID}
	pods, err := core.Pods(sandboxNamespace).List(ctx, its)
	if err != nil {
		return nil, err
	}
	for _, o := range pods.Items {
		found = append(found, "pod "+o.Name)
	}
	claims, err := core.PersistentVolumeClaims(sandboxNamespace).List(ctx, its)
	if err != nil {
		return nil, err
	}
	for _, o := range claims.Items {
		found = append(found, "volume "+o.Name)
	}
	return found, nil
}

func (i *installation) fromStartToStop(t *testing.T) {
	const workspace, file = "/workspace", "notes.txt"
	r := i.start(t)
	if host := "http://" + r.SessionID + "." + bed.BaseDomain; r.URL != host {
		t.Errorf("the URL is %s, want %s", r.URL, host)
	}
	i.waitAlive(t, r, http.StatusOK)
	agent := client.NewAgent(i.http, r.URL, r.SessionAPIKey)
	if err := agent.Write(t.Context(), workspace, file, "kept"); err != nil {
		t.Fatal(err)
	}

	must(i.api.Pause(t.Context(), r.RuntimeID)).or(t)
	i.waitAlive(t, r, http.StatusServiceUnavailable)
	must(i.api.Resume(t.Context(), r.RuntimeID)).or(t)
	resumed := i.waitReady(t, r.SessionID)
	if resumed.RuntimeID != r.RuntimeID || resumed.URL != r.URL {
		t.Errorf("resumed as %+v, want id and URL of %+v", resumed, r)
	}
	i.waitAlive(t, r, http.StatusOK)
	if got, err := client.NewAgent(i.http, resumed.URL, resumed.SessionAPIKey).Read(t.Context(), workspace, file); err != nil || got != "kept" {
		t.Errorf("after the resume %s holds %q, %v", file, got, err)
	}

	i.stop(t, r)
	i.waitAlive(t, r, http.StatusNotFound)
}
