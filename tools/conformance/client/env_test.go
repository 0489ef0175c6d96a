package client_test

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

const goodEnv = `# written by make up
API_URL=http://127.0.0.1:5000/
API_URLS=http://127.0.0.1:5001, http://127.0.0.1:5000
API_KEY=k1
export API_KEYS='{"default":"k1","other":"k2","rotating":"k3"}'
ROUTER_URL=http://127.0.0.1:8080
BASE_DOMAIN=sandbar.localhost
KUBECONFIG="/tmp/a b/kubeconfig"
NAMESPACE=sandbar-sandboxes
NATS_URL=nats://127.0.0.1:4222

SANDBOX_IMAGE=127.0.0.1:5500/agentstub:1
MISSING_IMAGE=127.0.0.1:5500/nothing:1
SIMULATED_API_URL=http://127.0.0.1:5002
SIMULATED_NAMESPACE=sandbar-simulated
SIMULATED_API_KEY=k4
PATH_API_URL=
PATH_ROUTER_URL=
`

func TestParseEnv(t *testing.T) {
	t.Parallel()
	got, err := client.ParseEnv(strings.NewReader(goodEnv))
	if err != nil {
		t.Fatal(err)
	}
	want := client.Env{
		APIURLs:   []string{"http://127.0.0.1:5000", "http://127.0.0.1:5001"},
		APIKeys:   map[string]string{"default": "k1", "other": "k2", "rotating": "k3"},
		RouterURL: "http://127.0.0.1:8080", BaseDomain: "sandbar.localhost",
		Kubeconfig: "/tmp/a b/kubeconfig", Namespace: "sandbar-sandboxes",
		SandboxImage: "127.0.0.1:5500/agentstub:1", MissingImage: "127.0.0.1:5500/nothing:1",
		Simulated: client.Simulated{APIURL: "http://127.0.0.1:5002", APIKey: "k4", Namespace: "sandbar-simulated"},
		Path:      client.Path{APIKey: "k1"},
		TLS:       client.TLS{APIKey: "k1"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestParseEnvTellsAllProblems(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		replace, by string
		want        []string
	}{
		"nothing there":     {goodEnv, "", []string{"ROUTER_URL is missing", "API_KEYS is missing", "PATH_API_URL is missing"}},
		"not a pair":        {"API_KEY=k1", "API_KEY", []string{"line 4 is not KEY=value", "API_KEY is missing"}},
		"empty":             {"NAMESPACE=sandbar-sandboxes", "NAMESPACE=", []string{"NAMESPACE is empty"}},
		"keys no object":    {`{"default"`, `["default"`, []string{"API_KEYS is not a JSON object"}},
		"a key is missing":  {`"rotating"`, `"spinning"`, []string{`API_KEYS has no key "rotating"`}},
		"keys disagree":     {"API_KEY=k1", "API_KEY=k9", []string{`API_KEY is not the key "default"`}},
		"relative":          {`"/tmp/a b/kubeconfig"`, "kubeconfig", []string{"KUBECONFIG must be an absolute path"}},
		"two at once":       {"API_KEY=k1\n", "no pair\n", []string{"line 4", "API_KEY is missing"}},
		"simulated is gone": {"SIMULATED_API_URL=", "X=", []string{"SIMULATED_API_URL is missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := client.ParseEnv(strings.NewReader(strings.Replace(goodEnv, test.replace, test.by, 1)))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			for _, key := range []string{"k2", "k3"} {
				if strings.Contains(err.Error(), key) {
					t.Errorf("%q tells a key", err)
				}
			}
		})
	}
}

func TestLoadEnvWithoutFile(t *testing.T) {
	t.Parallel()
	_, err := client.LoadEnv(filepath.Join(t.TempDir(), "env"))
	if err == nil || !strings.Contains(err.Error(), "SANDBAR_ENV") {
		t.Fatalf("error %v does not say what to do", err)
	}
}

func FuzzParseEnv(f *testing.F) {
	f.Add(goodEnv)
	f.Add("A='\nB=\"\n=\n#")
	f.Fuzz(func(t *testing.T, text string) {
		if env, err := client.ParseEnv(strings.NewReader(text)); err == nil && env.RouterURL == "" {
			t.Error("accepted without a router")
		}
	})
}
