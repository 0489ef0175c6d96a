package provisioner_test

import (
	"bufio"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner"
)

// required has no default.
var required = []string{"BASE_DOMAIN=sandbar.localhost", "VIEW_SEALING_KEY=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c, err := run.Parse[provisioner.Config](required)
	if err != nil {
		t.Fatal(err)
	}
	if c.ReadinessGrace != sandbox.DefaultPolicy.ReadinessGrace || c.StartGrace != sandbox.DefaultPolicy.StartGrace {
		t.Errorf("the policy differs from pkg/sandbox: %+v", c)
	}
	if c.CPURequest != "1" || c.MemoryLimit != "2Gi" || c.WorkspaceSize != "10Gi" || c.WorkspacePath != "/workspace" ||
		!c.AllowRoot || c.HostLabel != "session" || c.Routing.Mode != "router" || c.TerminationGrace != 10*time.Second || c.URL.AgentPort != 60000 {
		t.Errorf("%+v", c)
	}
}

// .env.example says of each setting what stands where nothing is set: all lines
// together make the same configuration as none, empty ones included.
func TestDefaultsOfTheExample(t *testing.T) {
	t.Parallel()
	f, err := os.Open("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines []string
	names := map[string]bool{}
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, _, ok := strings.Cut(s.Text(), "="); ok && !strings.HasPrefix(name, "#") {
			lines, names[name] = append(lines, s.Text()), true
		}
	}
	got, err := run.Parse[provisioner.Config](append(lines, required...))
	if err != nil {
		t.Fatal(err)
	}
	want, err := run.Parse[provisioner.Config](required)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the example makes\n%+v, the defaults are\n%+v", got, want)
	}
	for _, name := range tags(reflect.TypeFor[provisioner.Config]()) {
		if !names[name] {
			t.Errorf("%s is not in .env.example", name)
		}
	}
}

func tags(t reflect.Type) []string {
	var out []string
	for f := range t.Fields() {
		if name := f.Tag.Get("env"); name != "" {
			out = append(out, name)
		} else if f.Type.Kind() == reflect.Struct {
			out = append(out, tags(f.Type)...)
		}
	}
	return out
}

func TestProblemsAreNamedAllAtOnce(t *testing.T) {
	t.Parallel()
	wrong := map[string]string{
		"NATS_REPLICAS": "2", "BASE_DOMAIN": "", "URL_SCHEME": "ftp", "VIEW_SEALING_KEY": "short",
		"HOST_LABEL": "name", "ROUTING_MODE": "magic", "WORKERS": "0", "HEALTH_PORT": "none",
		"CPU_REQUEST": "much", "CPU_LIMIT": "-1", "MEMORY_REQUEST": "2GB!", "MEMORY_LIMIT": "-2Gi",
		"EPHEMERAL_STORAGE_REQUEST": "x", "EPHEMERAL_STORAGE_LIMIT": "-1", "WORKSPACE_SIZE": "ten",
		"WORKSPACE_PATH": "workspace", "WORKSPACE_ACCESS_MODE": "ReadOnlyMany", "NAMESPACE": " ",
		"RUNTIME_CLASSES": "sysbox-runc", "NODE_SELECTOR": "{", "SANDBOX_INGRESS_ANNOTATIONS": "=x", "TOLERATIONS": "all",
		"ALLOW_ROOT": "perhaps", "CAPABILITIES": "privileged", "START_GRACE": "5", "RUNTIME_IDLE_SECONDS": "20m",
	}
	var environ []string
	for name, value := range wrong {
		environ = append(environ, name+"="+value)
	}
	_, err := run.Parse[provisioner.Config](environ)
	if err == nil {
		t.Fatal("accepted")
	}
	for name := range wrong {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named in:\n%v", name, err)
		}
	}
}

func TestOneProblem(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		set  []string
		want []string // all named; none: accepted
	}{
		"other units":                  {set: []string{"CPU_REQUEST=250m", "CPU_LIMIT=2", "MEMORY_REQUEST=512Mi", "MEMORY_LIMIT=1G"}},
		"no workspace":                 {set: []string{"WORKSPACE_SIZE=0"}},
		"ingress":                      {set: []string{"ROUTING_MODE=ingress", "INGRESS_CLASS=nginx", "SANDBOX_INGRESS_ANNOTATIONS=a=b,c="}},
		"ingress by path":              {set: []string{"ROUTING_MODE=ingress", "RUNTIME_ROUTING_MODE=path"}, want: []string{"ROUTING_MODE", "RUNTIME_ROUTING_MODE"}},
		"gateway-api":                  {set: []string{"ROUTING_MODE=gateway-api", "GATEWAY_NAME=shared"}},
		"gateway-api, all of it":       {set: []string{"ROUTING_MODE=gateway-api", "GATEWAY_NAME=shared", "GATEWAY_NAMESPACE=edge", "GATEWAY_SECTION=https"}},
		"gateway-api without Gateway":  {set: []string{"ROUTING_MODE=gateway-api"}, want: []string{"GATEWAY_NAME"}},
		"gateway-api, no names":        {set: []string{"ROUTING_MODE=gateway-api", "GATEWAY_NAME=A", "GATEWAY_NAMESPACE=b/c", "GATEWAY_SECTION=_"}, want: []string{"GATEWAY_NAME", "GATEWAY_NAMESPACE", "GATEWAY_SECTION"}},
		"gateway-api by path":          {set: []string{"ROUTING_MODE=gateway-api", "GATEWAY_NAME=a", "RUNTIME_ROUTING_MODE=path"}, want: []string{"ROUTING_MODE", "RUNTIME_ROUTING_MODE"}},
		"path mode by the router":      {set: []string{"RUNTIME_ROUTING_MODE=path"}},
		"CPU request over its limit":   {set: []string{"CPU_REQUEST=2"}, want: []string{"CPU_REQUEST", "CPU_LIMIT"}},
		"memory request over limit":    {set: []string{"MEMORY_LIMIT=1Gi"}, want: []string{"MEMORY_REQUEST", "MEMORY_LIMIT"}},
		"storage request over limit":   {set: []string{"EPHEMERAL_STORAGE_REQUEST=2Gi", "EPHEMERAL_STORAGE_LIMIT=1Gi"}, want: []string{"EPHEMERAL_STORAGE_REQUEST", "EPHEMERAL_STORAGE_LIMIT"}},
		"storage request, no limit":    {set: []string{"EPHEMERAL_STORAGE_REQUEST=2Gi"}},
		"a toleration":                 {set: []string{`TOLERATIONS=[{"key":"a","operator":"Exists"}]`}},
		"one toleration without list":  {set: []string{`TOLERATIONS={"key":"a"}`}, want: []string{"TOLERATIONS"}},
		"the whole root as the volume": {set: []string{"WORKSPACE_PATH=/."}, want: []string{"WORKSPACE_PATH"}},
		"workers":                      {set: []string{"WORKERS=1025"}, want: []string{"WORKERS"}},
		"a dash before long labels":    {set: []string{"URL_SEPARATOR=-"}, want: []string{"URL_SEPARATOR", "HOST_LABEL"}},
		"a dash before short labels":   {set: []string{"URL_SEPARATOR=-", "HOST_LABEL=runtime"}},
		"two ports are one":            {set: []string{"VSCODE_PORT=60000"}, want: []string{"AGENT_SERVER_PORT", "VSCODE_PORT"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := run.Parse[provisioner.Config](append(tt.set, required...))
			if (err == nil) != (len(tt.want) == 0) {
				t.Fatalf("%v", err)
			}
			for _, name := range tt.want {
				if !strings.Contains(err.Error(), name) {
					t.Errorf("%s is not named in: %v", name, err)
				}
			}
		})
	}
}
