package stack

import (
	"context"
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
		if err := s.WaitService(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// WaitService waits until one instance says that it is ready.
func (s *Stack) WaitService(ctx context.Context, name string) error {
	svc := s.Services[name]
	return s.until(ctx, nil, func() error {
		if !s.Running(name) {
			return fmt.Errorf("%s %w, its log: %s: %s", name, errEnded, s.table.LogPath(name), process.LastLine(s.table.LogPath(name)))
		}
		return get(ctx, svc.Health+"/readiness")
	})
}

func get(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
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
