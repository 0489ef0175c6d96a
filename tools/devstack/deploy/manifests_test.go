package deploy_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sandbar-io/sandbar/tools/devstack/deploy"
)

const repo = "../../.."

func manifests(t *testing.T, o deploy.Options, old map[string]corev1.Secret) []runtime.Object {
	t.Helper()
	o.Repo, o.Kubeconfig = repo, "unused"
	all, err := deploy.Manifests(o, old)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// of is the manifest of one type and name.
func of[T runtime.Object](t *testing.T, all []runtime.Object, name string) (found T) {
	t.Helper()
	for _, m := range all {
		o, ok := m.(T)
		if named, is := m.(interface{ GetName() string }); ok && is && named.GetName() == name {
			return o
		}
	}
	t.Fatalf("no %T %s", found, name)
	return found
}

// Nothing is left of what deploy/README.md says is to be replaced.
func TestNothingIsLeftToReplace(t *testing.T) {
	t.Parallel()
	raw, err := json.Marshal(manifests(t, deploy.Options{
		SystemNamespace: "a", SandboxNamespace: "b", Settings: []string{"BASE_DOMAIN=box.test"},
	}, nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{"REPLACE_ME", "sandbar-system", "sandbar-sandboxes", "example.com", "sandbar/gateway:dev", "sandbar/provisioner:dev", `"nats:2`} {
		if at := strings.Index(string(raw), left); at >= 0 {
			t.Errorf("%q is left: …%s…", left, raw[max(0, at-80):min(len(raw), at+80)])
		}
	}
}

func TestSecretsAreNewOrKept(t *testing.T) {
	t.Parallel()
	all := manifests(t, deploy.Options{}, nil)
	if key := of[*corev1.Secret](t, all, "sandbar-api-key").Data["API_KEY"]; len(key) < 32 {
		t.Errorf("an API key of %d bytes", len(key))
	}
	sealing := of[*corev1.Secret](t, all, "sandbar-view-sealing-key").Data["VIEW_SEALING_KEY"]
	if key, err := base64.StdEncoding.DecodeString(string(sealing)); err != nil || len(key) != 32 {
		t.Errorf("a sealing key of %d bytes, %v", len(key), err)
	}
	passwords := of[*corev1.Secret](t, all, "sandbar-nats").Data
	seen := map[string]bool{}
	for user, p := range passwords {
		if !regexp.MustCompile(`^[a-z][a-z0-9]{32,}$`).Match(p) || seen[string(p)] {
			t.Errorf("the password of %s is short, another's, or no string in NATS' configuration", user)
		}
		seen[string(p)] = true
	}

	old := map[string]corev1.Secret{}
	for _, name := range []string{"sandbar-api-key", "sandbar-view-sealing-key", "sandbar-nats"} {
		old[name] = *of[*corev1.Secret](t, all, name)
	}
	again := manifests(t, deploy.Options{Settings: []string{"API_KEY=mine"}}, old)
	for name, was := range old {
		for key, value := range of[*corev1.Secret](t, again, name).Data {
			want := string(was.Data[key])
			if key == "API_KEY" {
				want = "mine"
			}
			if string(value) != want {
				t.Errorf("%s of %s is neither kept nor what was set", key, name)
			}
		}
	}
}

// Settings reach the ConfigMap, but no key does, and nothing that the manifests
// say for each pod.
func TestSettings(t *testing.T) {
	t.Parallel()
	keys := filepath.Join(t.TempDir(), "any.yaml")
	if err := os.WriteFile(keys, []byte("keys: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := manifests(t, deploy.Options{Settings: []string{
		"HOST_LABEL=session", "HOST_LABEL=runtime", "TOLERATIONS=a=b=c", "API_KEYS_FILE=" + keys, "WARM_RUNTIME_CONFIGS_FILE=" + keys, "REGISTRY_AUTH_FILES=" + keys,
		"API_KEY=secret-1", "VIEW_SEALING_KEY=secret-2", "NATS_PASSWORD=secret-3",
		"KUBECONFIG=/home/me/config", "NAMESPACE=elsewhere", "NATS_URL=nats://127.0.0.1:4222", "SERVER_PORT=1", "HEALTH_PORT=2",
	}}, nil)
	data := of[*corev1.ConfigMap](t, all, "sandbar").Data
	for name, want := range map[string]string{
		"HOST_LABEL": "runtime", "TOLERATIONS": "a=b=c", "API_KEYS_FILE": "/etc/sandbar/api-keys/keys.yaml",
		"WARM_RUNTIME_CONFIGS_FILE": "/etc/sandbar/warm-runtime-configs/configs.yaml", "REGISTRY_AUTH_FILES": "/etc/sandbar/registry-auth/.dockerconfigjson",
		"NAMESPACE": "sandbar-sandboxes", "NATS_URL": "nats://nats.sandbar-system:4222",
	} {
		if data[name] != want {
			t.Errorf("%s is %q, want %q", name, data[name], want)
		}
	}
	for _, name := range []string{"API_KEY", "VIEW_SEALING_KEY", "NATS_PASSWORD", "KUBECONFIG", "SERVER_PORT", "HEALTH_PORT"} {
		if _, set := data[name]; set {
			t.Errorf("%s is in the ConfigMap", name)
		}
	}
	gateway := of[*appsv1.Deployment](t, all, "gateway").Spec.Template.Spec
	for secret, key := range map[string]string{
		"sandbar-api-keys": "keys.yaml", "sandbar-warm-runtime-configs": "configs.yaml", "sandbar-registry-auth": ".dockerconfigjson",
	} {
		mounted := slices.ContainsFunc(gateway.Volumes, func(v corev1.Volume) bool { return v.Secret != nil && v.Secret.SecretName == secret })
		if got := of[*corev1.Secret](t, all, secret).Data[key]; !mounted || string(got) != "keys: []\n" {
			t.Errorf("%s holds %q, mounted: %v", secret, got, mounted)
		}
	}
}

func TestWorkloads(t *testing.T) {
	t.Parallel()
	all := manifests(t, deploy.Options{Replicas: map[string]int{"gateway": 3, "router": 0}, CPURequest: "10m", StorageClass: "fast"}, nil)
	for name, want := range map[string]int32{"gateway": 3, "router": 2, "watcher": 2} {
		d := of[*appsv1.Deployment](t, all, name)
		c := d.Spec.Template.Spec.Containers[0]
		if *d.Spec.Replicas != want || c.Resources.Requests.Cpu().String() != "10m" || c.Resources.Requests.Memory().IsZero() {
			t.Errorf("%s: %d replicas that ask for %v", name, *d.Spec.Replicas, c.Resources.Requests)
		}
	}
	nats := of[*appsv1.StatefulSet](t, all, "nats")
	c := nats.Spec.Template.Spec.Containers[0]
	if !slices.Equal(c.Command, []string{"/usr/local/bin/natsserver"}) || !slices.Equal(c.Args, []string{"/etc/nats/nats.conf"}) {
		t.Errorf("NATS runs %q %q", c.Command, c.Args)
	}
	if class := nats.Spec.VolumeClaimTemplates[0].Spec.StorageClassName; class == nil || *class != "fast" {
		t.Errorf("NATS' volume has the class %v", class)
	}
	own := of[*appsv1.StatefulSet](t, manifests(t, deploy.Options{NATSImage: "nats:2.15"}, nil), "nats").Spec.Template.Spec.Containers[0]
	if own.Image != "nats:2.15" || len(own.Command) > 0 || !slices.Equal(own.Args, []string{"--config", "/etc/nats/nats.conf"}) {
		t.Errorf("a given NATS image %s runs %q %q", own.Image, own.Command, own.Args)
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		settings       []string
		api, sandboxes string
		tls            bool
	}{
		"as deploy/ has it": {nil, "runtime-api.example.com", "*.sandbox.example.com", true},
		"another domain":    {[]string{"BASE_DOMAIN=box.corp.test"}, "runtime-api.corp.test", "*.box.corp.test", true},
		"one level higher":  {[]string{"BASE_DOMAIN=box.corp.test", "URL_SEPARATOR=-"}, "runtime-api.corp.test", "*.corp.test", true},
		"no TLS":            {[]string{"BASE_DOMAIN=sandbar.localhost", "URL_SCHEME=http"}, "runtime-api.localhost", "*.sandbar.localhost", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := manifests(t, deploy.Options{Settings: tt.settings}, nil)
			api, router := of[*networkingv1.Ingress](t, all, "gateway"), of[*networkingv1.Ingress](t, all, "router")
			if got := api.Spec.Rules[0].Host; got != tt.api {
				t.Errorf("the API is at %s, want %s", got, tt.api)
			}
			if got := router.Spec.Rules[0].Host; got != tt.sandboxes {
				t.Errorf("sandboxes are at %s, want %s", got, tt.sandboxes)
			}
			if got := len(router.Spec.TLS) > 0; got != tt.tls {
				t.Errorf("TLS: %v", got)
			}
		})
	}
	for _, mode := range []string{"ingress", "gateway-api"} {
		for _, m := range manifests(t, deploy.Options{Settings: []string{"ROUTING_MODE=" + mode}}, nil) {
			if i, ok := m.(*networkingv1.Ingress); ok && i.Name == "router" {
				t.Errorf("%s: with routes for each sandbox there is an Ingress of the router too", mode)
			}
		}
	}
}
