package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/bed"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/figure"
)

const (
	passers    = 16
	webSockets = 1000
	// talkers have a message under way at the same time.
	talkers = 64
)

var router = Benchmark{
	Name:  "router",
	What:  fmt.Sprintf("requests through the router to a sandbox, %d at once, and messages over %d WebSockets, %d at once; p50 at half of the slower one's rate", passers, webSockets, talkers),
	Limit: "a bare httputil.ReverseProxy in front of the same server",
	Run: func(ctx context.Context, e *Env) ([]figure.Case, error) {
		up, err := e.Limit(ctx, "upstream")
		if err != nil {
			return nil, err
		}
		proxy, err := e.Limit(ctx, "proxy", up.URL)
		if err != nil {
			return nil, err
		}
		upstream, err := url.Parse(up.URL)
		if err != nil {
			return nil, err
		}
		b, err := e.Start(ctx, "router", stack.Options{Settings: []string{"AGENT_SERVER_PORT=" + upstream.Port()}})
		if err != nil {
			return nil, err
		}
		defer func() { _ = b.Close() }()
		if err := b.Seed(ctx, 1, "127.0.0.1"); err != nil {
			return nil, err
		}
		all, err := b.List(ctx, b.Gateway(0))
		if err != nil {
			return nil, err
		}
		pid, err := b.Stack.Pid("router-0")
		if err != nil {
			return nil, err
		}
		ours := way{b.HTTP, b.Stack.Of("router")[0].URL, bed.Host(all[0].URL), pid}
		bare := way{b.HTTP, proxy.URL, bed.Host(proxy.URL), proxy.Pid}
		if err := ours.until(ctx); err != nil {
			return nil, err
		}
		var cases []figure.Case
		for _, c := range []struct{ name, path string }{{"small bodies", "/small"}, {"1 MiB bodies", "/big"}} {
			got, err := passing(ctx, e, c.name, side{ours.pid, ours.get(c.path)}, side{bare.pid, bare.get(c.path)}, passers)
			if err != nil {
				return cases, err
			}
			cases = append(cases, got)
		}
		got, err := talking(ctx, e, ours, bare)
		return append(cases, got), err
	},
}

// passing compares rate and p50 of two ways.
func passing(ctx context.Context, e *Env, name string, ours, bare side, atOnce int) (figure.Case, error) {
	rate, err := moderate(ctx, 0.5, time.Second, atOnce, ours, bare)
	if err != nil {
		return figure.Case{}, err
	}
	rounds, err := figure.Alternate(ctx, e.Rounds, both(atOnce, rate, e.Duration, ours), both(atOnce, rate, e.Duration, bare))
	return figure.Case{
		Name: name, Rounds: rounds, Note: fmt.Sprintf("p50 at %.0f/s; %s", rate, spent(rounds)),
		Bounds: []figure.Bound{{Value: figure.Rate, AtLeast: 0.9}, {Value: figure.P50, AtMost: 1.1}},
	}, err
}

// talking compares messages over many WebSockets that stay open.
func talking(ctx context.Context, e *Env, ours, bare way) (figure.Case, error) {
	a, err := ours.dial(ctx)
	defer a.close()
	if err != nil {
		return figure.Case{}, err
	}
	b, err := bare.dial(ctx)
	defer b.close()
	if err != nil {
		return figure.Case{}, err
	}
	return passing(ctx, e, fmt.Sprintf("%d WebSockets", webSockets), side{ours.pid, a.say}, side{bare.pid, b.say}, talkers)
}

// way is how a sandbox is reached.
type way struct {
	client *http.Client
	url    string
	host   string
	pid    int // of the proxy
}

func (w way) get(path string) func(context.Context, int) error {
	return func(ctx context.Context, _ int) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+path, nil)
		if err != nil {
			return err
		}
		req.Host = w.host
		_, err = bed.Answer(w.client, req)
		return err
	}
}

// until waits until the way leads to the sandbox.
func (w way) until(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return bed.Until(ctx, func() error { return w.get("/small")(ctx, 0) })
}

// lines are open WebSockets. On each one message is under way at a time.
type lines []*line

type line struct {
	mu   sync.Mutex
	conn *websocket.Conn
}

func (w way) dial(ctx context.Context) (lines, error) {
	var out lines
	for range webSockets {
		// Each takes a connection for good: none comes from a pool.
		//nolint:bodyclose // the library closes it, and says that nobody else has to
		c, _, err := websocket.Dial(ctx, "ws"+w.url[len("http"):]+"/echo", &websocket.DialOptions{
			Host: w.host, HTTPClient: &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{}).DialContext}},
		})
		if err != nil {
			return out, fmt.Errorf("WebSocket %d: %w", len(out), err)
		}
		out = append(out, &line{conn: c})
	}
	return out, nil
}

func (l lines) close() {
	for _, x := range l {
		_ = x.conn.CloseNow() // nothing is left to say
	}
}

var message = []byte(`{"kind":"event","text":"as long as a short line of an agent's output, which is what most of them are"}`)

// say sends a message over one of the lines, and returns when it is back.
func (l lines) say(ctx context.Context, n int) error {
	x := l[n%len(l)]
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.conn.Write(ctx, websocket.MessageText, message); err != nil {
		return err
	}
	_, got, err := x.conn.Read(ctx)
	if err == nil && len(got) != len(message) {
		err = errors.New("another message came back")
	}
	return err
}
