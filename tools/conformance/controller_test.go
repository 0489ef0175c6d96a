//go:build system

package conformance_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// A paused sandbox is 503 and one that is unknown 404 by each way, which is what
// V0's resume lives by. The JSON body is the router's own: a controller answers in
// its words. A browser must see the 503 of its preflight and its WebSocket too.
func TestCheck11And12PauseAndResumeByControllers(t *testing.T) {
	declare(t, realNode, 11, 12, 23)
	t.Parallel()
	byControllers(t, func(t *testing.T, e entrance) {
		r := startReady(t, e.api(), startBody(t, "v1a", newSession()))
		if err := e.agent(r.URL, r).Write(t.Context(), workspace, "notes.txt", "kept"); err != nil {
			t.Fatal(err)
		}
		pause(t, e.api(), r)
		for name, base := range e.bases(r) {
			e.waitAnswer(t, e.agent(base, r).Caller, client.Request{Path: "/alive"}, http.StatusServiceUnavailable)
			for what, answer := range map[string]client.Answer{
				"preflight": do(t, e.agent(base, r).Caller, preflight), "upgrade": do(t, e.socket(base, r).Caller, upgrade),
			} {
				if answer.Status != http.StatusServiceUnavailable {
					t.Errorf("%s, %s: %s, want 503", name, what, answer)
				}
			}
		}
		resume(t, e.api(), r)
		e.aliveNow(t, r) // the pod is another: its route was verified anew
		if text := try(e.agent(r.URL, r).Read(t.Context(), workspace, "notes.txt")).or(t); text != "kept" {
			t.Errorf("the file holds %q", text)
		}
	})
}

func TestCheck24StoppedAndUnknownAre404ByControllers(t *testing.T) {
	declare(t, realNode, 15, 24)
	t.Parallel()
	byControllers(t, func(t *testing.T, e entrance) {
		r := startReady(t, e.api(), startBody(t, "v1a", newSession()))
		if err := e.api().Stop(t.Context(), r.RuntimeID); err != nil {
			t.Fatal(err)
		}
		for name, base := range e.bases(r) {
			e.waitAnswer(t, e.agent(base, r).Caller, client.Request{Path: "/alive"}, http.StatusNotFound)
			unknown := do(t, e.agent(strings.Replace(base, r.SessionID, "nobody-"+nonce(), 1), r).Caller, client.Request{Path: "/"})
			if unknown.Status != http.StatusNotFound {
				t.Errorf("%s of nobody: %s, want 404", name, unknown)
			}
		}
	})
}

// A path and its query reach the sandbox byte by byte.
func TestCheck65PathsByEachWay(t *testing.T) {
	declare(t, realNode, 65)
	t.Parallel()
	byEachWay(t, func(t *testing.T, e entrance) {
		r := e.sharedRunning(t)
		paths := []string{"/a%2Fb", "//a//b", "/a/../b", "/%E2%82%AC/x", "/a%20b;c=d", "/a%3Fb%23c", "/a+b~(c)'"}
		if e.router { // Traefik decodes what needs no escape
			paths = append(paths, "/%2e%2e/%78")
		}
		for _, path := range paths {
			query := "q=%2F%2f+%20&q=" + strings.Repeat("x", 4000) + "&empty=&%E2%82%AC"
			echo := try(e.agent(r.URL, r).Echo(t.Context(), client.Request{Path: path + "?" + query})).or(t)
			if echo.RawPath != path || echo.Query != query {
				t.Errorf("%s arrived as %s, with a query of %d bytes, sent %d", path, echo.RawPath, len(echo.Query), len(query))
			}
		}
	})
}

// Check 39 with the real controller: its route leads to nobody before the sandbox
// is ready. What a controller cannot be made to do, as to break
// TLS, is in tools/system (TestCheck39Codes).
func TestCheck39RouteThatFails(t *testing.T) {
	declare(t, realNode, 39)
	t.Parallel()
	const (
		broken = `{"spec":{"selector":{"sandbar.io/test":"nobody"}}}`
		mended = `{"spec":{"selector":{"sandbar.io/test":null}}}`
	)
	byControllers(t, func(t *testing.T, e entrance) {
		r := start(t, e.api(), startBody(t, "v1a", newSession(), readyAfter(4*time.Second)))
		services := suite.kube.CoreV1().Services(e.namespace)
		change := func(patch string) {
			t.Helper()
			if _, err := services.Patch(t.Context(), r.RuntimeID, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		change(broken)
		waitFor(t, readyLimit, "the detail tells of the route", func(ctx context.Context) (string, bool) {
			now, err := e.api().Session(ctx, r.SessionID)
			if err != nil && ctx.Err() == nil {
				t.Fatal(err)
			}
			if err != nil {
				return err.Error(), false
			}
			if now.Status != "starting" {
				t.Fatalf("%+v, want it starting", now)
			}
			return fmt.Sprintf("%+v", now), now.PodStatus == "running" && now.StatusDetail == "runtime_ingress:http_status:503"
		})
		change(mended)
		e.aliveNow(t, waitReady(t, e.api(), r.SessionID))
		// Once verified, a route that fails is the controller's trouble.
		change(broken)
		e.waitAnswer(t, e.agent(r.URL, r).Caller, client.Request{Path: "/alive"}, http.StatusServiceUnavailable)
		if now := try(e.api().Session(t.Context(), r.SessionID)).or(t); now.Status != "running" {
			t.Errorf("a route that failed later made it %+v", now)
		}
	})
}

// The certificate is the controller's own, and trusted: 27 with TLS.
func TestIngressIsReachedByTLS(t *testing.T) {
	declare(t, realNode, 27)
	t.Parallel()
	byControllers(t, func(t *testing.T, e entrance) {
		r := e.sharedRunning(t)
		if u := try(url.Parse(r.URL)).or(t); (u.Scheme == "https") != (e.name == "ingress") {
			t.Errorf("url %s", r.URL)
		}
	})
}
