package watcher

import (
	"errors"
	"fmt"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/settings"
	"github.com/sandbar-io/sandbar/services/watcher/internal/reach"
)

// Config is the watcher's configuration, each from the environment variable of
// its tag. LOG_LEVEL is read by pkg/run.
type Config struct {
	NATS    natsx.Config
	Clocks  settings.Clocks
	Routing settings.Routing
	URL     settings.URL // its agent port is asked for /server_info; the rest only where a controller of the cluster leads to sandboxes

	Namespace      string `env:"NAMESPACE" envDefault:"sandbar-sandboxes"`    // of records and sandboxes
	LeaseNamespace string `env:"LEASE_NAMESPACE" envDefault:"sandbar-system"` // of the services
	Kubeconfig     string `env:"KUBECONFIG"`                                  // "": in the cluster
	SealingKey     string `env:"VIEW_SEALING_KEY"`                            // 32 bytes in base64, the same as the gateway's
	HealthPort     int    `env:"HEALTH_PORT" envDefault:"8081"`               // 0: any

	ReadinessGrace time.Duration `env:"READINESS_GRACE" envDefault:"30s"`
	StartGrace     time.Duration `env:"START_GRACE" envDefault:"5m"`
	Resync         time.Duration `env:"RESYNC" envDefault:"60s"` // compare keys and records, lists and watches
	PurgeAfter     time.Duration `env:"PURGE_AFTER" envDefault:"60s"`

	RouteCheckAddress string `env:"ROUTE_CHECK_ADDRESS"` // dialled in place of a public URL's host
	RouteCheckCAFile  string `env:"ROUTE_CHECK_CA_FILE"` // trusted beside the system's roots

	LeaseDuration time.Duration `env:"LEASE_DURATION" envDefault:"15s"`
	LeaseRenew    time.Duration `env:"LEASE_RENEW" envDefault:"10s"`
	LeaseRetry    time.Duration `env:"LEASE_RETRY" envDefault:"2s"`
}

// minPurgeAfter: no attempt that could still write for an older command may find
// the record gone.
const minPurgeAfter = sandbox.MaxDeadline + sandbox.LongestAttempt

// Validate lists all that is wrong, by the variables' names.
func (c Config) Validate() error {
	errs := []error{c.NATS.Validate(), c.Clocks.Validate()}
	add := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	add(c.Namespace == "", "NAMESPACE is empty")
	add(c.LeaseNamespace == "", "LEASE_NAMESPACE is empty")
	errs = append(errs, c.Routing.Validate(c.URL))
	if c.Routing.Verify() {
		errs = append(errs, c.URL.Validate(), c.reach().Validate())
	}
	if _, err := contract.NewSealer(c.SealingKey); err != nil {
		errs = append(errs, fmt.Errorf("VIEW_SEALING_KEY: %w", err))
	}
	add(c.HealthPort < 0 || c.HealthPort > 65535, "HEALTH_PORT is %d, must be 0 to 65535", c.HealthPort)
	add(c.URL.AgentPort < 1 || c.URL.AgentPort > 65535, "AGENT_SERVER_PORT is %d, must be 1 to 65535", c.URL.AgentPort)
	add(c.ReadinessGrace < 0, "READINESS_GRACE is %v, must not be negative", c.ReadinessGrace)
	add(c.StartGrace < 0, "START_GRACE is %v, must not be negative", c.StartGrace)
	add(c.Resync < time.Second, "RESYNC is %v, must be at least 1s", c.Resync)
	add(c.PurgeAfter < minPurgeAfter, "PURGE_AFTER is %v, must be at least %v", c.PurgeAfter, minPurgeAfter)
	add(c.LeaseDuration < time.Second || c.LeaseDuration%time.Second != 0,
		"LEASE_DURATION is %v, must be whole seconds", c.LeaseDuration)
	add(c.LeaseRenew >= c.LeaseDuration, "LEASE_RENEW is %v, must be below LEASE_DURATION (%v)", c.LeaseRenew, c.LeaseDuration)
	// 1.2 is client-go's jitter.
	add(c.LeaseRetry <= 0 || c.LeaseRetry*6/5 >= c.LeaseRenew, "LEASE_RETRY is %v, must be above 0 and below LEASE_RENEW (%v) / 1.2",
		c.LeaseRetry, c.LeaseRenew)
	return errors.Join(errs...)
}

func (c Config) policy() sandbox.Policy {
	return sandbox.Policy{ReadinessGrace: c.ReadinessGrace, StartGrace: c.StartGrace, VerifyRoute: c.Routing.Verify()}
}

func (c Config) reach() reach.Config {
	return reach.Config{URLs: c.URL.Pattern(), Address: c.RouteCheckAddress, CAFile: c.RouteCheckCAFile}
}
