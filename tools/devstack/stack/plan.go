package stack

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/client-go/kubernetes"
)

// plan gives every instance its ports, credentials and settings.
func (s *Stack) plan(ctx context.Context, client kubernetes.Interface) error {
	if err := s.planNATS(); err != nil {
		return err
	}
	var err error
	kubeconfigs := map[string]string{}
	for _, account := range []string{"provisioner", "watcher"} {
		if kubeconfigs[account], err = s.kubeconfig(ctx, client, account); err != nil {
			return err
		}
	}
	routerPort := s.RouterPort
	if s.Controller.Traefik != "" {
		if s.RouterPort, err = port(s.RouterPort, 0); err != nil {
			return err
		}
		routerPort = s.RouterPort
		if err := s.install(ctx, client); err != nil {
			return err
		}
	}
	for i := range s.Routers {
		p, err := port(s.RouterPort, i)
		if err != nil {
			return err
		}
		if i == 0 {
			routerPort = p
		}
		if err := s.add("router", i, p, "ROUTER_PORT="+strconv.Itoa(p)); err != nil {
			return err
		}
	}
	s.RouterPort = routerPort
	for i := range s.Gateways {
		p, err := port(s.APIPort, i)
		if err != nil {
			return err
		}
		if i == 0 && s.APIPort == 0 {
			defer func() { s.APIPort = p }()
		}
		if err := s.add("gateway", i, p, "SERVER_PORT="+strconv.Itoa(p)); err != nil {
			return err
		}
		svc := s.Services[instance("gateway", i)]
		svc.Health = svc.URL // it serves its own
		if s.TLS() {
			svc.URL = "https://" + s.Cluster.BaseDomain + ":" + strconv.Itoa(p) // what its certificate names
		}
	}
	for i := range s.Provisioners {
		if err := s.add("provisioner", i, 0, "KUBECONFIG="+kubeconfigs["provisioner"]); err != nil {
			return err
		}
	}
	for i := range s.Watchers {
		if err := s.add("watcher", i, 0, "KUBECONFIG="+kubeconfigs["watcher"]); err != nil {
			return err
		}
	}
	for _, svc := range s.Services {
		svc.Env = append(svc.Env, "URL_PORT="+strconv.Itoa(s.RouterPort))
		svc.Env = append(svc.Env, s.Own[svc.Name]...)
	}
	return nil
}

func instance(kind string, i int) string { return fmt.Sprintf("%s-%d", kind, i) }

func (s *Stack) add(kind string, i, serves int, wiring ...string) error {
	health, err := port(0, 0)
	if err != nil {
		return err
	}
	env := append(Defaults(s.Cluster.BaseDomain, s.Cluster.Registry), s.controllerSettings()...)
	env = append(env, s.Settings...)
	if !has(env, "API_KEY") {
		env = append(env, "API_KEY="+s.Secrets.APIKey)
	}
	env = append(env,
		"NAMESPACE="+s.SandboxNamespace, "LEASE_NAMESPACE="+s.SystemNamespace,
		"VIEW_SEALING_KEY="+s.Secrets.SealingKey,
		"NATS_URL="+s.NATSURL, "NATS_USER="+kind, "NATS_PASSWORD="+s.Secrets.NATS[kind], "NATS_REPLICAS="+strconv.Itoa(len(s.NATS)),
		"HEALTH_PORT="+strconv.Itoa(health),
	)
	scheme := "http"
	if s.TLS() && (kind == "gateway" || kind == "router") {
		scheme = "https"
	}
	svc := &Service{
		Name: instance(kind, i), Kind: kind, Env: append(env, wiring...),
		URL: scheme + "://127.0.0.1:" + strconv.Itoa(serves), Health: "http://127.0.0.1:" + strconv.Itoa(health),
	}
	s.Services[svc.Name] = svc
	return nil
}

// TLS reports whether gateways and routers have a certificate.
func (s *Stack) TLS() bool { return lastOf(s.Settings, "TLS_CERT_FILE") != "" }

// Defaults are what `make up` and the system tests set, for many sandboxes to fit.
func Defaults(baseDomain, registry string) []string {
	return []string{
		"BASE_DOMAIN=" + baseDomain, "URL_SCHEME=http",
		"CPU_REQUEST=50m", "CPU_LIMIT=1", "MEMORY_REQUEST=64Mi", "MEMORY_LIMIT=256Mi",
		"WORKSPACE_SIZE=1Gi", "RUNTIME_CLASSES=sysbox-runc=",
		"REGISTRY_PREFIX=" + registry + "/sandbar", "REGISTRY_INSECURE=" + registry,
	}
}

func has(env []string, name string) bool {
	for _, e := range env {
		if strings.HasPrefix(e, name+"=") {
			return true
		}
	}
	return false
}
