package objects

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// environment is what the client sent, under what the server owns.
func (c Config) environment(r *sandbox.Record) []corev1.EnvVar {
	owned := map[string]string{
		"RUNTIME_ID":                      r.RuntimeID,
		"RUNTIME_URL":                     r.Route.URL,
		"VSCODE_PORT":                     strconv.Itoa(c.Ports.VSCode),
		"OH_VSCODE_PORT":                  strconv.Itoa(c.Ports.VSCode),
		"OH_RUNTIME_IDLE_TIMEOUT_SECONDS": strconv.Itoa(int(c.idleTimeout(r).Seconds())),
	}
	if c.URLs.PathMode {
		owned["OH_VSCODE_BASE_PATH"] = "/" + r.RuntimeID + "/" + string(sandbox.ServiceVSCode)
		owned["OH_WEB_URL"] = r.Route.URL
	}
	refs := map[string]string{
		"SESSION_API_KEY": kube.DataSessionKey(r.KeyNumber),
		"OH_SECRET_KEY":   kube.DataSecretKey,
	}
	values := c.defaults()
	for name, value := range r.Spec.Environment {
		values[name] = value
	}
	maps.Copy(values, owned)
	for name := range refs {
		delete(values, name)
	}
	out := make([]corev1.EnvVar, 0, len(values)+len(refs))
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		out = append(out, corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: r.Name}, Key: refs[name],
			},
		}})
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		out = append(out, corev1.EnvVar{Name: name, Value: literal(values[name])})
	}
	return out
}

// idleTimeout is what the sandbox is told; it bounds by that what it begins.
func (c Config) idleTimeout(r *sandbox.Record) time.Duration {
	idle := c.IdleTimeout
	if l := r.Spec.Lifecycle; l != nil {
		idle = sandbox.Seconds(l.Idle, idle)
	}
	if idle == 0 { // never; a sandbox would read 0 as at once
		idle = sandbox.MaxIdle * time.Second
	}
	return idle
}

// defaults stand where the client sent nothing.
func (c Config) defaults() map[string]string {
	out := map[string]string{}
	if !c.WorkspaceSize.IsZero() {
		// Else the agent server keeps settings, profiles and secrets in its home, which a
		// pause takes away. The folder is the one that older versions take by themselves.
		out["OH_PERSISTENCE_DIR"] = path.Join(c.WorkspacePath, ".openhands")
	}
	if c.AppServerURL != "" {
		out["OH_WEBHOOKS_0_BASE_URL"] = strings.TrimSuffix(c.AppServerURL, "/") + "/api/v1/webhooks"
	}
	if c.AppServerPublic != "" {
		out["OH_ALLOW_CORS_ORIGINS_0"] = c.AppServerPublic
	}
	if c.CASecret != "" {
		for _, name := range []string{"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"} {
			out[name] = fmt.Sprintf("%s/%s", caPath, CAKey)
		}
	}
	return out
}
