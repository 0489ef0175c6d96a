package proxy

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/router/internal/activity"
)

// exchange is one request that is passed on.
type exchange struct {
	target     Target
	view       *sandbox.View
	address    string // that is dialled
	publicHost string // as the client sent it
	activity   activity.Exchange
	out        *writer
	sent       bool        // the sandbox's request was made
	bodyFailed atomic.Bool // the client's body ended in an error
}

type exchangeKey struct{}

func withExchange(r *http.Request, ex *exchange) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), exchangeKey{}, ex))
}

func exchangeOf(r *http.Request) *exchange {
	return r.Context().Value(exchangeKey{}).(*exchange)
}

// writer is the client's ResponseWriter. It sees status and bytes, and keeps
// hold of connections that are upgraded.
type writer struct {
	http.ResponseWriter
	upgrades *upgrades
	activity *activity.Exchange // nil: the router answers itself
	status   int                // 0: none yet
}

func (w *writer) WriteHeader(status int) {
	if status >= http.StatusOK && w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if w.activity != nil {
		w.activity.Touch()
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController flush.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack is called by ReverseProxy for a 101.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.status = http.StatusSwitchingProtocols
	u := &upgraded{Conn: conn, early: rw.Reader, activity: *w.activity, of: w.upgrades}
	w.upgrades.add(u)
	return u, rw, nil
}
