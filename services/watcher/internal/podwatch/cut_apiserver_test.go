//go:build apiserver

package podwatch_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

// cutter is a network in which watches are cut. Until mend no watch goes on; what
// one that goes on then is told, answer says (nil: all that the server has).
type cutter struct {
	next   http.RoundTripper
	answer func(*http.Request) *http.Response
	bare   bool // no bookmarks are asked for

	mu     sync.Mutex
	open   []io.Closer
	cut    bool
	mended chan struct{}
	kinds  map[string]bool
}

func (c *cutter) RoundTrip(r *http.Request) (*http.Response, error) {
	query := r.URL.Query()
	// A list may be a watch too, that begins with all there is.
	if query.Get("watch") == "" || query.Get("sendInitialEvents") == "true" {
		return c.keep(r)
	}
	c.mu.Lock()
	cut, mended := c.cut, c.mended
	c.mu.Unlock()
	if cut {
		select {
		case <-mended:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		if resp := c.refusal(r); resp != nil {
			return resp, nil
		}
	}
	if c.bare {
		r = r.Clone(r.Context())
		query.Del("allowWatchBookmarks")
		r.URL.RawQuery = query.Encode()
	}
	return c.keep(r)
}

// refusal is what the first watch of a kind gets that goes on.
func (c *cutter) refusal(r *http.Request) *http.Response {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answer == nil || c.kinds[r.URL.Path] {
		return nil
	}
	c.kinds[r.URL.Path] = true
	return c.answer(r)
}

func (c *cutter) keep(r *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(r)
	if err == nil && r.URL.Query().Get("watch") != "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.open = append(c.open, resp.Body)
	}
	return resp, err
}

// close cuts all watches.
func (c *cutter) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut, c.mended, c.kinds = true, make(chan struct{}), map[string]bool{}
	for _, b := range c.open {
		_ = b.Close() // most are closed already
	}
	c.open = nil
}

func (c *cutter) mend() { close(c.mended) }

const expired = `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version","reason":"Expired","code":410}`

func says(status int, body string) func(*http.Request) *http.Response {
	return func(r *http.Request) *http.Response {
		return &http.Response{
			Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r,
		}
	}
}

// TestAWatchThatIsCut: what happened while no watch was there is shown afterwards,
// and told once, whether the watch may go on where it was, or is told that this is
// too long ago.
func TestAWatchThatIsCut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*cutter{
		"it goes on":                      {},
		"it goes on without bookmarks":    {bare: true},
		"410 Gone":                        {answer: says(http.StatusGone, expired)},
		"410 Gone, told as an event":      {answer: says(http.StatusOK, `{"type":"ERROR","object":`+expired+"}\n")},
		"410 Gone, and without bookmarks": {answer: says(http.StatusGone, expired), bare: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBenchOver(t, time.Hour, func(rt http.RoundTripper) http.RoundTripper { c.next = rt; return c })
			stays, goes, loses := b.k8s.Start("stays"), b.k8s.Start("goes"), b.k8s.Start("loses")
			pod := b.k8s.MakePod(loses)
			testbed.Eventually(t, "all are shown", func() bool {
				return b.shows(stays) && b.shows(goes) && b.shows(loses) && len(b.w.Look(loses.Name).Pods) == 1
			})
			var mu sync.Mutex
			told := map[string]int{}
			b.w.Subscribe(func(key string) { mu.Lock(); defer mu.Unlock(); told[key]++ })

			c.close()
			b.k8s.Purge(goes)
			b.k8s.RemovePod(pod)
			changed := b.k8s.Change(stays, func(r *sandbox.Record) { r.Desired = sandbox.Paused })
			comes := b.k8s.Start("comes")
			b.k8s.MakePod(comes)
			c.mend()

			testbed.Eventually(t, "what was missed is shown", func() bool {
				return b.shows(changed) && b.shows(comes) && !b.shows(goes) &&
					len(b.w.Look(comes.Name).Pods) == 1 && len(b.w.Look(loses.Name).Pods) == 0
			})
			times := func(r *sandbox.Record) int { mu.Lock(); defer mu.Unlock(); return told[testbed.Key(r)] }
			for _, r := range []*sandbox.Record{goes, loses, changed, comes} { // after it is shown
				testbed.Eventually(t, "somebody is told of "+r.SessionID, func() bool { return times(r) > 0 })
			}
			if n := times(goes); n != 1 {
				t.Errorf("told %d times of a record that went", n)
			}
			if n := b.restarts.Load(); n != 0 {
				t.Errorf("%d watches were made anew by the comparison: this shows nothing", n)
			}
		})
	}
}
