package stack

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Env is what scripts need to know of a stack, as .sandbar/env holds it.
func (s *Stack) Env(sandboxImage string) map[string]string {
	env := map[string]string{
		"BASE_DOMAIN": s.Cluster.BaseDomain, "KUBECONFIG": s.Cluster.Kubeconfig, "NAMESPACE": s.SandboxNamespace,
		"NATS_URL": s.NATSURL, "SANDBOX_IMAGE": sandboxImage, "MISSING_IMAGE": s.Cluster.Registry + "/missing:1",
		"NATS_SUBSCRIBER_PASSWORD": s.Secrets.NATS["subscriber"], "REGISTRY": s.Cluster.Registry,
	}
	if g := s.Of("gateway"); len(g) > 0 {
		env["API_URL"] = g[0].URL
		env["API_KEY"] = lastOf(g[0].Env, "API_KEY")
	}
	if r := s.Of("router"); len(r) > 0 {
		env["ROUTER_URL"] = r[0].URL
	}
	if s.Controller.Traefik != "" {
		scheme := "http"
		if s.Controller.Cert != "" {
			scheme = "https"
		}
		env["ROUTER_URL"] = scheme + "://127.0.0.1:" + strconv.Itoa(s.RouterPort)
	}
	return env
}

// WriteEnv writes KEY=value lines, whole or not at all. They hold the API key.
func WriteEnv(path string, env map[string]string) error {
	var text strings.Builder
	for _, k := range slices.Sorted(maps.Keys(env)) {
		fmt.Fprintf(&text, "%s=%s\n", k, env[k])
	}
	if err := os.WriteFile(path+".new", []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(path+".new", path)
}

// ReadEnv reads what WriteEnv wrote.
func ReadEnv(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("env file: %w", err)
	}
	defer f.Close()
	env := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), "="); ok {
			env[name] = value
		}
	}
	return env, lines.Err()
}

func lastOf(env []string, name string) string {
	value := ""
	for _, e := range env {
		if len(e) > len(name) && e[:len(name)] == name && e[len(name)] == '=' {
			value = e[len(name)+1:]
		}
	}
	return value
}

// LogPath is where an instance logs to.
func (s *Stack) LogPath(name string) string { return s.table.LogPath(name) }

// NewAPIKey makes an API key.
func NewAPIKey() string { return "sk-" + token() }

// HashAPIKey is how a keys file holds it.
func HashAPIKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// OutlastLostNodes are tolerations, parts of a JSON list, as Kubernetes' own defaults
// have them: a lost node is waited for. The development cluster's take pods off it
// after 5 s.
const OutlastLostNodes = `{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},` +
	`{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}`

// Placement are the settings that put sandboxes on real or on simulated nodes.
func Placement(real bool) []string {
	if real {
		return []string{"NODE_SELECTOR=sandbar.io/node=real"}
	}
	return []string{
		"NODE_SELECTOR=sandbar.io/node=simulated",
		// On a busy machine simulated nodes are late.
		`TOLERATIONS=[{"key":"sandbar.io/simulated","operator":"Exists","effect":"NoSchedule"},` + OutlastLostNodes + `]`,
		"STORAGE_CLASS=sandbar-simulated",
	}
}
