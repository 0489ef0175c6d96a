package keys_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sandbar-io/sandbar/pkg/filewatch"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/keys"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sum(key string) string {
	s := sha256.Sum256([]byte(key))
	return hex.EncodeToString(s[:])
}

func item(name, key, tenant, rest string) string {
	return "  - {name: " + name + ", sha256: " + sum(key) + ", tenant: " + tenant + rest + "}\n"
}

func write(t *testing.T, path, body string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.yaml")
	write(t, path, "keys:\n"+item("a", "key-a", "tenant-a", "")+
		item("b", "key-b", "tenant-b", ", rotate_on_resume: true, resume_active: 409"))
	ring, err := keys.New("plain", nil, path, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	for presented, want := range map[string]keys.Key{
		"plain":      {Name: "API_KEY", Tenant: "default"},
		"key-a":      {Name: "a", Tenant: "tenant-a"},
		"key-b":      {Name: "b", Tenant: "tenant-b", RotateOnResume: true, ResumeActive: 409},
		"":           {},
		"key-c":      {},
		"PLAIN":      {},
		sum("key-a"): {}, // the sum is no key
	} {
		got, ok := ring.Find(presented)
		if got != want || ok != (want != keys.Key{}) {
			t.Errorf("Find(%q) = %+v, %v; want %+v", presented, got, ok, want)
		}
	}
}

// Each clock of a key is read under its own name.
func TestLifecycleOfAKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.yaml")
	write(t, path, "keys:\n"+item("a", "k", "t", ", lifecycle: {idle_seconds: 1, max_age_seconds: 2, retention_seconds: 3, pending_seconds: 4, unclaimed_seconds: 0}, lifecycle_fixed: true")+
		item("b", "l", "t", ", lifecycle: {max_age_seconds: 7}")+item("c", "m", "t", ""))
	ring, err := keys.New("", nil, path, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	n := func(n int64) *int64 { return &n }
	for presented, want := range map[string]keys.Key{
		"k": {Lifecycle: &sandbox.Lifecycle{Idle: n(1), MaxAge: n(2), Retention: n(3), Pending: n(4), Unclaimed: n(0)}, LifecycleFixed: true},
		"l": {Lifecycle: &sandbox.Lifecycle{MaxAge: n(7)}},
		"m": {},
	} {
		got, ok := ring.Find(presented)
		if !ok || !reflect.DeepEqual(got.Lifecycle, want.Lifecycle) || got.LifecycleFixed != want.LifecycleFixed {
			t.Errorf("%s: %+v, fixed %v", presented, got.Lifecycle, got.LifecycleFixed)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, want string }{
		"empty":           {"", "holds no keys"},
		"not yaml":        {"keys: [", "yaml"},
		"unknown field":   {"keys:\n  - {name: a, key: secret-value}\n", "field key not found"},
		"wrong type":      {"keys: secret-value\n", "cannot unmarshal"},
		"no name":         {"keys:\n" + item("''", "k", "t", ""), "keys[0]: name"},
		"bad tenant":      {"keys:\n" + item("a", "k", "T_1", ""), "keys[0]: tenant"},
		"bad status":      {"keys:\n" + item("a", "k", "t", ", resume_active: 201"), "resume_active"},
		"bad clock":       {"keys:\n" + item("a", "k", "t", ", lifecycle: {idle_seconds: -5}"), "keys[0]: lifecycle: idle_seconds"},
		"no such clock":   {"keys:\n" + item("a", "k", "t", ", lifecycle: {idle: 5}"), "field idle not found"},
		"plain key":       {"keys:\n  - {name: a, sha256: secret-value, tenant: t}\n", "sha256: must be"},
		"same name":       {"keys:\n" + item("a", "k", "t", "") + item("a", "l", "t", ""), "keys[1]: name"},
		"same key":        {"keys:\n" + item("a", "k", "t", "") + item("b", "k", "t", ""), `the same as that of "a"`},
		"API_KEY again":   {"keys:\n" + item("a", "plain", "t", ""), "API_KEY"},
		"no sandboxes":    {"keys:\n" + item("a", "k", "t", ", limits: {sandboxes: 0}"), "keys[0]: limits: sandboxes: must be 1 to 2000"},
		"bad limits":      {"keys:\n" + item("a", "k", "t", ", limits: {cpu: secret, memory: 1e3, starts_per_minute: 2001}"), "keys[0]: limits: cpu: must be a quantity"},
		"no number":       {"keys:\n" + item("a", "k", "t", ", limits: {sandboxes: secret}"), "cannot unmarshal"},
		"odd limit":       {"keys:\n" + item("a", "k", "t", ", limits: {pods: 1}"), "field pods not found"},
		"name of API_KEY": {"keys:\n" + item("API_KEY", "k", "default", ""), "name and tenant of API_KEY"},
		"too large":       {"keys:\n" + strings.Repeat("#", filewatch.MaxFile), "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "keys.yaml")
			write(t, path, c.body)
			_, err := keys.New("plain", nil, path, zap.NewNop())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("New: %v, want %q in it", err, c.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error cites a value: %v", err)
			}
		})
	}
	if _, err := keys.New("plain", nil, filepath.Join(t.TempDir(), "none"), zap.NewNop()); err == nil {
		t.Error("New takes a file that is not there")
	}
}

// watched runs a ring's watch and returns the log as it comes.
func watched(t *testing.T, ring func(*zap.Logger) *keys.Ring) (*keys.Ring, <-chan string) {
	t.Helper()
	lines := make(chan string, 64)
	core, _ := observer.New(zapcore.InfoLevel)
	log := zap.New(zapcore.RegisterHooks(core, func(e zapcore.Entry) error { lines <- e.Message; return nil }))
	r := ring(log)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.Watch(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return r, lines
}

func expect(t *testing.T, lines <-chan string, want string) {
	t.Helper()
	select {
	case got := <-lines:
		if !strings.Contains(got, want) {
			t.Fatalf("logged %q, want %q", got, want)
		}
	case <-time.After(5 * time.Second):
		t.Fatalf("not logged: %q", want)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.yaml")
	write(t, path, "keys:\n"+item("a", "key-a", "t", ""))
	ring, lines := watched(t, func(log *zap.Logger) *keys.Ring {
		r, err := keys.New("", nil, path, log)
		if err != nil {
			t.Fatal(err)
		}
		return r
	})
	write(t, path, "keys: [broken")
	expect(t, lines, "cannot be used")
	if _, ok := ring.Find("key-a"); !ok {
		t.Error("a broken file took the keys away")
	}
	write(t, path+".new", "keys:\n"+item("b", "key-b", "t", ""))
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	expect(t, lines, "reloaded")
	if _, ok := ring.Find("key-b"); !ok {
		t.Error("the new key is not known")
	}
	if _, ok := ring.Find("key-a"); ok {
		t.Error("the old key is still known")
	}
}

// The kubelet mounts a Secret as links by way of ..data, and swaps that.
func TestReloadMountedSecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	version := func(name, body string) {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "keys.yaml"), body)
		if err := os.Symlink(name, filepath.Join(dir, "..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", "keys:\n"+item("a", "key-a", "t", ""))
	path := filepath.Join(dir, "keys.yaml")
	if err := os.Symlink("..data/keys.yaml", path); err != nil {
		t.Fatal(err)
	}
	ring, lines := watched(t, func(log *zap.Logger) *keys.Ring {
		r, err := keys.New("", nil, path, log)
		if err != nil {
			t.Fatal(err)
		}
		return r
	})
	version("..2", "keys:\n"+item("b", "key-b", "t", ""))
	expect(t, lines, "reloaded")
	if _, ok := ring.Find("key-b"); !ok {
		t.Error("the new key is not known")
	}
}
