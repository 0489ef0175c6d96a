package client

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// Patient asks again what could not be confirmed. A gateway or a router that has not
// heard from NATS within 250 ms says 503 of what its memory lacks, before it does
// anything: on a machine that is busy with all tests that happens now and then, and a
// client asks again.
type Patient struct {
	Next  http.RoundTripper
	Again *atomic.Int64 // counts how often; nil: nobody wants to know
}

// What is asked again, and for how long.
const (
	unconfirmed = "the state of sandboxes cannot be confirmed now"
	patience    = 10 * time.Second
)

// Unconfirmed reports whether an error is an answer that says so.
func Unconfirmed(err error) bool {
	return StatusOf(err) == http.StatusServiceUnavailable && strings.Contains(err.Error(), unconfirmed)
}

// RoundTrip implements http.RoundTripper.
func (p Patient) RoundTrip(r *http.Request) (*http.Response, error) {
	for until := time.Now().Add(patience); ; {
		resp, err := p.Next.RoundTrip(r)
		repeats := r.Body == nil || r.Body == http.NoBody || r.GetBody != nil
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable || !repeats || time.Now().After(until) {
			return resp, err
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			_ = resp.Body.Close()
			return nil, err
		}
		if !strings.Contains(string(body), unconfirmed) {
			resp.Body = struct {
				io.Reader
				io.Closer
			}{bytes.NewReader(body), resp.Body}
			return resp, nil
		}
		_ = resp.Body.Close()
		if p.Again != nil {
			p.Again.Add(1)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		if r.GetBody != nil {
			again := *r // a RoundTripper leaves the request as it is
			if again.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
			r = &again
		}
	}
}
