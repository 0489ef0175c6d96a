//go:build openhands

// The published clients of OpenHands, unmodified, against Sandbar on a real node,
// with the published agent server as the sandbox.
package main_test

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// bed is what `go run ./openhands up` made. It is set once, before any test runs.
var bed struct {
	env     map[string]string
	http    *http.Client
	kube    *kubernetes.Clientset
	scripts string // folder of the drivers
}

func TestMain(m *testing.M) {
	flag.Parse()
	// Listing tests needs no bed; running even one does.
	if list := flag.Lookup("test.list"); list == nil || list.Value.String() == "" {
		if err := connect(); err != nil {
			fmt.Fprintln(os.Stderr, "openhands:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func connect() (err error) {
	file := cmp.Or(os.Getenv("SANDBAR_OPENHANDS_ENV"), "../../.sandbar/openhands/env")
	if bed.env, err = stack.ReadEnv(file); err != nil {
		return fmt.Errorf("%w (is it up?)", err)
	}
	var missing []error
	for _, name := range []string{
		"API_URL", "API_KEY", "ROTATING_API_KEY", "IDLE_API_KEY", "ROUTER_URL", "BASE_DOMAIN", "KUBECONFIG", "NAMESPACE",
		"SANDBOX_IMAGE", "HOST_IP", "RESOLV_CONF", "ROOT", "PACKAGES_sdk",
		"LEGACY_IMAGE", "PACKAGES_appserver", "PACKAGES_legacy",
	} {
		if bed.env[name] == "" {
			missing = append(missing, fmt.Errorf("%s is missing in %s", name, file))
		}
	}
	if len(missing) > 0 {
		return errors.Join(missing...)
	}
	if bed.scripts, err = filepath.Abs("clients"); err != nil {
		return err
	}
	if bed.http, err = client.NewHTTP(bed.env["BASE_DOMAIN"], bed.env["ROUTER_URL"]); err != nil {
		return err
	}
	bed.http.Transport = client.Patient{Next: bed.http.Transport}
	config, err := clientcmd.BuildConfigFromFlags("", bed.env["KUBECONFIG"])
	if err != nil {
		return fmt.Errorf("KUBECONFIG: %w", err)
	}
	bed.kube, err = kubernetes.NewForConfig(config)
	return err
}

// api is the gateway with the default tenant's key.
func api() client.API { return client.NewAPI(bed.http, bed.env["API_URL"], bed.env["API_KEY"]) }
