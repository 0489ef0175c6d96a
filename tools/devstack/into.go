package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sandbar-io/sandbar/tools/devstack/deploy"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// upInto deploys into a cluster that is there already.
func (b bed) upInto(ctx context.Context, kubeconfig string) error {
	o, err := b.into(kubeconfig)
	if err != nil {
		return err
	}
	if o.Registry = os.Getenv("REGISTRY"); o.Registry == "" {
		return errors.New("REGISTRY is not set: make up KUBECONFIG=path REGISTRY=host:port names the registry " +
			"that the images are pushed to, and that the cluster's nodes pull from")
	}
	own, err := stack.SettingsFrom(b.root, os.Environ())
	if err != nil {
		return err
	}
	o.Settings = intoDefaults(o.Registry)
	if _, set := os.LookupEnv("BASE_DOMAIN"); !set {
		// What port-forward makes of the router; *.localhost is this machine's.
		o.Settings = append(o.Settings, "BASE_DOMAIN=sandbar.localhost", "URL_SCHEME=http", fmt.Sprintf("URL_PORT=%d", routerPort))
	}
	o.Settings = append(o.Settings, own...)
	o.StorageClass, o.NATSImage = os.Getenv("STORAGE_CLASS"), os.Getenv("NATS_IMAGE")
	o.Replicas = map[string]int{}
	for service, name := range map[string]string{
		"gateway": "GATEWAYS", "provisioner": "PROVISIONERS", "watcher": "WATCHERS", "router": "ROUTERS",
	} {
		n, countErr := stack.Count(name)
		err = errors.Join(err, countErr)
		o.Replicas[service] = n
	}
	if err != nil {
		return err
	}
	b.say("building and pushing the image of the test sandboxes")
	sandboxImage, err := b.push(ctx, o.Registry)
	if err != nil {
		return err
	}
	i, err := deploy.Deploy(ctx, o)
	if err != nil {
		return err
	}
	env := intoEnv(o, i, sandboxImage)
	if err := stack.WriteEnv(b.path("env"), env); err != nil {
		return err
	}
	fmt.Fprint(b.out, howToReach(env, i))
	return nil
}

// downInto removes what upInto made.
func (b bed) downInto(ctx context.Context, kubeconfig string) error {
	o, err := b.into(kubeconfig)
	if err != nil {
		return err
	}
	b.say("removing Sandbar from that cluster")
	if err := deploy.Remove(ctx, o); err != nil {
		return err
	}
	// The file may tell of a stack on this machine instead.
	if raw, err := os.ReadFile(b.path("env")); err == nil && strings.Contains("\n"+string(raw), "\nKUBECONFIG="+o.Kubeconfig+"\n") {
		return os.Remove(b.path("env"))
	}
	return nil
}

func (b bed) into(kubeconfig string) (deploy.Options, error) {
	if kubeconfig == "" {
		return deploy.Options{}, errors.New("KUBECONFIG is empty: give the path of the cluster's kubeconfig, or leave it out")
	}
	path, err := filepath.Abs(kubeconfig)
	if err != nil {
		return deploy.Options{}, err
	}
	if _, err := os.Stat(path); err != nil {
		return deploy.Options{}, fmt.Errorf("KUBECONFIG: %w", err)
	}
	return deploy.Options{Kubeconfig: path, Repo: b.root, Log: b.say}, nil
}

// intoDefaults are make up's settings that do not depend on where it runs.
func intoDefaults(registry string) []string {
	var out []string
	for _, s := range stack.Defaults("", registry) {
		if name, _, _ := strings.Cut(s, "="); name != "BASE_DOMAIN" && name != "URL_SCHEME" {
			out = append(out, s)
		}
	}
	return out
}

// intoEnv is what is known of an installation: the two URLs hold while the
// port-forwards of howToReach run, or once an Ingress controller serves the hosts.
func intoEnv(o deploy.Options, i *deploy.Installation, sandboxImage string) map[string]string {
	env := map[string]string{
		"API_URL": fmt.Sprintf("http://127.0.0.1:%d", apiPort), "ROUTER_URL": fmt.Sprintf("http://127.0.0.1:%d", routerPort),
		"API_KEY": i.APIKey, "KUBECONFIG": o.Kubeconfig, "NAMESPACE": i.SandboxNamespace, "SYSTEM_NAMESPACE": i.SystemNamespace,
		"NATS_URL": fmt.Sprintf("nats://127.0.0.1:%d", natsPort), "NATS_SUBSCRIBER_PASSWORD": i.SubscriberPassword,
		"REGISTRY": o.Registry, "SANDBOX_IMAGE": sandboxImage, "MISSING_IMAGE": o.Registry + "/missing:1",
	}
	_, env["BASE_DOMAIN"] = o.Hosts()
	return env
}

func howToReach(env map[string]string, i *deploy.Installation) string {
	kubectl := fmt.Sprintf("kubectl --kubeconfig %s -n %s", env["KUBECONFIG"], i.SystemNamespace)
	return fmt.Sprintf(`
Sandbar is up in the namespaces %[1]s and %[2]s.

  key     %[3]s

Reach it without an Ingress controller, each line in a terminal of its own:

  %[4]s port-forward svc/gateway %[5]d:80
  %[4]s port-forward svc/router %[6]d:80
  %[4]s port-forward svc/nats %[7]d:4222

Then these work when pasted:

  curl -s -H 'X-API-Key: %[3]s' -d '{"image":"%[8]s","session_id":"demo","environment":{}}' %[9]s/start
  curl -s -H 'X-API-Key: %[3]s' %[9]s/sessions/demo
  curl -s -H 'Host: demo.%[10]s' %[11]s/alive

The same stands in .sandbar/env; make down KUBECONFIG=%[12]s removes all.
`, i.SystemNamespace, i.SandboxNamespace, env["API_KEY"], kubectl, apiPort, routerPort, natsPort,
		env["SANDBOX_IMAGE"], env["API_URL"], env["BASE_DOMAIN"], env["ROUTER_URL"], env["KUBECONFIG"])
}
