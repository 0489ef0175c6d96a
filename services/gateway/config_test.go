package gateway_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/services/gateway"
)

const sealingKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	c, err := run.Parse[gateway.Config]([]string{"API_KEY=k", "VIEW_SEALING_KEY=" + sealingKey})
	if err != nil {
		t.Fatal(err)
	}
	if c.PerTenant != 32 || c.InFlight != 64 || c.Waiting != 512 {
		t.Errorf("%+v", c)
	}
	if c.Port != 5000 || c.ResumeActive != 200 || c.NATS.URL == "" || c.ListenAddress != "" {
		t.Errorf("%+v", c)
	}
}

// All that is wrong is told at once, by name, and no secret with it.
func TestConfigWrong(t *testing.T) {
	t.Parallel()
	broken := filepath.Join(t.TempDir(), "keys.yaml")
	if err := os.WriteFile(broken, []byte("keys: secret-value"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		environ []string
		want    []string
	}{
		"nothing set": {nil, []string{"API_KEY nor API_KEYS_FILE", "VIEW_SEALING_KEY"}},
		"all wrong": {
			[]string{
				"SERVER_PORT=70000", "API_KEY= secret-value", "API_KEYS_FILE=" + broken, "VIEW_SEALING_KEY=secret-value",
				"RESUME_ACTIVE=201", "API_KEY_LIMITS=sandboxes=secret-value", "DEFAULT_IMAGE=Not An Image", "WARM_RUNTIME_CONFIGS_FILE=" + broken,
				"REGISTRY_ALLOW=https://a", "REGISTRY_PRIVATE=a/b", "REGISTRY_INSECURE=*", "REGISTRY_REALMS=a=b/c", "NATS_REPLICAS=2",
				"TLS_KEY_FILE=none.key", "COMMANDS_PER_TENANT=-1", "COMMANDS_IN_FLIGHT=10001", "COMMANDS_WAITING=-1",
			},
			[]string{
				"SERVER_PORT", "API_KEY ", "API_KEYS_FILE", "VIEW_SEALING_KEY", "RESUME_ACTIVE", "API_KEY_LIMITS: sandboxes", "DEFAULT_IMAGE", "NATS_REPLICAS",
				"WARM_RUNTIME_CONFIGS_FILE", "REGISTRY_ALLOW", "REGISTRY_PRIVATE", "REGISTRY_INSECURE", "REGISTRY_REALMS", "TLS_CERT_FILE",
				"COMMANDS_PER_TENANT", "COMMANDS_IN_FLIGHT", "COMMANDS_WAITING",
			},
		},
		"no pairs":       {[]string{"API_KEY=k", "REGISTRY_REALMS=a"}, []string{"REGISTRY_REALMS"}},
		"no credentials": {[]string{"API_KEY=k", "REGISTRY_AUTH_FILES=" + broken}, []string{"REGISTRY_AUTH_FILES"}},
		"no number":      {[]string{"SERVER_PORT=x", "API_KEY=k"}, []string{"SERVER_PORT", "VIEW_SEALING_KEY"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := run.Parse[gateway.Config](c.environ)
			if err == nil {
				t.Fatal("nothing is wrong")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not told:\n%v", want, err)
				}
			}
			if strings.Contains(err.Error(), "secret-value") {
				t.Errorf("a secret is told:\n%v", err)
			}
		})
	}
}
