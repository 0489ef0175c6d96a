package agent_test

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/sandbar-io/sandbar/tools/agentstub/internal/agent"
)

func asClose(err error, target *websocket.CloseError) bool { return errors.As(err, target) }

func TestFiles(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	h := newAgent(t, func(c *agent.Config) { c.Dir = dir }).Handler()
	for _, tt := range []struct{ query, lands string }{
		{"", dir},
		{"?root=" + url.QueryEscape(other), other},
	} {
		target := "/files/a/b.txt" + tt.query
		if w := request(t, h, "PUT", target, strings.NewReader("content")); w.Code != 200 {
			t.Fatalf("PUT %s: %d %s", target, w.Code, w.Body)
		}
		if got, err := os.ReadFile(filepath.Join(tt.lands, "a", "b.txt")); err != nil || string(got) != "content" {
			t.Errorf("on disk: %q, %v", got, err)
		}
		if w := request(t, h, "GET", target, nil); w.Code != 200 || w.Body.String() != "content" {
			t.Errorf("GET: %d %q", w.Code, w.Body)
		}
		if w := request(t, h, "DELETE", target, nil); w.Code != 204 {
			t.Errorf("DELETE: %d", w.Code)
		}
		if w := request(t, h, "GET", target, nil); w.Code != 404 {
			t.Errorf("GET after DELETE: %d", w.Code)
		}
	}
}

func TestFilesTellOwnerAndMode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("12345"), 0o640); err != nil {
		t.Fatal(err)
	}
	h := newAgent(t, func(c *agent.Config) { c.Dir = dir }).Handler()
	want := agent.Entry{Name: "f", Size: 5, Mode: "-rw-r-----", UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	if got := decode[agent.Entry](t, request(t, h, "GET", "/files/f?stat=1", nil).Body); got != want {
		t.Errorf("stat = %+v, want %+v", got, want)
	}
	if got := decode[[]agent.Entry](t, request(t, h, "GET", "/files/", nil).Body); len(got) != 1 || got[0] != want {
		t.Errorf("list = %+v", got)
	}
}

func TestFilesRefuse(t *testing.T) {
	t.Parallel()
	h := newAgent(t).Handler()
	tests := map[string]struct {
		method, target string
		want           int
	}{
		"out of the root":      {"GET", "/files/../../etc/passwd", 400},
		"out of it, encoded":   {"PUT", "/files/..%2Fx", 400},
		"root not absolute":    {"GET", "/files/x?root=rel", 400},
		"root does not exist":  {"GET", "/files/x?root=/does/not/exist", 404},
		"method of no meaning": {"PATCH", "/files/x", 405},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if w := request(t, h, tt.method, tt.target, nil); w.Code != tt.want {
				t.Errorf("%s %s: %d, want %d", tt.method, tt.target, w.Code, tt.want)
			}
		})
	}
}

func TestProcess(t *testing.T) {
	t.Setenv("STUB_TEST_VARIABLE", "its value")
	h := newAgent(t).Handler()
	if got := decode[map[string]string](t, request(t, h, "GET", "/env?name=STUB_TEST_VARIABLE", nil).Body); got["value"] != "its value" {
		t.Errorf("env = %v", got)
	}
	if w := request(t, h, "GET", "/env?name=STUB_NOT_THERE", nil); w.Code != 404 {
		t.Errorf("env of nothing: %d", w.Code)
	}
	names := decode[map[string][]string](t, request(t, h, "GET", "/env", nil).Body)["names"]
	if !strings.Contains(strings.Join(names, "\n"), "STUB_TEST_VARIABLE") {
		t.Errorf("names = %v", names)
	}
	if got := decode[map[string][]string](t, request(t, h, "GET", "/argv", nil).Body); len(got["argv"]) != 3 {
		t.Errorf("argv = %v", got)
	}
	id := decode[agent.Identity](t, request(t, h, "GET", "/whoami", nil).Body)
	if id.UID != os.Getuid() || id.Hostname == "" || len(id.Status["CapEff"]) != 16 || id.Status["NoNewPrivs"] == "" {
		t.Errorf("whoami = %+v", id)
	}
}
