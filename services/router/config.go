package router

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/obs"
	"github.com/sandbar-io/sandbar/pkg/settings"
)

// Config is the router's configuration.
type Config struct {
	NATS natsx.Config
	URL  settings.URL
	TLS  settings.TLS // of the data path

	ListenAddress string `env:"LISTEN_ADDRESS"` // "": all
	Port          int    `env:"ROUTER_PORT" envDefault:"8080"`
	// HealthPort is a listener of its own: on the other one every host and path
	// may be a sandbox's.
	HealthPort int `env:"HEALTH_PORT" envDefault:"8081"`
	// TrustForwarded is set where a proxy in front overwrites X-Forwarded-*.
	TrustForwarded bool `env:"TRUST_FORWARDED"`
	// UpstreamIdle is how long an idle connection to a sandbox is kept. Agent
	// server and VS Code close theirs after 5 s: a request that meets the close
	// is lost if it has a body, so the router must be first.
	UpstreamIdle time.Duration `env:"UPSTREAM_IDLE_TIMEOUT" envDefault:"4s"`
	LogLevel     string        `env:"LOG_LEVEL" envDefault:"info"`
}

// Validate lists all that is wrong. Port 0 is any free one.
func (c Config) Validate() error {
	errs := []error{c.NATS.Validate(), c.URL.Validate(), c.TLS.Validate()}
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Port < 0 || c.Port > 65535 {
		add("ROUTER_PORT is %d, must be 0 to 65535", c.Port)
	}
	if c.HealthPort < 0 || c.HealthPort > 65535 {
		add("HEALTH_PORT is %d, must be 0 to 65535", c.HealthPort)
	}
	if c.HealthPort == c.Port && c.Port != 0 {
		add("ROUTER_PORT and HEALTH_PORT are both %d", c.Port)
	}
	if c.TLS.On() && c.URL.Scheme != "https" {
		add("URL_SCHEME is %q, must be https where TLS_CERT_FILE and TLS_KEY_FILE are set", c.URL.Scheme)
	}
	if c.UpstreamIdle <= 0 {
		add("UPSTREAM_IDLE_TIMEOUT is %s, must be above 0", c.UpstreamIdle)
	}
	if _, err := obs.NewLogger("router", c.LogLevel, io.Discard); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
