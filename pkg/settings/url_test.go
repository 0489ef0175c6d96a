package settings_test

import (
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/settings"
)

func TestDefaultsAreTheClients(t *testing.T) {
	t.Parallel()
	u, err := run.Parse[settings.URL]([]string{"BASE_DOMAIN=sandbar.localhost"})
	if err != nil {
		t.Fatal(err)
	}
	want := sandbox.URLPattern{Scheme: "http", BaseDomain: "sandbar.localhost", Separator: "."}
	if u.Pattern() != want || u.Ports() != sandbox.DefaultPorts {
		t.Errorf("%+v %+v", u.Pattern(), u.Ports())
	}
	if err := u.Pattern().Validate(); err != nil {
		t.Error(err)
	}
}

func TestEverySettingArrives(t *testing.T) {
	t.Parallel()
	u, err := run.Parse[settings.URL]([]string{
		"BASE_DOMAIN=run.example.org", "URL_SCHEME=https", "URL_PORT=8443", "URL_SEPARATOR=-", "RUNTIME_ROUTING_MODE=path",
		"AGENT_SERVER_PORT=1", "VSCODE_PORT=2", "WORKER_1_PORT=3", "WORKER_2_PORT=4",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := sandbox.URLPattern{Scheme: "https", BaseDomain: "run.example.org", Port: 8443, Separator: "-", PathMode: true}
	if u.Pattern() != want || u.Ports() != (sandbox.Ports{Agent: 1, VSCode: 2, Work1: 3, Work2: 4}) {
		t.Errorf("%+v %+v", u.Pattern(), u.Ports())
	}
}

func TestProblemsAreNamedAllAtOnce(t *testing.T) {
	t.Parallel()
	_, err := run.Parse[settings.URL]([]string{
		"URL_SCHEME=ftp", "URL_PORT=70000", "URL_SEPARATOR=_", "RUNTIME_ROUTING_MODE=magic",
		"AGENT_SERVER_PORT=0", "VSCODE_PORT=7", "WORKER_1_PORT=7", "WORKER_2_PORT=no",
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, name := range []string{
		"BASE_DOMAIN", "URL_SCHEME", "URL_PORT", "URL_SEPARATOR", "RUNTIME_ROUTING_MODE",
		"AGENT_SERVER_PORT", "VSCODE_PORT and WORKER_1_PORT", "WORKER_2_PORT",
	} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named in:\n%v", name, err)
		}
	}
}

func TestBaseDomain(t *testing.T) {
	t.Parallel()
	for domain, ok := range map[string]bool{
		"sandbar.localhost": true, "localhost": true, "a-b.example.org": true,
		"": false, "Example.org": false, "example.org.": false, "example.org:80": false, "http://example.org": false, "a/b": false, "a@b": false,
	} {
		u, err := run.Parse[settings.URL]([]string{"BASE_DOMAIN=" + domain})
		if (err == nil) != ok {
			t.Errorf("%q: %v (%+v)", domain, err, u)
		}
	}
}
