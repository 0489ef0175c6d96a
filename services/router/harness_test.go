package router_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/services/router"
)

// service is a router that runs.
type service struct {
	*testing.T
	traffic, health string
	stop            context.CancelFunc
	ended           chan error
	client          *http.Client
}

func start(t *testing.T, natsURL string, agent http.Handler, settings ...string) *service {
	t.Helper()
	upstream := httptest.NewUnstartedServer(agent)
	upstream.Config.DisableGeneralOptionsHandler = true
	upstream.Start()
	t.Cleanup(upstream.Close)
	cfg, err := run.Parse[router.Config](append(settings,
		"BASE_DOMAIN=sandbar.test", "LISTEN_ADDRESS=127.0.0.1", "ROUTER_PORT=0", "HEALTH_PORT=0", "NATS_URL="+natsURL,
		fmt.Sprint("AGENT_SERVER_PORT=", upstream.Listener.Addr().(*net.TCPAddr).Port),
	))
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	serving := make(chan struct{})
	hook := zap.Hooks(func(e zapcore.Entry) error {
		if e.Message == "serving" {
			close(serving)
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	s := &service{T: t, stop: cancel, ended: make(chan error, 1)}
	go func() { s.ended <- router.Run(ctx, cfg, zap.New(core, hook)) }()
	t.Cleanup(func() {
		s.stop()
		if err := <-s.ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-serving:
	case err := <-s.ended:
		s.ended <- err
		t.Fatal(err)
	}
	said := logs.FilterMessage("serving").All()[0].ContextMap()
	s.traffic, s.health = fmt.Sprint(said["address"]), fmt.Sprint(said["health_address"])
	s.client = &http.Client{Transport: &http.Transport{DialContext: s.dial}}
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

// dial leads the names of sandboxes to the router.
func (s *service) dial(ctx context.Context, _, address string) (net.Conn, error) {
	if host, _, _ := net.SplitHostPort(address); strings.HasSuffix(host, ".sandbar.test") {
		address = s.traffic
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

func (s *service) get(url string) (int, string) {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), http.MethodGet, url, nil)
	if err != nil {
		s.Fatal(err)
	}
	res, err := s.client.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.Fatal(err)
	}
	return res.StatusCode, string(body)
}

const sandboxURL = "http://" + session + ".sandbar.test/x"

// want asks until the status comes; it may change at any time.
func (s *service) want(url string, status int) string {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		got, body := s.get(url)
		if got == status {
			return body
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.Fatalf("%s: %d %s, want %d", url, got, body, status)
		}
	}
}
