package natsx

import (
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
)

// Kinds of what the client library tells by its error handler only.
const (
	errorSlow   = "slow_consumer" // more came than a subscription holds, and was dropped
	errorDenied = "denied"        // a right is missing
	errorOther  = "other"
)

func newErrors() *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sandbar_nats_errors_total", Help: "Errors that NATS or the client library told of beside any request.",
	}, []string{"kind"})
	for _, kind := range []string{errorSlow, errorDenied, errorOther} {
		v.WithLabelValues(kind)
	}
	return v
}

func kindOf(err error) string {
	switch {
	case errors.Is(err, nats.ErrSlowConsumer):
		return errorSlow
	case errors.Is(err, nats.ErrPermissionViolation), errors.Is(err, nats.ErrAuthorization):
		return errorDenied
	}
	return errorOther
}

// Register registers what is counted of the connection.
func (c *Conn) Register(to prometheus.Registerer) {
	to.MustRegister(c.errors,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sandbar_nats_connected", Help: "1 while there is a connection to NATS.",
		}, func() float64 {
			if c.IsConnected() {
				return 1
			}
			return 0
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "sandbar_nats_reconnects_total", Help: "Connections to NATS that were made again.",
		}, func() float64 { return float64(c.Stats().Reconnects) }))
}
