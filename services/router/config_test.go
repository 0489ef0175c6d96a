package router_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/certificate/certtest"
	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/services/router"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	cfg, err := run.Parse[router.Config]([]string{"BASE_DOMAIN=sandbar.test"})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Port != 8080 || cfg.HealthPort != 8081 || cfg.ListenAddress != "" || cfg.TrustForwarded || cfg.UpstreamIdle != 4*time.Second {
		t.Errorf("%+v", cfg)
	}
}

func TestProblemsAreToldAllAtOnce(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	code := run.Main("router", []string{
		"ROUTER_PORT=70000", "HEALTH_PORT=-1", "NATS_REPLICAS=2", "URL_SCHEME=x", "UPSTREAM_IDLE_TIMEOUT=-1s", "LOG_LEVEL=loud",
		"TLS_CERT_FILE=none.crt",
	}, &stderr, router.Run)
	for _, name := range []string{
		"ROUTER_PORT", "HEALTH_PORT", "NATS_REPLICAS", "URL_SCHEME", "BASE_DOMAIN", "UPSTREAM_IDLE_TIMEOUT", "LOG_LEVEL",
		"TLS_KEY_FILE",
	} {
		if !strings.Contains(stderr.String(), name) {
			t.Errorf("%s is not named", name)
		}
	}
	if code != 2 {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
	if _, err := run.Parse[router.Config]([]string{"BASE_DOMAIN=x", "ROUTER_PORT=1", "HEALTH_PORT=1"}); err == nil {
		t.Error("one port for both")
	}
}

// A router with TLS cannot be reached by the URLs of one without.
func TestTLSWantsItsScheme(t *testing.T) {
	t.Parallel()
	files := certtest.New(t).Write(t.TempDir(), "sandbar.test")
	for scheme, ok := range map[string]bool{"http": false, "https": true} {
		_, err := run.Parse[router.Config]([]string{
			"BASE_DOMAIN=sandbar.test", "URL_SCHEME=" + scheme, "TLS_CERT_FILE=" + files.CertFile, "TLS_KEY_FILE=" + files.KeyFile,
		})
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "URL_SCHEME") {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}
