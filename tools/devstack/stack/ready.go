package stack

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sandbar-io/sandbar/tools/internal/process"
)

// WaitReady waits until every service says that it is ready.
func (s *Stack) WaitReady(ctx context.Context) error {
	for _, name := range s.Names() {
		// One that has ended may be what the others wait for.
		if err := s.wait(ctx, name, s.Names()); err != nil {
			return err
		}
	}
	return nil
}

// WaitService waits until one instance says that it is ready.
func (s *Stack) WaitService(ctx context.Context, name string) error {
	return s.wait(ctx, name, []string{name})
}

// wait waits until an instance is ready, as long as all of those run.
func (s *Stack) wait(ctx context.Context, name string, run []string) error {
	return s.until(ctx, nil, func() error {
		for _, n := range run {
			if !s.Running(n) {
				return fmt.Errorf("%s %w, its log: %s: %s", n, errEnded, s.table.LogPath(n), process.LastLine(s.table.LogPath(n)))
			}
		}
		return get(ctx, s.Services[name].Health+"/readiness")
	})
}

// own asks services of this machine. Whom their certificates name does not matter
// here.
var own = &http.Client{Transport: &http.Transport{
	TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
}}

func get(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := own.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var body json.RawMessage
		_ = json.NewDecoder(resp.Body).Decode(&body)
		return fmt.Errorf("%s says %d: %s", url, resp.StatusCode, body)
	}
	return nil
}

// until asks again and again, at most readyTimeout long and no longer than the
// process lives.
func (s *Stack) until(ctx context.Context, p *process.Process, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var ended <-chan struct{}
	if p != nil {
		ended = p.Done()
	}
	for {
		err := ask()
		if err == nil || errors.Is(err, errEnded) {
			return err
		}
		select {
		case <-ended:
			return p.Failure()
		case <-ctx.Done():
			return fmt.Errorf("not ready after %s: %w", readyTimeout, err)
		case <-tick.C:
		}
	}
}
