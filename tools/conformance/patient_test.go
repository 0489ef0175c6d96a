//go:build system

package conformance_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// patient asks again what could not be confirmed. A gateway or a router that has not
// heard from NATS within 250 ms says 503 of what its memory lacks: on a machine that is
// busy with all tests that happens now and then, and a client asks again.
type patient struct{ next http.RoundTripper }

const (
	unconfirmed = "the state of sandboxes cannot be confirmed now"
	patience    = 10 * time.Second
)

var askedAgain atomic.Int64

// RoundTrip implements http.RoundTripper.
func (p patient) RoundTrip(r *http.Request) (*http.Response, error) {
	for until := time.Now().Add(patience); ; {
		resp, err := p.next.RoundTrip(r)
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable || r.Method != http.MethodGet || time.Now().After(until) {
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
		askedAgain.Add(1)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}
