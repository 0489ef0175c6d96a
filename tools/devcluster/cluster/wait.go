package cluster

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/sandbar-io/sandbar/tools/internal/process"
)

const (
	// patience is how long a part may take to come up. The slowest, the API
	// server, takes 3 s here and some 15 s on a machine that is busy building.
	patience = 60 * time.Second
	// pace of asking whether it is up.
	pace = 50 * time.Millisecond
)

// until asks again and again until ask returns nil. It gives up when the
// process ends, when patience ends, and with the context; and says in one line
// what was waited for and where to look.
func until(ctx context.Context, what string, p *process.Process, ask func(context.Context) error) error {
	whole := ctx
	ctx, cancel := context.WithTimeout(whole, patience)
	defer cancel()
	var ended <-chan struct{}
	if p != nil {
		ended = p.Done()
	}
	tick := time.NewTicker(pace)
	defer tick.Stop()
	var last error
	for {
		once, stop := context.WithTimeout(ctx, 2*time.Second) // one hanging request is not the end
		err := ask(once)
		stop()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-ended:
			return p.Failure()
		case <-ctx.Done():
			if whole.Err() != nil {
				return context.Cause(whole)
			}
			where := ""
			if p != nil {
				where = fmt.Sprintf("; its log: %s", p.Log)
			}
			return fmt.Errorf("%s is not up after %s: %w%s", what, patience, last, where)
		case <-tick.C:
		}
	}
}

// healthy asks a URL and takes 200 for yes.
func healthy(client *http.Client, url string) func(context.Context) error {
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", url, resp.Status)
		}
		return nil
	}
}
