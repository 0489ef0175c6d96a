package cluster

import (
	"net/http"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/obs"
)

// LogWrites logs every request that changes something in Kubernetes, with the id
// of the HTTP request that it is for: method, path and status, never a body.
func LogWrites(log *zap.Logger) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			if r.Method == http.MethodGet {
				return resp, err
			}
			fields := []zap.Field{
				obs.RequestID(obs.RequestOf(r.Context())), zap.String("method", r.Method), zap.String("path", r.URL.Path), zap.Error(err),
			}
			if resp != nil {
				fields = append(fields, zap.Int("status", resp.StatusCode))
			}
			log.Info("Kubernetes write", fields...)
			return resp, err
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
