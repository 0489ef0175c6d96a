package stack

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
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

// Placement are the settings that put sandboxes on real or on simulated nodes.
func Placement(real bool) []string {
	if real {
		return []string{"NODE_SELECTOR=sandbar.io/node=real"}
	}
	return []string{
		"NODE_SELECTOR=sandbar.io/node=simulated",
		`TOLERATIONS=[{"key":"sandbar.io/simulated","operator":"Exists","effect":"NoSchedule"}]`,
		"STORAGE_CLASS=sandbar-simulated",
	}
}
