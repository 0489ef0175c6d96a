package gateway

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/settings"
	"github.com/sandbar-io/sandbar/services/gateway/internal/keys"
	"github.com/sandbar-io/sandbar/services/gateway/internal/registry"
	"github.com/sandbar-io/sandbar/services/gateway/internal/warm"
)

// Config is the gateway's environment. LOG_LEVEL is read by pkg/run.
type Config struct {
	NATS natsx.Config
	TLS  settings.TLS

	ListenAddress string `env:"LISTEN_ADDRESS"`                 // "": all
	Port          int    `env:"SERVER_PORT" envDefault:"5000"`  // 0: any that is free
	APIKey        string `env:"API_KEY"`                        // of the tenant default
	APIKeyLimits  string `env:"API_KEY_LIMITS"`                 // name=value,…; "": none
	APIKeysFile   string `env:"API_KEYS_FILE"`                  // see internal/keys
	SealingKey    string `env:"VIEW_SEALING_KEY"`               // 32 bytes in base64, the same in gateway, provisioner and watcher
	ResumeActive  int    `env:"RESUME_ACTIVE" envDefault:"200"` // answers a resume of what runs

	// Commands under way at a time, of one tenant and in all (0: not bounded),
	// how many wait, and whether fewer go where several tenants share a Kubernetes that
	// gets slower by more; see internal/admission.
	PerTenant int  `env:"COMMANDS_PER_TENANT" envDefault:"32"`
	InFlight  int  `env:"COMMANDS_IN_FLIGHT" envDefault:"64"`
	Waiting   int  `env:"COMMANDS_WAITING" envDefault:"512"`
	Paced     bool `env:"COMMANDS_PACED" envDefault:"true"`

	RegistryPrefix  string `env:"REGISTRY_PREFIX"`
	DefaultImage    string `env:"DEFAULT_IMAGE"`             // where a start names none
	WarmConfigsFile string `env:"WARM_RUNTIME_CONFIGS_FILE"` // see internal/warm

	// What /image_exists asks, and as whom; see internal/registry.
	RegistryAllow     []string `env:"REGISTRY_ALLOW"`
	RegistryPrivate   []string `env:"REGISTRY_PRIVATE"`
	RegistryInsecure  []string `env:"REGISTRY_INSECURE"`
	RegistryRealms    string   `env:"REGISTRY_REALMS"`
	RegistryAuthFiles []string `env:"REGISTRY_AUTH_FILES"`
}

// Validate lists all that is wrong, by name. It never cites a secret.
func (c Config) Validate() error {
	errs := []error{c.NATS.Validate(), c.TLS.Validate()}
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Port < 0 || c.Port > 65535 {
		wrong("SERVER_PORT is %d, must be between 0 and 65535", c.Port)
	}
	if c.APIKey == "" && c.APIKeysFile == "" {
		wrong("neither API_KEY nor API_KEYS_FILE is set")
	}
	if strings.TrimSpace(c.APIKey) != c.APIKey {
		wrong("API_KEY begins or ends with white space, which no header can carry")
	}
	limits, err := keys.ParseLimits(c.APIKeyLimits)
	if err != nil {
		wrong("API_KEY_LIMITS: %w", err)
	}
	if _, err := keys.New(c.APIKey, limits, c.APIKeysFile, zap.NewNop()); err != nil {
		errs = append(errs, err)
	}
	if _, err := warm.New(c.WarmConfigsFile, zap.NewNop()); err != nil {
		errs = append(errs, err)
	}
	if images, err := c.images(zap.NewNop()); err != nil {
		errs = append(errs, err)
	} else {
		images.Close()
	}
	if c.SealingKey == "" {
		wrong("VIEW_SEALING_KEY is not set")
	} else if _, err := contract.NewSealer(c.SealingKey); err != nil {
		wrong("VIEW_SEALING_KEY: %w", err)
	}
	for name, n := range map[string]int{
		"COMMANDS_PER_TENANT": c.PerTenant, "COMMANDS_IN_FLIGHT": c.InFlight, "COMMANDS_WAITING": c.Waiting,
	} {
		if n < 0 || n > contract.MaxCommands {
			wrong("%s is %d, must be 0 to %d", name, n, contract.MaxCommands)
		}
	}
	if !keys.ValidResumeActive(c.ResumeActive) {
		wrong("RESUME_ACTIVE is %d, must be 200 or 409", c.ResumeActive)
	}
	if c.DefaultImage != "" {
		if err := (&sandbox.Spec{Image: c.DefaultImage, ResourceFactor: 1}).Validate(); err != nil {
			wrong("DEFAULT_IMAGE: %s", sandbox.MessageOf(err))
		}
	}
	return errors.Join(errs...)
}

func (c Config) address() string { return net.JoinHostPort(c.ListenAddress, strconv.Itoa(c.Port)) }

// images is the client of the registries.
func (c Config) images(log *zap.Logger) (*registry.Client, error) {
	realms, err := settings.Pairs(c.RegistryRealms)
	if err != nil {
		return nil, fmt.Errorf("REGISTRY_REALMS: %w", err)
	}
	return registry.New(registry.Rules{
		Allow: c.RegistryAllow, Private: c.RegistryPrivate, Insecure: c.RegistryInsecure, Realms: realms,
	}, c.RegistryAuthFiles, log)
}
