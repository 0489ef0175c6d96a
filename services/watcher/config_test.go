package watcher_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

func TestDefaults(t *testing.T) {
	t.Parallel()
	c, err := run.Parse[watcher.Config]([]string{"VIEW_SEALING_KEY=" + testbed.SealingKey})
	if err != nil {
		t.Fatal(err)
	}
	if c.PurgeAfter != sandbox.PurgeAfter || c.ReadinessGrace != sandbox.DefaultPolicy.ReadinessGrace ||
		c.StartGrace != sandbox.DefaultPolicy.StartGrace {
		t.Errorf("defaults differ from pkg/sandbox: %+v", c)
	}
	if c.LeaseDuration != 15*time.Second || c.LeaseRenew != 10*time.Second || c.LeaseRetry != 2*time.Second || c.HealthPort != 8081 {
		t.Errorf("defaults: %+v", c)
	}
}

func TestProblemsAreNamedAllAtOnce(t *testing.T) {
	t.Parallel()
	_, err := run.Parse[watcher.Config]([]string{
		"NATS_REPLICAS=2", "ROUTING_MODE=magic", "VIEW_SEALING_KEY=short", "HEALTH_PORT=70000", "READINESS_GRACE=-1s", "START_GRACE=-1s",
		"RESYNC=1ms", "PURGE_AFTER=49s", "LEASE_DURATION=1500ms", "LEASE_RENEW=2s", "LEASE_RETRY=2s",
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, name := range []string{
		"NATS_REPLICAS", "ROUTING_MODE", "VIEW_SEALING_KEY", "HEALTH_PORT", "READINESS_GRACE", "START_GRACE",
		"RESYNC", "PURGE_AFTER", "LEASE_DURATION", "LEASE_RENEW", "LEASE_RETRY",
	} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named in:\n%v", name, err)
		}
	}
	if strings.Contains(err.Error(), "short") {
		t.Error("the sealing key is in the message")
	}
}

// Only where a controller leads to sandboxes does the watcher need to know their
// URLs.
func TestURLsAreNeededForAController(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"ingress", "gateway-api"} {
		_, err := run.Parse[watcher.Config]([]string{
			"VIEW_SEALING_KEY=" + testbed.SealingKey, "ROUTING_MODE=" + mode, "ROUTE_CHECK_ADDRESS=https://x", "ROUTE_CHECK_CA_FILE=/nonexistent",
		})
		for _, name := range []string{"BASE_DOMAIN", "ROUTE_CHECK_ADDRESS", "ROUTE_CHECK_CA_FILE"} {
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %s is not named in: %v", mode, name, err)
			}
		}
		_, err = run.Parse[watcher.Config]([]string{"VIEW_SEALING_KEY=" + testbed.SealingKey, "ROUTING_MODE=" + mode, "BASE_DOMAIN=sandbar.localhost"})
		if err != nil {
			t.Errorf("%s: %v", mode, err)
		}
	}
}
