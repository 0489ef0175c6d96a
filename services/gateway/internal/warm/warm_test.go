package warm_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sandbar-io/sandbar/services/gateway/internal/warm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const full = `configs:
  - name: v1_current
    image: registry.example.com/agent-server:1.2
    command: [/usr/local/bin/server, --port, "60000"]
    environment: {PORT: "60000", EMPTY: ""}
    working_dir: /workspace
    run_as_user: 0
    run_as_group: 10001
    fs_group: 10001
  - name: plain
    image: plain:1
    working_dir: /
`

const fullJSON = `[{"name":"v1_current","image":"registry.example.com/agent-server:1.2",` +
	`"command":["/usr/local/bin/server","--port","60000"],"environment":{"EMPTY":"","PORT":"60000"},"working_dir":"/workspace",` +
	`"run_as_user":0,"run_as_group":10001,"fs_group":10001,"source":"file"},` +
	`{"name":"plain","image":"plain:1","command":null,"environment":{},"working_dir":"/","source":"file"}]`

func write(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "configs.yaml")
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConfigs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, want string }{
		"full":     {full, fullJSON},
		"as JSON":  {`{"configs":[{"name":"a","image":"i:1","command":null,"working_dir":"/w","environment":{"A":"1"}}]}`, `[{"name":"a","image":"i:1","command":null,"environment":{"A":"1"},"working_dir":"/w","source":"file"}]`},
		"an alias": {"configs: [{name: a, image: i, working_dir: /, environment: {A: &a text, B: *a}}]", `[{"name":"a","image":"i","command":null,"environment":{"A":"text","B":"text"},"working_dir":"/","source":"file"}]`},
		"none":     {"configs: []", `[]`},
		"empty":    {"", `[]`},
	} {
		s, err := warm.New(write(t, c.body), zap.NewNop())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, _ := json.Marshal(s.Configs()); string(got) != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
	s, err := warm.New("", zap.NewNop())
	if err != nil || s.Configs() == nil || len(s.Configs()) != 0 {
		t.Errorf("without a file: %v, %v", s, err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	item := func(fields string) string { return "configs:\n  - {name: a, image: i, working_dir: /" + fields + "}\n" }
	for name, c := range map[string]struct{ body, want string }{
		"no name":           {"configs: [{image: i, working_dir: /}]", "configs[0]: name"},
		"a name with space": {"configs: [{name: a b, image: i, working_dir: /}]", "name"},
		"the same name":     {"configs: [{name: a, image: i, working_dir: /}, {name: a, image: i, working_dir: /}]", "configs[1]: name: another"},
		"no image":          {"configs: [{name: a, working_dir: /}]", "image is required"},
		"bad image":         {"configs: [{name: a, image: Not An Image, working_dir: /}]", "image"},
		"no directory":      {"configs: [{name: a, image: i}]", "working_dir is required"},
		"relative":          {"configs: [{name: a, image: i, working_dir: work}]", "working_dir must be"},
		"command is text":   {item(", command: secret-value"), "unmarshal"},
		"number as arg":     {item(", command: [a, 7]"), "argument 1"},
		"empty program":     {item(`, command: [""]`), "program is empty"},
		"number as value":   {item(", environment: {PORT: 60000}"), `"PORT" must be a string`},
		"null as value":     {item(", environment: {PORT: null}"), `"PORT" must be a string`},
		"list as value":     {item(", environment: {PORT: [secret-value]}"), `"PORT" must be a string`},
		"bad variable":      {item(`, environment: {"A=B": secret-value}`), "A=B"},
		"user below 0":      {item(", run_as_user: -1"), "run_as_user"},
		"unknown field":     {item(", fuse_s3_mount: secret-value"), "fuse_s3_mount"},
		"no list":           {"configs: secret-value", "unmarshal"},
		"two at once":       {"configs: [{name: a, working_dir: x}, {image: i, working_dir: /}]", "configs[1]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := warm.New(write(t, c.body), zap.NewNop())
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "WARM_RUNTIME_CONFIGS_FILE") {
				t.Fatalf("New: %v, want %q in it", err, c.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error cites a value: %v", err)
			}
		})
	}
	if _, err := warm.New(t.TempDir(), zap.NewNop()); err == nil {
		t.Error("New takes a folder")
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	path := write(t, full)
	lines := make(chan string, 16)
	core, _ := observer.New(zapcore.InfoLevel)
	log := zap.New(zapcore.RegisterHooks(core, func(e zapcore.Entry) error { lines <- e.Message; return nil }))
	s, err := warm.New(path, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Watch(ctx) }()
	defer func() { cancel(); <-done }()
	for _, step := range []struct {
		body, logged string
		configs      int
	}{{"configs: [{}]", "cannot be used", 2}, {"configs: []", "reloaded", 0}} {
		if err := os.WriteFile(path+".new", []byte(step.body), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		select {
		case line := <-lines:
			if !strings.Contains(line, step.logged) || len(s.Configs()) != step.configs {
				t.Errorf("logged %q with %d configs, want %q with %d", line, len(s.Configs()), step.logged, step.configs)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("never logged: %s", step.logged)
		}
	}
}
