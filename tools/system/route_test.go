//go:build system

package system_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// door stands where a controller would, and fails by the label it is asked for: it
// does what no controller can be made to do.
type door struct {
	net.Listener
	mu   sync.Mutex
	well bool
	all  sync.WaitGroup
	open map[net.Conn]struct{}
}

func newDoor(t *testing.T) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{Listener: l, open: map[net.Conn]struct{}{}}
	d.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.keep(c)
			d.all.Go(func() { d.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		d.mu.Lock()
		for c := range d.open {
			_ = c.Close()
		}
		d.mu.Unlock()
		d.all.Wait()
	})
	return d
}

func (d *door) keep(c net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open[c] = struct{}{}
}

// heal has it answer all from now on.
func (d *door) heal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.well = true
}

func (d *door) serve(c net.Conn) {
	defer func() {
		_ = c.Close()
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.open, c)
	}()
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	kind, _, _ := strings.Cut(r.Host, "-")
	d.mu.Lock()
	if d.well {
		kind = "well"
	}
	d.mu.Unlock()
	answer := map[string]string{
		"well": "HTTP/1.1 200 OK\r\n\r\n", "moved": "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
		"bad": "HTTP/1.1 502 Bad Gateway\r\n\r\n", "noise": "220 mail.example ESMTP\r\n",
	}[kind]
	if kind == "hangs" {
		_, _ = io.Copy(io.Discard, c) // until the watcher gives up
		return
	}
	_, _ = io.WriteString(c, answer) // "": closed without a word
}

// TestCheck39Codes: whatever goes wrong on the way to a sandbox's public URL, it
// stays starting and says the code that clients know; when it answers, the sandbox
// runs, and a later failure changes nothing.
func TestCheck39Codes(t *testing.T) {
	t.Attr("conformance", "39 simulated")
	t.Parallel()
	d := newDoor(t)
	secure := httptest.NewTLSServer(http.NotFoundHandler()) // its certificate is nobody's
	t.Cleanup(secure.Close)
	for name, c := range map[string]struct {
		settings []string
		want     map[string]string // kind → detail
	}{
		"plain": {[]string{"ROUTE_CHECK_ADDRESS=" + d.Addr().String()}, map[string]string{
			"bad": "http_status:502", "moved": "unexpected_status", "noise": "invalid_response", "closed": "connection_error", "hangs": "timeout",
		}},
		"tls": {[]string{"URL_SCHEME=https", "ROUTE_CHECK_ADDRESS=" + secure.Listener.Addr().String()}, map[string]string{"tls": "tls_error"}},
		// No resolver is asked for what is no name.
		"dns": {[]string{"ROUTE_CHECK_ADDRESS=no..name"}, map[string]string{"dns": "dns_error"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "route-"+name, stack.Options{Settings: append(c.settings, "ROUTING_MODE=ingress", noPurge)})
			for kind := range c.want {
				if _, err := r.api(0).Start(t.Context(), body(t, kind+"-"+nonce())); err != nil {
					t.Fatal(err)
				}
			}
			r.waitDetails(t, c.want)
			if name != "plain" {
				return
			}
			d.heal()
			for session := range r.details(t) {
				waitStatus(t, r.api(0), session, "running")
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			r.again(t, "watcher-0")
			r.waitLeader(t)
			for session := range r.details(t) {
				if now := waitStatus(t, r.api(0), session, "running"); now.StatusDetail != "" {
					t.Errorf("a route that fails after it was verified made it %+v", now)
				}
			}
		})
	}
}

// waitDetails waits until each sandbox, by the kind before its session's dash, is
// starting and says so.
func (r *rig) waitDetails(t *testing.T, want map[string]string) {
	t.Helper()
	waitFor(t, "all details are told", func(context.Context) (string, bool) {
		all, done := r.details(t), true
		for session, now := range all {
			kind, _, _ := strings.Cut(session, "-")
			if now.Status != "starting" {
				t.Fatalf("%s is %+v, want it starting", session, now)
			}
			done = done && now.PodStatus == "running" && now.StatusDetail == "runtime_ingress:"+want[kind]
		}
		return fmt.Sprintf("%+v", all), done && len(all) == len(want)
	})
}

func (r *rig) details(t *testing.T) map[string]client.Runtime {
	t.Helper()
	all, err := r.api(0).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}
