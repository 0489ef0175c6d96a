package httpapi

import (
	"bytes"
	"fmt"
	"net/http"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/obs"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/command"
	"github.com/sandbar-io/sandbar/services/gateway/internal/keys"
)

// HeaderRequestID names a request in logs and on the bus; a client may choose
// the name.
const HeaderRequestID = "X-Request-Id"

var (
	saneRequestID = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`)
	traceparent   = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
)

// call is one request on its way through the handlers.
type call struct {
	w      http.ResponseWriter // for the limit of the body; nothing is written to it
	r      *http.Request
	header http.Header // of the answer
	key    keys.Key
	id     string
	fields []zap.Field // of the line of log
}

// withStatus is an answer whose status is not 200.
type withStatus struct {
	status int
	body   any
}

func (a *api) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		c := &call{w: w, r: r, header: w.Header(), id: requestID(r)}
		body, err := a.handle(rt, c)
		status := http.StatusOK
		if s, ok := body.(withStatus); ok {
			status, body = s.status, s.body
		}
		if err != nil {
			status, body = problemOf(err)
			retryAfter(c.header, err)
		}
		a.log(rt, c, status, err, time.Since(begin))
		a.metrics.observe(rt.name, r.Method, status, time.Since(begin))
		a.write(c, status, body)
	})
}

// handle authenticates and calls the handler; a panic is an error like others.
func (a *api) handle(rt route, c *call) (body any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	if !rt.open {
		var ok bool
		// A session key, in whatever header, is no API key.
		if c.key, ok = a.Keys.Find(c.r.Header.Get("X-API-Key")); !ok {
			return nil, sandbox.Errorf(sandbox.CodeUnauthorized, "X-API-Key is missing or wrong")
		}
	}
	return rt.handle(c)
}

func (a *api) log(rt route, c *call, status int, err error, took time.Duration) {
	fields := slices.Concat(c.fields, []zap.Field{
		obs.RequestID(c.id), zap.String("endpoint", rt.name), zap.Int("status", status),
		zap.Duration("took", took), obs.Tenant(c.key.Tenant), zap.String("key_name", c.key.Name),
	})
	if err != nil {
		fields = append(fields, zap.Error(err))
	}
	switch {
	case status == http.StatusInternalServerError:
		a.Log.Error("request failed", fields...)
	case rt.changes:
		a.Log.Info("request answered", fields...)
	case status > http.StatusInternalServerError && !rt.open:
		a.Log.Warn("request failed", fields...)
	default:
		a.Log.Debug("request answered", fields...)
	}
}

func (a *api) write(c *call, status int, body any) {
	answer, ok := body.(shown)
	if !ok {
		var b bytes.Buffer
		if err := encodeJSON(&b, body); err != nil {
			a.Log.Error("an answer cannot be encoded", zap.Error(err))
			status = http.StatusInternalServerError
			b.Reset()
			b.WriteString(`{"detail":"internal error","error":"internal"}`)
		}
		answer = pieces{b.Bytes()}
	}
	c.header.Set("Content-Type", "application/json")
	c.header.Set("Content-Length", strconv.Itoa(sizeOf(answer)))
	c.header.Set("Cache-Control", "no-store") // it may hold a key
	c.header.Set(HeaderRequestID, c.id)
	c.w.WriteHeader(status)
	writeParts(c.w, answer)
}

func requestID(r *http.Request) string {
	if id := r.Header.Get(HeaderRequestID); saneRequestID.MatchString(id) {
		return id
	}
	return sandbox.NewKey()[:22]
}

func (c *call) origin() command.Origin {
	o := command.Origin{RequestID: c.id}
	if t := c.r.Header.Get("traceparent"); traceparent.MatchString(t) {
		o.Trace = t
	}
	return o
}

// found notes what the request was about.
func (c *call) found(v *sandbox.View) {
	c.fields = append(c.fields, obs.RuntimeID(v.RuntimeID), zap.String("sandbox_status", string(v.Status)))
}
