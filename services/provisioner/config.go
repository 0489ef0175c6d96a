package provisioner

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/settings"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/objects"
)

// Config is read from the environment; .env.example describes each name.
type Config struct {
	NATS       natsx.Config
	URL        settings.URL
	Idle       settings.Idle
	Routing    settings.Routing
	Kubeconfig string `env:"KUBECONFIG"`
	Namespace  string `env:"NAMESPACE" envDefault:"sandbar-sandboxes"`
	SealingKey string `env:"VIEW_SEALING_KEY"`
	HealthPort int    `env:"HEALTH_PORT" envDefault:"8081"`
	Workers    int    `env:"WORKERS" envDefault:"32"`

	HostLabel string `env:"HOST_LABEL" envDefault:"session"`

	CPURequest       string `env:"CPU_REQUEST" envDefault:"1"`
	CPULimit         string `env:"CPU_LIMIT" envDefault:"1"`
	MemoryRequest    string `env:"MEMORY_REQUEST" envDefault:"2Gi"`
	MemoryLimit      string `env:"MEMORY_LIMIT" envDefault:"2Gi"`
	EphemeralRequest string `env:"EPHEMERAL_STORAGE_REQUEST" envDefault:"0"`
	EphemeralLimit   string `env:"EPHEMERAL_STORAGE_LIMIT" envDefault:"0"`

	RuntimeClass   string `env:"RUNTIME_CLASS"`
	RuntimeClasses string `env:"RUNTIME_CLASSES"`
	AllowRoot      bool   `env:"ALLOW_ROOT" envDefault:"true"`
	Capabilities   string `env:"CAPABILITIES" envDefault:"auto"`

	WorkspaceSize   string `env:"WORKSPACE_SIZE" envDefault:"10Gi"`
	WorkspacePath   string `env:"WORKSPACE_PATH" envDefault:"/workspace"`
	WorkspaceAccess string `env:"WORKSPACE_ACCESS_MODE" envDefault:"ReadWriteOncePod"`
	StorageClass    string `env:"STORAGE_CLASS"`

	ImagePullSecrets []string      `env:"IMAGE_PULL_SECRETS"`
	ServiceAccount   string        `env:"SANDBOX_SERVICE_ACCOUNT"`
	NodeSelector     string        `env:"NODE_SELECTOR"`
	Tolerations      string        `env:"TOLERATIONS"`
	CASecret         string        `env:"CA_CERT_SECRET_NAME"`
	TerminationGrace time.Duration `env:"TERMINATION_GRACE" envDefault:"10s"`
	StartupTimeout   time.Duration `env:"STARTUP_TIMEOUT" envDefault:"10m"`
	ReadinessGrace   time.Duration `env:"READINESS_GRACE" envDefault:"30s"`
	StartGrace       time.Duration `env:"START_GRACE" envDefault:"5m"`

	AppServerURL       string `env:"APP_SERVER_URL"`
	AppServerPublicURL string `env:"APP_SERVER_PUBLIC_URL"`

	IngressClass       string `env:"INGRESS_CLASS"`
	IngressAnnotations string `env:"SANDBOX_INGRESS_ANNOTATIONS"`
	IngressTLSSecret   string `env:"SANDBOX_INGRESS_TLS_SECRET"`

	GatewayName      string `env:"GATEWAY_NAME"`
	GatewayNamespace string `env:"GATEWAY_NAMESPACE"`
	GatewaySection   string `env:"GATEWAY_SECTION"`
}

// Validate lists all that is wrong.
func (c Config) Validate() error {
	errs := []error{c.NATS.Validate(), c.URL.Validate(), c.Idle.Validate()}
	if _, err := contract.NewSealer(c.SealingKey); err != nil {
		errs = append(errs, fmt.Errorf("VIEW_SEALING_KEY: %w", err))
	}
	if c.HostLabel != string(sandbox.LabelSession) && c.HostLabel != string(sandbox.LabelRuntime) {
		errs = append(errs, fmt.Errorf("HOST_LABEL is %q, must be session or runtime", c.HostLabel))
	}
	if c.URL.Separator == "-" && c.HostLabel == string(sandbox.LabelSession) && c.URL.RoutingMode != settings.ModePath {
		errs = append(errs, errors.New("URL_SEPARATOR=- needs HOST_LABEL=runtime: a session's label and the base domain's first do not fit the 63 characters of one"))
	}
	errs = append(errs, c.Routing.Validate(c.URL), c.gateway())
	if c.Workers < 1 || c.Workers > 1024 {
		errs = append(errs, fmt.Errorf("WORKERS is %d, must be 1 to 1024", c.Workers))
	}
	_, err := c.objects()
	return errors.Join(append(errs, err)...)
}

// gateway says what is wrong with the Gateway's name, where one is needed.
func (c Config) gateway() error {
	if c.Routing.Mode != settings.ByGatewayAPI {
		return nil
	}
	if c.GatewayName == "" {
		return errors.New("GATEWAY_NAME is required where ROUTING_MODE is gateway-api")
	}
	var errs []error
	for name, value := range map[string]string{
		"GATEWAY_NAME": c.GatewayName, "GATEWAY_NAMESPACE": c.GatewayNamespace, "GATEWAY_SECTION": c.GatewaySection,
	} {
		if value != "" && len(validation.IsDNS1123Subdomain(value)) > 0 {
			errs = append(errs, fmt.Errorf("%s is %q, no name of Kubernetes", name, value))
		}
	}
	return errors.Join(errs...)
}

// objects is the part of the configuration that shapes what a sandbox is made of.
func (c Config) objects() (objects.Config, error) {
	var errs []error
	quantity := func(name, s string) resource.Quantity {
		q, err := resource.ParseQuantity(s)
		if err != nil || q.Sign() < 0 {
			errs = append(errs, fmt.Errorf("%s is %q, no quantity", name, s))
		}
		return q
	}
	out := objects.Config{
		Namespace:  c.Namespace,
		CPURequest: quantity("CPU_REQUEST", c.CPURequest), CPULimit: quantity("CPU_LIMIT", c.CPULimit),
		MemoryRequest: quantity("MEMORY_REQUEST", c.MemoryRequest), MemoryLimit: quantity("MEMORY_LIMIT", c.MemoryLimit),
		EphemeralRequest: quantity("EPHEMERAL_STORAGE_REQUEST", c.EphemeralRequest),
		EphemeralLimit:   quantity("EPHEMERAL_STORAGE_LIMIT", c.EphemeralLimit),
		RuntimeClass:     c.RuntimeClass, AllowRoot: c.AllowRoot, Capabilities: objects.Profile(c.Capabilities),
		WorkspaceSize: quantity("WORKSPACE_SIZE", c.WorkspaceSize), WorkspacePath: c.WorkspacePath,
		StorageClass: c.StorageClass, AccessMode: corev1.PersistentVolumeAccessMode(c.WorkspaceAccess),
		ImagePullSecrets: c.ImagePullSecrets, ServiceAccount: c.ServiceAccount, CASecret: c.CASecret,
		TerminationGrace: c.TerminationGrace, StartupTimeout: c.StartupTimeout,
		Ports: c.URL.Ports(), URLs: c.URL.Pattern(),
		AppServerURL: c.AppServerURL, AppServerPublic: c.AppServerPublicURL,
		IdleTimeout:  c.Idle.Duration(),
		RoutingMode:  c.Routing.Mode,
		Gateway:      objects.Gateway{Name: c.GatewayName, Namespace: c.GatewayNamespace, Section: c.GatewaySection},
		IngressClass: c.IngressClass, IngressTLSSecret: c.IngressTLSSecret,
	}
	within := func(name string, request, limit resource.Quantity) {
		if request.Cmp(limit) > 0 { // every pod would be refused
			errs = append(errs, fmt.Errorf("%s_REQUEST is %s, more than %s_LIMIT, %s", name, request.String(), name, limit.String()))
		}
	}
	within("CPU", out.CPURequest, out.CPULimit)
	within("MEMORY", out.MemoryRequest, out.MemoryLimit)
	if !out.EphemeralLimit.IsZero() {
		within("EPHEMERAL_STORAGE", out.EphemeralRequest, out.EphemeralLimit)
	}
	pairs := func(name, s string) map[string]string {
		m, err := settings.Pairs(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		return m
	}
	out.RuntimeClasses = pairs("RUNTIME_CLASSES", c.RuntimeClasses)
	out.NodeSelector = pairs("NODE_SELECTOR", c.NodeSelector)
	out.IngressAnnotations = pairs("SANDBOX_INGRESS_ANNOTATIONS", c.IngressAnnotations)
	if c.Tolerations != "" {
		if err := json.Unmarshal([]byte(c.Tolerations), &out.Tolerations); err != nil {
			errs = append(errs, fmt.Errorf("TOLERATIONS is no JSON list of tolerations: %w", err))
		}
	}
	switch out.Capabilities {
	case objects.ProfileAuto, objects.ProfileRestricted, objects.ProfileBaseline, objects.ProfileRuntime:
	default:
		errs = append(errs, fmt.Errorf("CAPABILITIES is %q, must be auto, restricted, baseline or runtime", c.Capabilities))
	}
	switch out.AccessMode {
	case corev1.ReadWriteOnce, corev1.ReadWriteOncePod, corev1.ReadWriteMany:
	default:
		errs = append(errs, fmt.Errorf("WORKSPACE_ACCESS_MODE is %q, no access mode that can be written", c.WorkspaceAccess))
	}
	if !path.IsAbs(c.WorkspacePath) || path.Clean(c.WorkspacePath) == "/" {
		errs = append(errs, fmt.Errorf("WORKSPACE_PATH is %q, must be an absolute path below /", c.WorkspacePath))
	}
	if strings.TrimSpace(c.Namespace) == "" {
		errs = append(errs, errors.New("NAMESPACE is empty"))
	}
	return out, errors.Join(errs...)
}
