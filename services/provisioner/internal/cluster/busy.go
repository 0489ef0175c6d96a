package cluster

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Busy is an API server that has no time for a request now: 429 of its priority
// and fairness, 503 of itself or of a proxy before it.
type Busy struct {
	// After is how long it wants not to be asked again: maxAfter at most.
	After time.Duration
	// Undone: the request was certainly not carried out. That is so of a read, and
	// of a 429, which is told before anything is done. A 503 may be a proxy's that
	// lost the API server after it had passed the request on.
	Undone bool

	status int
}

func (b *Busy) Error() string {
	return fmt.Sprintf("the API server is busy: %d, try again after %s", b.status, b.After)
}

const (
	// usualAfter is what priority and fairness tells, and what is meant where
	// nothing is told.
	usualAfter = time.Second
	// maxAfter bounds what is believed: longer than a client waits.
	maxAfter = 10 * time.Second
	// drained is how much of an answer's body is read, so that the connection can
	// be used again.
	drained = 4 << 10
)

// TellBusy makes an error of such an answer. client-go would wait and ask again
// itself, up to ten times: longer than the client waits whose command it is, and
// without a word to anyone.
func TellBusy(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err != nil || !busy(resp) {
			return resp, err
		}
		_, _ = io.CopyN(io.Discard, resp.Body, drained) // shorter as a rule
		_ = resp.Body.Close()
		read := r.Method == http.MethodGet || r.Method == http.MethodHead
		return nil, &Busy{
			After: after(resp.Header), Undone: read || resp.StatusCode == http.StatusTooManyRequests, status: resp.StatusCode,
		}
	})
}

// busy: what client-go would ask again for, and 429 and 503 that do not say when.
func busy(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return true
	}
	return resp.StatusCode >= http.StatusInternalServerError && resp.Header.Get("Retry-After") != ""
}

func after(h http.Header) time.Duration {
	n, err := strconv.ParseUint(h.Get("Retry-After"), 10, 31)
	if err != nil || n == 0 {
		return usualAfter
	}
	return min(time.Duration(n)*time.Second, maxAfter)
}
