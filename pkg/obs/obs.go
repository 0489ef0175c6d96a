// Package obs makes loggers and metrics. Neither ever holds a key or the value
// of an environment variable.
package obs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	stdlog "log"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// NewLogger returns a JSON logger; level "" means info.
func NewLogger(service, level string, w io.Writer) (*zap.Logger, error) {
	l := zapcore.InfoLevel
	if level != "" {
		var err error
		if l, err = zapcore.ParseLevel(level); err != nil {
			return nil, fmt.Errorf("LOG_LEVEL %q is none of debug, info, warn, error", level)
		}
	}
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	enc.TimeKey = "time"
	core := zapcore.NewCore(zapcore.NewJSONEncoder(enc), zapcore.Lock(zapcore.AddSync(w)), l)
	return zap.New(core).With(zap.String("service", service)), nil
}

// ServerLog is the ErrorLog of an http.Server.
func ServerLog(log *zap.Logger) *stdlog.Logger { return stdlog.New(serverLines{log}, "", 0) }

type serverLines struct{ log *zap.Logger }

// Write takes one line. A handshake fails for each load balancer that only looks
// whether the port is open, and for each scanner: that is no warning.
func (l serverLines) Write(line []byte) (int, error) {
	level := zap.WarnLevel
	if bytes.HasPrefix(line, []byte("http: TLS handshake error")) {
		level = zap.DebugLevel
	}
	l.log.Log(level, "the HTTP server reports an error", zap.ByteString("error", bytes.TrimSpace(line)))
	return len(line), nil
}

// The fields that every service logs, by the same names.

// RuntimeID is the sandbox's name.
func RuntimeID(s string) zap.Field { return zap.String("runtime_id", s) }

// SessionID is the client's name for it.
func SessionID(s string) zap.Field { return zap.String("session_id", s) }

// RequestID goes from HTTP through the bus to Kubernetes.
func RequestID(s string) zap.Field { return zap.String("request_id", s) }

// CommandID is minted by the gateway for each command.
func CommandID(s string) zap.Field { return zap.String("command_id", s) }

// Tenant is the owner of the API key.
func Tenant(s string) zap.Field { return zap.String("tenant", s) }

// NewRegistry returns a registry of our own with the runtime's metrics.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Handler serves a registry's metrics.
func Handler(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{Registry: r})
}

type requestKey struct{}

// WithRequest puts the id of the request that a piece of work is for into its
// context.
func WithRequest(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestKey{}, id)
}

// RequestOf is the id that WithRequest put there, or "".
func RequestOf(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}
