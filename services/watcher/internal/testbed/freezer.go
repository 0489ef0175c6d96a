package testbed

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// Freezer is a network in which watches can be frozen: no byte comes any more,
// and no error.
type Freezer struct {
	Next http.RoundTripper
	mu   sync.Mutex
	open []*body
	gate chan struct{} // closed, or nil: a new watch may begin
}

// body is what a watch brings.
type body struct {
	io.ReadCloser
	asked  context.Context //nolint:containedctx // of the request: who asked may go away
	frozen atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.frozen.Load() {
		select {
		case <-b.closed:
		case <-b.asked.Done():
		}
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

func (b *body) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.ReadCloser.Close()
}

// RoundTrip passes a request on.
func (f *Freezer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Query().Get("watch") == "" {
		return f.Next.RoundTrip(r)
	}
	f.mu.Lock()
	gate := f.gate
	f.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	resp, err := f.Next.RoundTrip(r)
	if err != nil {
		return resp, err
	}
	b := &body{ReadCloser: resp.Body, asked: r.Context(), closed: make(chan struct{})}
	resp.Body = b
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = append(f.open, b)
	return resp, nil
}

// Freeze freezes the watches that are open; later ones are well.
func (f *Freezer) Freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.open {
		b.frozen.Store(true)
	}
}

// FreezeAll freezes them and lets none begin until begin.
func (f *Freezer) FreezeAll() (begin func()) {
	gate := make(chan struct{})
	f.mu.Lock()
	f.gate = gate
	f.mu.Unlock()
	f.Freeze()
	return sync.OnceFunc(func() { close(gate) })
}
