package deploy

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// wired are settings that the manifests give each pod, or that mean nothing in
// one. A shell's KUBECONFIG, for example, is nobody's in the cluster.
var wired = []string{
	"NAMESPACE", "LEASE_NAMESPACE", "KUBECONFIG", "SERVER_PORT", "ROUTER_PORT", "HEALTH_PORT", "LISTEN_ADDRESS",
	"NATS_URL", "NATS_USER", "NATS_PASSWORD", "NATS_CA_FILE", "VIEW_SEALING_KEY",
	"API_KEY", // a Secret's, as are mounted files
}

// mounted are the settings that name a file. In the cluster it is the key of a
// Secret that deploy/40-gateway.yaml mounts.
var mounted = map[string]struct{ secret, folder, key string }{
	"API_KEYS_FILE":             {"sandbar-api-keys", "/etc/sandbar/api-keys", "keys.yaml"},
	"WARM_RUNTIME_CONFIGS_FILE": {"sandbar-warm-runtime-configs", "/etc/sandbar/warm-runtime-configs", "configs.yaml"},
	"REGISTRY_AUTH_FILES":       {"sandbar-registry-auth", "/etc/sandbar/registry-auth", ".dockerconfigjson"}, // one file here
}

// configure puts the settings into the ConfigMap that all services read. It never
// holds a key.
func (o Options) configure(m *corev1.ConfigMap) {
	for _, s := range o.Settings {
		name, value, _ := strings.Cut(s, "=")
		switch {
		case slices.Contains(wired, name):
		case mounted[name].secret != "" && value != "":
			m.Data[name] = path.Join(mounted[name].folder, mounted[name].key)
		default:
			m.Data[name] = value
		}
	}
}

// mountedFiles are the Secrets of the files that are set.
func (o Options) mountedFiles() ([]runtime.Object, error) {
	var all []runtime.Object
	for _, name := range slices.Sorted(maps.Keys(mounted)) {
		file, _ := o.setting(name)
		if file == "" {
			continue
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, &corev1.Secret{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
			ObjectMeta: metav1.ObjectMeta{
				Name: mounted[name].secret, Namespace: o.SystemNamespace, Labels: map[string]string{"app.kubernetes.io/part-of": "sandbar"},
			},
			Data: map[string][]byte{mounted[name].key: raw},
		})
	}
	return all, nil
}

const placeholder = "REPLACE_ME_"

// secret puts values in place of placeholders: one that is set, one that an
// earlier deployment made, or a new one.
func (o Options) secret(m *corev1.Secret, old map[string][]byte) error {
	if m.Data == nil {
		m.Data = map[string][]byte{}
	}
	for key, value := range m.StringData {
		if strings.HasPrefix(value, placeholder) {
			set, _ := o.setting(key)
			switch {
			case key == "API_KEY" && set != "":
				value = set
			case len(old[key]) > 0:
				value = string(old[key])
			default:
				var err error
				if value, err = fresh(m.Name, key); err != nil {
					return err
				}
			}
		}
		m.Data[key] = []byte(value)
	}
	m.StringData = nil // the API server would only copy it, and call each apply a change
	return nil
}

func fresh(secret, key string) (string, error) {
	random := func(n int) []byte {
		b := make([]byte, n)
		_, _ = rand.Read(b) // never fails since Go 1.24
		return b
	}
	switch {
	case key == "API_KEY":
		return stack.NewAPIKey(), nil
	case key == "VIEW_SEALING_KEY":
		return base64.StdEncoding.EncodeToString(random(32)), nil
	case secret == "sandbar-nats":
		return "p" + hex.EncodeToString(random(24)), nil // the letter makes it a string in NATS' configuration
	}
	return "", fmt.Errorf("deploy/ wants a value for %s of Secret %s, and this tool does not know what it is", key, secret)
}
