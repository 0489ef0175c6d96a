// Package proxy passes requests on to sandboxes: it reads the sandbox and its
// service from host or path, asks the views whether it can serve, and copies
// bytes both ways for as long as they flow.
package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/obs"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/router/internal/activity"
)

// Config is what a Handler is made of.
type Config struct {
	Pattern        sandbox.URLPattern
	Ports          sandbox.Ports
	TrustForwarded bool          // a proxy in front sets X-Forwarded-*
	UpstreamIdle   time.Duration // how long an idle connection to a sandbox is kept
	Views          Views
	Activity       *activity.Tracker
	Metrics        *Metrics
	Log            *zap.Logger
	// Dial connects to sandboxes; nil: by TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Handler serves all traffic of sandboxes.
type Handler struct {
	cfg       Config
	transport *http.Transport
	proxy     httputil.ReverseProxy
	upgrades  upgrades
	busy      sync.WaitGroup
}

// New returns a handler.
func New(cfg Config) *Handler {
	h := &Handler{cfg: cfg, transport: newTransport(cfg.UpstreamIdle, cfg.Dial)}
	errorLog, err := zap.NewStdLogAt(cfg.Log, zap.DebugLevel)
	if err != nil {
		panic(err) // the level is a constant
	}
	h.proxy = httputil.ReverseProxy{
		Rewrite: h.rewrite, ModifyResponse: h.modify, ErrorHandler: h.failed,
		Transport: h.transport, FlushInterval: -1, BufferPool: &buffers{}, ErrorLog: errorLog,
	}
	return h
}

// CloseUpgraded ends all upgraded connections, and those that are upgraded from
// now on. Their clients connect again, elsewhere.
func (h *Handler) CloseUpgraded() { h.upgrades.close() }

// Close waits for the requests that are under way, which the server must have
// ended, and closes idle connections.
func (h *Handler) Close() {
	h.CloseUpgraded()
	h.busy.Wait()
	h.transport.CloseIdleConnections()
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.busy.Add(1)
	defer h.busy.Done()
	out, service, ended := &writer{ResponseWriter: w, upgrades: &h.upgrades}, noService, false
	defer func() { h.cfg.Metrics.ended(service, out.status, ended) }()
	t, answer := ParseTarget(h.cfg.Pattern, r)
	if answer == nil {
		service = t.Service
		answer = h.pass(out, r, t)
	}
	if answer != nil {
		answer.write(out)
	}
	ended = true
}

// pass passes a request on, or says what it is answered.
func (h *Handler) pass(out *writer, r *http.Request, t Target) *Answer {
	v, answer := find(r.Context(), h.cfg.Views, t.Label)
	if answer != nil {
		return answer
	}
	ex := &exchange{
		target: t, view: v, address: address(v, h.cfg.Ports.Of(t.Service)), publicHost: r.Host, out: out,
	}
	if !activity.IsProbe(r, t.Service, t.Path) {
		ex.activity = h.cfg.Activity.Begin(v)
		defer ex.activity.End()
	}
	out.activity = &ex.activity
	gauge := h.cfg.Metrics.inFlight.WithLabelValues(string(t.Service))
	gauge.Inc()
	defer gauge.Dec()
	// Without it the server reads the whole request before it answers, and no
	// sandbox could answer while it is sent something.
	_ = http.NewResponseController(out).EnableFullDuplex() // HTTP/2 is so anyway
	h.proxy.ServeHTTP(out, withExchange(r, ex))
	return nil
}

// failed answers a request that the sandbox did not. It may have been paused or
// stopped meanwhile, so its state is looked up again: a client resumes on 503,
// and gives up on 502.
func (h *Handler) failed(w http.ResponseWriter, r *http.Request, err error) {
	ex := exchangeOf(r)
	switch {
	case r.Context().Err() != nil || ex.out.status != 0:
		panic(http.ErrAbortHandler) // the client went away, or has part of an answer
	case !ex.sent || ex.bodyFailed.Load():
		answerBadRequest.write(w)
		return
	}
	reason, answer := classify(err)
	h.cfg.Metrics.upstream.WithLabelValues(reason).Inc()
	h.cfg.Log.Info("the sandbox did not answer", obs.RuntimeID(ex.view.RuntimeID),
		zap.String("service", string(ex.target.Service)), zap.String("reason", reason), zap.Error(err))
	confirmed := h.cfg.Views.ReadIndex(r.Context()) == nil
	now := lookUp(h.cfg.Views, ex.target.Label)
	if state := Decide(now, confirmed); state != nil {
		answer = state
	} else if now.RuntimeID != ex.view.RuntimeID || now.Address != ex.view.Address {
		answer = answerMoved
	}
	answer.write(w)
}

// classify maps a transport's error.
func classify(err error) (reason string, a *Answer) {
	var timeout net.Error
	var op *net.OpError
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout", answerTimeout
	case errors.As(err, &op) && op.Op == "dial":
		return "dial", answerUnreachable
	}
	return "transport", answerBroken
}
