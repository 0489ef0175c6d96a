package run_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/run"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type nested struct {
	Inner int           `env:"INNER_PORT" envDefault:"1"`
	Wait  time.Duration `env:"INNER_WAIT"`
}

type config struct {
	Name  string `env:"NAME,required"`
	Port  int    `env:"OUTER_PORT" envDefault:"80"`
	Quiet bool   `env:"QUIET"`
	Other nested
	More  more
}

// more has a field of the same name as config.
type more struct {
	Port int `env:"MORE_PORT"`
}

func (c config) Validate() error {
	var errs []error
	if c.Port == 13 {
		errs = append(errs, errors.New("OUTER_PORT is 13, must be another"))
	}
	if c.Name == "bad" {
		errs = append(errs, errors.New("NAME is bad"))
	}
	return errors.Join(errs...)
}

func TestParse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		environ []string
		named   []string // in the error; none: it is accepted
		not     []string
	}{
		"all":               {[]string{"NAME=n", "OUTER_PORT=1", "QUIET=true", "INNER_PORT=2", "INNER_WAIT=3s", "MORE_PORT=4"}, nil, nil},
		"the least":         {[]string{"NAME=n"}, nil, nil},
		"others are there":  {[]string{"NAME=n", "PATH=/bin", "ODD"}, nil, nil},
		"missing":           {nil, []string{"NAME"}, nil},
		"not a number":      {[]string{"NAME=n", "OUTER_PORT=eighty"}, []string{"OUTER_PORT", "eighty"}, []string{"INNER_PORT"}},
		"of a nested part":  {[]string{"NAME=n", "INNER_PORT=x"}, []string{"INNER_PORT"}, []string{"OUTER_PORT", "MORE_PORT"}},
		"one of two":        {[]string{"NAME=n", "MORE_PORT=x"}, []string{"OUTER_PORT or MORE_PORT"}, []string{"INNER_PORT"}},
		"a number too high": {[]string{"NAME=n", "OUTER_PORT=99999999999999999999"}, []string{"OUTER_PORT"}, nil},
		"a time":            {[]string{"NAME=n", "INNER_WAIT=5"}, []string{"INNER_WAIT"}, nil},
		"all at once": {
			[]string{"NAME=bad", "OUTER_PORT=13", "QUIET=maybe", "INNER_PORT=x", "INNER_WAIT=y"},
			[]string{"NAME is bad", "OUTER_PORT is 13", "QUIET", "INNER_PORT", "INNER_WAIT"}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := run.Parse[config](c.environ)
			if (err == nil) != (c.named == nil) {
				t.Fatalf("%+v, %v", got, err)
			}
			for _, n := range c.named {
				if !strings.Contains(err.Error(), n) {
					t.Errorf("%s is not named in:\n%v", n, err)
				}
			}
			for _, n := range c.not {
				if strings.Contains(err.Error(), n) {
					t.Errorf("%s is named in:\n%v", n, err)
				}
			}
		})
	}
	got, err := run.Parse[config]([]string{"NAME=n", "MORE_PORT=4", "INNER_WAIT=3s"})
	want := config{Name: "n", Port: 80, Other: nested{1, 3 * time.Second}, More: more{4}}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestMainReturnsItsExitCode(t *testing.T) {
	t.Parallel()
	fine := func(context.Context, config, *zap.Logger) error { return nil }
	for name, c := range map[string]struct {
		environ []string
		start   func(context.Context, config, *zap.Logger) error
		code    int
		says    []string
	}{
		"fine":           {[]string{"NAME=n"}, fine, 0, []string{`"msg":"stopped"`, `"service":"svc"`}},
		"canceled":       {[]string{"NAME=n"}, func(context.Context, config, *zap.Logger) error { return fmt.Errorf("x: %w", context.Canceled) }, 0, nil},
		"failed":         {[]string{"NAME=n"}, func(context.Context, config, *zap.Logger) error { return errors.New("the port is taken") }, 1, []string{"the port is taken"}},
		"misconfigured":  {[]string{"OUTER_PORT=13", "QUIET=x"}, fine, 2, []string{"svc: the configuration is wrong", "NAME", "OUTER_PORT", "QUIET"}},
		"a level is odd": {[]string{"NAME=n", "LOG_LEVEL=loud"}, fine, 2, []string{"LOG_LEVEL"}},
		"a quiet level":  {[]string{"NAME=n", "LOG_LEVEL=error"}, fine, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			started := false
			code := run.Main("svc", c.environ, &out, func(ctx context.Context, cfg config, log *zap.Logger) error {
				started = true
				return c.start(ctx, cfg, log)
			})
			if code != c.code || started != (code != 2) {
				t.Errorf("code %d, started %v: %s", code, started, out.String())
			}
			for _, s := range c.says {
				if !strings.Contains(out.String(), s) {
					t.Errorf("%q is not in %s", s, out.String())
				}
			}
		})
	}
}

// The process is asked to end; what runs ends by its context.
func TestMainEndsBySignal(t *testing.T) { // not parallel: the signal is the whole process's
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		code := run.Main("svc", []string{"NAME=n"}, io.Discard, func(ctx context.Context, _ config, _ *zap.Logger) error {
			if err := syscall.Kill(syscall.Getpid(), sig); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		})
		if code != 0 {
			t.Errorf("%s: code %d", sig, code)
		}
	}
}

// What lives long is collected at half of itself, unless the operator says otherwise.
func TestMainCollectsEarlier(t *testing.T) { // not parallel: it is the whole process's
	const own = 123
	before := debug.SetGCPercent(own)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	for environ, want := range map[string]int{"OTHER=1": 50, "GOGC=123": own} {
		got := 0
		code := run.Main("svc", []string{"NAME=n", environ}, io.Discard, func(context.Context, config, *zap.Logger) error {
			got = debug.SetGCPercent(own)
			return nil
		})
		if code != 0 || got != want {
			t.Errorf("with %s: code %d, GOGC %d, want %d", environ, code, got, want)
		}
	}
}

func TestGroupEndsTogether(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		first func(ctx context.Context, cancel func()) error
		want  error
	}{
		"an actor fails":             {func(context.Context, func()) error { return boom }, boom},
		"an actor returns":           {func(context.Context, func()) error { return nil }, nil},
		"the context ends":           {func(ctx context.Context, cancel func()) error { cancel(); <-ctx.Done(); return ctx.Err() }, nil},
		"an actor ends by a context": {func(context.Context, func()) error { return fmt.Errorf("x: %w", context.Canceled) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			g := run.NewGroup(ctx)
			var ended atomic.Int64
			for range 3 {
				g.Add(func(ctx context.Context) error {
					<-ctx.Done()
					ended.Add(1)
					return errors.New("of no interest: it is not the first")
				})
			}
			g.Add(func(ctx context.Context) error { return c.first(ctx, cancel) })
			if name == "the context ends" {
				g = run.NewGroup(ctx)
				for range 3 {
					g.Add(func(ctx context.Context) error { <-ctx.Done(); ended.Add(1); return ctx.Err() })
				}
				cancel()
			}
			if err := g.Run(); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("%v", err)
			}
			if n := ended.Load(); n != 3 {
				t.Errorf("%d actors ended", n)
			}
		})
	}
}

// A stop: not ready first; requests under way are answered, with what they need
// still there; then the rest ends.
func TestServeDrains(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var backend, unready atomic.Bool
	backend.Store(true)
	entered, release := make(chan struct{}), make(chan struct{})
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		if !backend.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprint(w, "answered")
	})}
	g := run.NewGroup(ctx)
	g.Serve(srv, l, func() {
		unready.Store(true)
		if !backend.Load() {
			t.Error("the backend ended before the server was told")
		}
	})
	g.Add(func(ctx context.Context) error {
		<-ctx.Done()
		backend.Store(false)
		return nil
	})
	ended := make(chan error, 1)
	go func() { ended <- g.Run() }()
	answer := make(chan string, 1)
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String(), nil)
		if err != nil {
			answer <- err.Error()
			return
		}
		resp, err := client.Do(req)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		answer <- fmt.Sprint(resp.StatusCode, " ", string(body), " ", err)
	}()
	<-entered
	cancel()
	untilRefused(t, l) // the request is still under way then
	close(release)
	if got := <-answer; got != "200 answered <nil>" {
		t.Error(got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !unready.Load() || backend.Load() {
		t.Errorf("unready %v, backend %v", unready.Load(), backend.Load())
	}
}

// A connection that is used again and again is given up before it is closed: the
// last answer on it says so, and the server is not the one to take it away under a
// request.
func TestServeGivesConnectionsUp(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unready := make(chan struct{})
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "answered")
	})}
	g := run.NewGroup(ctx)
	g.Serve(srv, l, func() { close(unready) })
	ended := make(chan error, 1)
	go func() { ended <- g.Run() }()
	conn := dial(t, l)
	ask := func() *http.Response {
		t.Helper()
		resp := conn.ask(t, "/")
		conn.read(t, resp, "answered")
		return resp
	}
	for range 2 {
		if ask().Close {
			t.Error("the connection is given up while nobody asks for an end")
		}
	}
	cancel()
	<-unready
	for begin := time.Now(); !ask().Close; { // the first may come before the server knows
		if time.Since(begin) > run.UnreadyFor/2 {
			t.Fatal("the connection is kept")
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A long answer may have begun before the end was known: when it is over, the
// connection is still there for the request that its client sends next.
func TestServeLingers(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			fmt.Fprint(w, "begun, ")
			_ = http.NewResponseController(w).Flush() // the header is out
			<-release
		}
		fmt.Fprint(w, "answered")
	})}
	g := run.NewGroup(ctx)
	g.Serve(srv, l, func() {})
	ended := make(chan error, 1)
	go func() { ended <- g.Run() }()
	conn := dial(t, l)
	long := conn.ask(t, "/long")
	if long.Close {
		t.Error("the connection is given up while nobody asks for an end")
	}
	cancel()
	untilRefused(t, l)
	close(release)
	conn.read(t, long, "begun, answered")
	next := conn.ask(t, "/")
	conn.read(t, next, "answered")
	if !next.Close {
		t.Error("the connection is not given up")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// client is one connection to a server.
type client struct {
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, l net.Listener) *client {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &client{conn, bufio.NewReader(conn)}
}

// ask sends a request and reads the head of its answer.
func (c *client) ask(t *testing.T, path string) *http.Response {
	t.Helper()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: here\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func (c *client) read(t *testing.T, resp *http.Response, want string) {
	t.Helper()
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); string(body) != want || err != nil {
		t.Fatalf("%q, %v, want %q", body, err, want)
	}
}

// untilRefused waits until a server takes no more connections.
func untilRefused(t *testing.T, l net.Listener) {
	t.Helper()
	for begin := time.Now(); ; {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return
		}
		_ = c.Close()
		if time.Since(begin) > run.DrainTimeout {
			t.Fatal("it still takes connections")
		}
	}
}

// A listener that breaks ends the group with an error that says which.
func TestServeFails(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	g := run.NewGroup(t.Context())
	g.Serve(&http.Server{ReadHeaderTimeout: time.Minute}, l, func() {})
	if err := g.Run(); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("%v", err)
	}
}

// The budgets fit into each other and into Kubernetes' grace period.
func TestStopBudgets(t *testing.T) {
	t.Parallel()
	if run.UnreadyFor+run.DrainTimeout >= run.StopTimeout || run.StopTimeout >= 30*time.Second {
		t.Errorf("%v + %v, %v", run.UnreadyFor, run.DrainTimeout, run.StopTimeout)
	}
}
