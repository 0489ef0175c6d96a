//go:build system

package conformance_test

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// suite is the system under test. It is set once, before any test runs.
var suite struct {
	client.Env
	http *http.Client          // API and sandboxes of the main and the simulated installation
	path *http.Client          // those of the path mode installation
	kube *kubernetes.Clientset // the admin's
}

// askedAgain is how often an answer could not be confirmed.
var askedAgain atomic.Int64

func TestMain(m *testing.M) {
	flag.Parse()
	// Listing tests needs no system; running even one does.
	if list := flag.Lookup("test.list"); list == nil || list.Value.String() == "" {
		if err := connect(); err != nil {
			fmt.Fprintln(os.Stderr, "conformance:", err)
			os.Exit(1)
		}
	}
	code := m.Run()
	if n := askedAgain.Load(); n > 0 {
		fmt.Fprintf(os.Stderr, "conformance: %d answers could not be confirmed at once, and were asked for again\n", n)
	}
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, "conformance: shared sandboxes:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func connect() (err error) {
	file := cmp.Or(os.Getenv("SANDBAR_ENV"), "../../.sandbar/env")
	if suite.Env, err = client.LoadEnv(file); err != nil {
		return err
	}
	if suite.http, err = client.NewHTTP(suite.BaseDomain, suite.RouterURL); err != nil {
		return err
	}
	if suite.Path.RouterURL != "" {
		if suite.path, err = client.NewHTTP(suite.BaseDomain, suite.Path.RouterURL); err != nil {
			return err
		}
		suite.path.Transport = client.Patient{Next: suite.path.Transport, Again: &askedAgain}
	}
	suite.http.Transport = client.Patient{Next: suite.http.Transport, Again: &askedAgain}
	if err := connectEntrances(); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", suite.Kubeconfig)
	if err != nil {
		return fmt.Errorf("KUBECONFIG: %w", err)
	}
	config.QPS = -1 // client-go's default of 5 a second would be what the tests measure
	if suite.kube, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("KUBECONFIG: %w", err)
	}
	return nil
}

// The places where a check can run.
const (
	realNode  = "real node"
	simulated = "simulated"
	apiServer = "API server"
)

// declare says which checks of contract.md 11 a test makes, and where. What
// prints the table of checks reads these attributes.
func declare(t *testing.T, where string, checks ...int) {
	t.Helper()
	for _, check := range checks {
		t.Attr("conformance", fmt.Sprintf("%d %s", check, where))
	}
}

// defaultAPI is the first gateway with the key of the default tenant.
func defaultAPI() client.API { return keyedAPI("default") }

// keyedAPI is the first gateway with a key of API_KEYS.
func keyedAPI(key string) client.API {
	return client.NewAPI(suite.http, suite.APIURLs[0], suite.APIKeys[key])
}

// gateways are all of them, with the same key.
func gateways(key string) []client.API {
	var all []client.API
	for _, url := range suite.APIURLs {
		all = append(all, client.NewAPI(suite.http, url, suite.APIKeys[key]))
	}
	return all
}

func simulatedAPI(t *testing.T) client.API {
	t.Helper()
	if suite.Simulated.APIURL == "" || suite.Simulated.Namespace == "" {
		t.Fatal("SIMULATED_API_URL or SIMULATED_NAMESPACE is empty: this check needs an installation on simulated nodes")
	}
	return client.NewAPI(suite.http, suite.Simulated.APIURL, suite.Simulated.APIKey)
}

func pathAPI(t *testing.T) client.API {
	t.Helper()
	if suite.Path.APIURL == "" || suite.path == nil {
		t.Fatal("PATH_API_URL or PATH_ROUTER_URL is empty: this check needs an installation in path mode")
	}
	return client.NewAPI(suite.path, suite.Path.APIURL, suite.Path.APIKey)
}

// agentOf is the sandbox as its client reaches it: by its URL, with its key.
func agentOf(r client.Runtime) client.Agent {
	return client.NewAgent(suite.http, r.URL, r.SessionAPIKey)
}

// agentAt is the same sandbox under another URL of it.
func agentAt(base string, r client.Runtime) client.Agent {
	return client.NewAgent(suite.http, base, r.SessionAPIKey)
}

func joined(all []error) error { return errors.Join(all...) }
