// Package run starts and stops a service: configuration, signals, actors that
// end together, HTTP servers that drain.
package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/signal"
	"reflect"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/caarlos0/env/v11"
	oklog "github.com/oklog/run"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/obs"
)

// Timeouts of a stop, each inside the next: DrainTimeout for requests under way,
// then the rest of StopTimeout for everything else. Kubernetes' default grace
// period is 30 s.
const (
	DrainTimeout = 15 * time.Second
	StopTimeout  = 25 * time.Second
	// UnreadyFor is how long a service says that it is not ready before it
	// stops taking connections, so that load balancers hear of it.
	UnreadyFor = 500 * time.Millisecond
)

// collectAt is GOGC where it is not set. What our services hold is the state of all
// sandboxes, which lives long: Go's default of 100 doubles it, to spare work that is
// little here.
const collectAt = 50

// Main runs a service until SIGINT or SIGTERM and returns its exit code: 0, 1 for
// a failure, 2 for a configuration that is wrong. Problems of the configuration
// are printed all at once, by name, before anything starts.
func Main[C interface{ Validate() error }](name string, environ []string, stderr io.Writer, start func(context.Context, C, *zap.Logger) error) int {
	cfg, err := Parse[C](environ)
	if err != nil {
		fmt.Fprintf(stderr, "%s: the configuration is wrong:\n%s\n", name, err)
		return 2
	}
	log, err := obs.NewLogger(name, lookup(environ, "LOG_LEVEL"), stderr)
	if err != nil {
		fmt.Fprintf(stderr, "%s: the configuration is wrong:\n%s\n", name, err)
		return 2
	}
	defer func() { _ = log.Sync() }() // stderr may be a pipe that is gone
	if lookup(environ, "GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if err := start(ctx, cfg, log); err != nil && !errors.Is(err, context.Canceled) {
		log.Error("stopped", zap.Error(err))
		return 1
	}
	log.Info("stopped")
	return 0
}

// Parse reads a configuration struct (tags of caarlos0/env) and validates it. A
// problem is named by the variable, not by the field that holds it.
func Parse[C interface{ Validate() error }](environ []string) (C, error) {
	cfg, parse := env.ParseAsWithOptions[C](env.Options{Environment: env.ToMap(environ)})
	var all env.AggregateError
	if errors.As(parse, &all) {
		names := variables(reflect.TypeFor[C]())
		var errs []error
		for _, err := range all.Errors {
			var p env.ParseError
			if errors.As(err, &p) {
				err = fmt.Errorf("%s is no %s: %w", strings.Join(names[p.Name], " or "), p.Type, p.Err)
			}
			errs = append(errs, err)
		}
		parse = errors.Join(errs...)
	}
	return cfg, errors.Join(parse, cfg.Validate())
}

// variables maps the names of a configuration's fields to those of the variables
// that they are read from.
func variables(t reflect.Type) map[string][]string {
	out := map[string][]string{}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("env"), ","); name != "" {
			out[f.Name] = append(out[f.Name], name)
		} else if f.Type.Kind() == reflect.Struct {
			for field, names := range variables(f.Type) {
				out[field] = append(out[field], names...)
			}
		}
	}
	return out
}

func lookup(environ []string, name string) string { return env.ToMap(environ)[name] }

// Group is a set of actors that end together: when one returns, or ctx ends,
// all others are interrupted, and Run returns the first one's error.
type Group struct {
	g   oklog.Group
	ctx context.Context
}

// NewGroup returns a group whose actors live until ctx ends.
func NewGroup(ctx context.Context) *Group {
	g := &Group{ctx: ctx}
	inner, cancel := context.WithCancel(ctx)
	g.g.Add(func() error { <-inner.Done(); return nil }, func(error) { cancel() })
	return g
}

// Add adds an actor that runs until its context ends. The context outlives the
// group's by the servers' drain: it ends when the actor is interrupted.
func (g *Group) Add(run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(g.ctx))
	g.g.Add(func() error {
		err := run(ctx)
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	}, func(error) { cancel() })
}

// Serve adds an HTTP server on a listener that is already bound, with TLS where it
// has a configuration for it. On the way out it calls unready, waits UnreadyFor,
// and drains. It must be added before the actors that its handlers need: interrupts
// run in order of addition, and this one returns only when the requests are
// answered. hangUp is called once no more connections are taken: for those that
// are not the server's any more, and have no end.
func (g *Group) Serve(srv *http.Server, l net.Listener, unready func(), hangUp ...func()) {
	d := &drainer{next: srv.Handler}
	srv.Handler = d
	g.g.Add(func() error {
		err := serve(srv, l)
		if errors.Is(err, http.ErrServerClosed) || d.leaving.Load() {
			return nil
		}
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}, func(error) {
		unready()
		d.leaving.Store(true)
		time.Sleep(UnreadyFor)
		ctx, cancel := context.WithTimeout(context.Background(), DrainTimeout)
		defer cancel()
		_ = l.Close() // the connections that are there go on
		for _, f := range hangUp {
			f()
		}
		d.drain(ctx)
		if srv.Shutdown(ctx) != nil {
			_ = srv.Close() // the budget is used up
		}
	})
}

func serve(srv *http.Server, l net.Listener) error {
	if srv.TLSConfig != nil {
		return srv.ServeTLS(l, "", "") // the configuration has the certificate
	}
	return srv.Serve(l)
}

// Run runs all and waits for all.
func (g *Group) Run() error { return g.g.Run() }
