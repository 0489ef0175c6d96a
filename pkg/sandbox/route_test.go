package sandbox_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

var dnsLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// The labels of clients' known ids. They stand in URLs that clients keep: a
// sandbox that lives has its route in its record, but these never change.
func TestHostLabel(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mode            sandbox.LabelMode
		tenant, session string
		want            string
	}{
		"plain":                     {sandbox.LabelSession, "default", "my-session", "my-session"},
		"one letter":                {sandbox.LabelSession, "default", "a", "a"},
		"digits":                    {sandbox.LabelSession, "default", "0123", "0123"},
		"hex conversation id":       {sandbox.LabelSession, "default", "0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef"},
		"agent-server-uuid":         {sandbox.LabelSession, "default", "agent-server-6b3a1c1e-92a4-4c0e-9a54-2d2f0a9d5b7e", "agent-server-6b3a1c1e-92a4-4c0e-9a54-2d2f0a9d5b7e"},
		"56 characters":             {sandbox.LabelSession, "default", strings.Repeat("a1", 28), strings.Repeat("a1", 28)},
		"57 characters":             {sandbox.LabelSession, "default", strings.Repeat("a1", 28) + "b", strings.Repeat("a1", 19) + "a-jbdvzcpx7nqtb4kl"},
		"15 letters":                {sandbox.LabelSession, "default", "abcdefghijklmno", "abcdefghijklmno"},
		"16 letters":                {sandbox.LabelSession, "default", "abcdefghijklmnop", "abcdefghijklmnop-2h3ivpujb3nk6zxs"},
		"17 letters":                {sandbox.LabelSession, "default", "abcdefghijklmnopq", "abcdefghijklmnopq"},
		"16 letters and digits":     {sandbox.LabelSession, "default", "abcdefghijklmno1", "abcdefghijklmno1"},
		"another tenant":            {sandbox.LabelSession, "acme", "my-session", "my-session-vxsfo7g56ztcfjhs"},
		"upper case":                {sandbox.LabelSession, "default", "My-Session", "my-session-sqx5hlx3lahwaew3"},
		"base62":                    {sandbox.LabelSession, "default", "3dHk9Qz1LmNoPqRsTuVwXy", "3dhk9qz1lmnopqrstuvwxy-ea4hh3cgrvudtdwb"},
		"an internationalized name": {sandbox.LabelSession, "default", "xn--a", "xn-a-loiqvcyhv4gnifse"}, // browsers decode it, and fail
		"two dashes elsewhere":      {sandbox.LabelSession, "default", "abc--d", "abc--d"},
		"vscode":                    {sandbox.LabelSession, "default", "vscode", "s-vscode-5xokqc2lgmnblexx"},
		"vscode-":                   {sandbox.LabelSession, "default", "vscode-x", "s-vscode-x-or5c3peubrbfem44"},
		"work-":                     {sandbox.LabelSession, "default", "work-1-x", "s-work-1-x-pgvaxpmw2bixegtc"},
		"workspace":                 {sandbox.LabelSession, "default", "workspace", "workspace"},
		"the hashed form":           {sandbox.LabelSession, "default", "a-abcdefghijklmnop", "a-abcdefghijklmnop-5lcnbgicfudlqwip"},
		"dots":                      {sandbox.LabelSession, "default", "a.b.c", "a-b-c-5tacebchbfwtnsg7"},
		"dash first":                {sandbox.LabelSession, "default", "-a", "a-awlrl6nbzimc3hjv"},
		"dash last":                 {sandbox.LabelSession, "default", "a-", "a-3cdti5uffolqsmng"},
		"nothing that can be shown": {sandbox.LabelSession, "default", "日本", "s-onkmukdsge7azvoo"},
		"by runtime id":             {sandbox.LabelRuntime, "default", "my-session", runtimeA},
		"by runtime id, any tenant": {sandbox.LabelRuntime, "acme", "日本", runtimeA},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := sandbox.HostLabel(c.mode, c.tenant, c.session, runtimeA); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// goodLabel says what is wrong with a label.
func goodLabel(label, tenant, session string) error {
	hashed := regexp.MustCompile(`-[a-z2-7]{16}$`)
	switch {
	case !dnsLabel.MatchString(label):
		return fmt.Errorf("%q is no DNS label", label)
	case len(label) > 56:
		return fmt.Errorf("%q has %d characters", label, len(label))
	case strings.HasPrefix(label, "vscode-"), strings.HasPrefix(label, "work-"):
		return fmt.Errorf("%q looks like a service's", label)
	case sandbox.ValidRuntimeID(label):
		return fmt.Errorf("%q looks like a runtime id", label)
	case len(label) > 3 && label[2:4] == "--":
		return fmt.Errorf("%q is a reserved name of DNS", label)
	case hashed.MatchString(label) == (label == session):
		return fmt.Errorf("%q of %q, %q can be taken for another's", label, tenant, session)
	case label == session && tenant != sandbox.DefaultTenant:
		return fmt.Errorf("%q is another tenant's", label)
	}
	return nil
}

// Distinct sessions never share a label, even if one takes the label of another
// for its id.
func TestHostLabelsNeverCollide(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(11, 12))
	tenants := []string{"default", "a", "acme", "default-2"}
	parts := []string{"a", "b", "-", ".", "_", "A", "vscode-", "work-1-", "abcdefghijklmnop", "é", "7", "0", strings.Repeat("x", 30), "/"}
	owner := map[string]string{}
	claim := func(tenant, session string) string {
		label := sandbox.HostLabel(sandbox.LabelSession, tenant, session, runtimeB)
		if err := goodLabel(label, tenant, session); err != nil {
			t.Fatal(err)
		}
		who := fmt.Sprintf("%q %q", tenant, session)
		if other, taken := owner[label]; taken && other != who {
			t.Fatalf("%q is the label of %s and %s", label, who, other)
		}
		owner[label] = who
		return label
	}
	for range 10_000 {
		session := ""
		for range 1 + r.IntN(5) {
			session += parts[r.IntN(len(parts))]
		}
		tenant := tenants[r.IntN(len(tenants))]
		label := claim(tenant, session)
		claim("default", label) // an id that imitates it
		claim("acme", label)
	}
}

func FuzzHostLabel(f *testing.F) {
	for _, s := range []string{"a", "vscode-", "work-1", "abcdefghijklmnop", "A.b", "x-abcdefghijklmnop", "日本", strings.Repeat("-a", 40)} {
		f.Add("default", s, s+"x")
		f.Add("acme", s, "-"+s)
	}
	f.Fuzz(func(t *testing.T, tenant, a, b string) {
		if !sandbox.ValidTenant(tenant) || sandbox.ValidSessionID(a) != nil || sandbox.ValidSessionID(b) != nil {
			return
		}
		label := sandbox.HostLabel(sandbox.LabelSession, tenant, a, runtimeA)
		if err := goodLabel(label, tenant, a); err != nil {
			t.Error(err)
		}
		if a != b && label == sandbox.HostLabel(sandbox.LabelSession, tenant, b, runtimeA) {
			t.Errorf("%q and %q have the label %q", a, b, label)
		}
		if tenant != sandbox.DefaultTenant && label == sandbox.HostLabel(sandbox.LabelSession, sandbox.DefaultTenant, b, runtimeA) {
			t.Errorf("%q of %q and %q of the default tenant have the label %q", a, tenant, b, label)
		}
	})
}

func patterns() map[string]sandbox.URLPattern {
	return map[string]sandbox.URLPattern{
		"dot":        {Scheme: "http", BaseDomain: "sandbar.localhost", Port: 8080, Separator: "."},
		"dash":       {Scheme: "https", BaseDomain: "run.example.org", Separator: "-"},
		"own port":   {Scheme: "https", BaseDomain: "run.example.org", Port: 443, Separator: "."},
		"path":       {Scheme: "https", BaseDomain: "run.example.org", Separator: ".", PathMode: true},
		"path, port": {Scheme: "http", BaseDomain: "localhost", Port: 8080, Separator: "-", PathMode: true},
	}
}

var services = []sandbox.Service{sandbox.ServiceAgent, sandbox.ServiceVSCode, sandbox.ServiceWork1, sandbox.ServiceWork2}

func TestURLs(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		"dot": {
			"http://my-s.sandbar.localhost:8080", "http://vscode-my-s.sandbar.localhost:8080",
			"http://work-1-my-s.sandbar.localhost:8080", "http://work-2-my-s.sandbar.localhost:8080",
		},
		"dash": {
			"https://my-s-run.example.org", "https://vscode-my-s-run.example.org",
			"https://work-1-my-s-run.example.org", "https://work-2-my-s-run.example.org",
		},
		"own port": {
			"https://my-s.run.example.org", "https://vscode-my-s.run.example.org",
			"https://work-1-my-s.run.example.org", "https://work-2-my-s.run.example.org",
		},
		"path": {
			"https://run.example.org/my-s/runtime", "https://run.example.org/my-s/vscode",
			"https://run.example.org/my-s/work-1", "https://run.example.org/my-s/work-2",
		},
		"path, port": {
			"http://localhost:8080/my-s/runtime", "http://localhost:8080/my-s/vscode",
			"http://localhost:8080/my-s/work-1", "http://localhost:8080/my-s/work-2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := patterns()[name]
			if err := p.Validate(); err != nil {
				t.Fatal(err)
			}
			for i, s := range services {
				if got := p.URL("my-s", s); got != want[i] {
					t.Errorf("%s: got %s, want %s", s, got, want[i])
				}
			}
			r := p.NewRoute("my-s", sandbox.DefaultPorts)
			if r.Label != "my-s" || r.URL != want[0] || r.VSCodeURL != want[1] || !maps.Equal(r.WorkHosts, map[string]int{want[2]: 12000, want[3]: 12001}) {
				t.Errorf("%+v", r)
			}
		})
	}
}

// What a client reaches by a URL of ours is read back as the same sandbox and
// service.
func TestURLsAreReadBack(t *testing.T) {
	t.Parallel()
	labels := []string{"a", "my-s", runtimeA, "vscode", "worker", "s-vscode-x-abcdefghijklmnop", strings.Repeat("a", 56)}
	for name, p := range patterns() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, label := range labels {
				if p.PathMode {
					label = runtimeA
				}
				for _, s := range services {
					rest, _ := strings.CutPrefix(p.URL(label, s), p.Scheme+"://")
					host, path, _ := strings.Cut(rest, "/")
					if !p.PathMode {
						for _, h := range []string{host, strings.ToUpper(host), p.Host(label, s), p.Host(label, s) + ".", p.Host(label, s) + ":1"} {
							if gotLabel, got, ok := p.ParseHost(h); !ok || gotLabel != label || got != s {
								t.Errorf("%s: %q %q %v", h, gotLabel, got, ok)
							}
						}
						continue
					}
					for _, tail := range []string{"", "/", "/a", "//a", "/a%2Fb/", "/vscode"} {
						want := tail
						if want == "" {
							want = "/"
						}
						gotLabel, got, prefix, end, ok := p.ParsePath("/" + path + tail)
						if !ok || gotLabel != label || got != s || prefix != "/"+path || end != want {
							t.Errorf("/%s%s: %q %q %q %q %v", path, tail, gotLabel, got, prefix, end, ok)
						}
					}
				}
			}
		})
	}
}

func TestParseHostRefuses(t *testing.T) {
	t.Parallel()
	p := patterns()["dot"]
	for _, host := range []string{
		"", ".", ":80", "sandbar.localhost", ".sandbar.localhost", "vscode-.sandbar.localhost", "work-1-.sandbar.localhost", "a.b.sandbar.localhost",
		"a.sandbar.localhost.example.org", "asandbar.localhost", "a.sandbar.localhostx", "127.0.0.1", "[::1]", "[::1]:80", "::1", "a.sandbar.localhost..", "a-sandbar.localhost",
	} {
		if label, s, ok := p.ParseHost(host); ok {
			t.Errorf("%q is %q %q", host, label, s)
		}
	}
}

func TestParsePathRefuses(t *testing.T) {
	t.Parallel()
	p := patterns()["path"]
	for _, path := range []string{
		"", "/", "/" + runtimeA, "/" + runtimeA + "/", "/" + runtimeA + "/agent", "/" + runtimeA + "/Runtime", "//" + runtimeA + "/runtime",
		"/my-session/runtime", "/" + strings.ToUpper(runtimeA) + "/runtime", "/" + runtimeA + "%2Fruntime", "/" + runtimeA + "/runtime%2Fx", "/sandbox/" + runtimeA,
	} {
		if label, s, _, _, ok := p.ParsePath(path); ok {
			t.Errorf("%q is %q %q", path, label, s)
		}
	}
}

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"a.sandbar.localhost", "vscode-a.sandbar.localhost:80", "work-1-work-2-a-run.example.org", "[::1]:80", ":", ".", "A.SANDBAR.LOCALHOST."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		for _, p := range patterns() {
			label, s, ok := p.ParseHost(host)
			if !ok {
				continue
			}
			if label == "" || strings.Contains(label, ".") || sandbox.DefaultPorts.Of(s) == 0 {
				t.Errorf("%q: %q %q", host, label, s)
			}
			// Where the label can be a sandbox's, the host is the one that we make.
			if goodLabel(label, sandbox.DefaultTenant, label) == nil {
				if again, same, ok := p.ParseHost(p.Host(label, s)); !ok || again != label || same != s {
					t.Errorf("%q: %q %q, and then %q %q", host, label, s, again, same)
				}
			}
		}
	})
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"/" + runtimeA + "/runtime", "/" + runtimeA + "/vscode//a%2Fb?x", "//", runtimeA + "/work-1/", "/" + runtimeA + "/work-2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		p := patterns()["path"]
		label, s, prefix, rest, ok := p.ParsePath(path)
		if !ok {
			if label != "" || s != "" || prefix != "" || rest != "" {
				t.Errorf("%q: %q %q %q %q beside a no", path, label, s, prefix, rest)
			}
			return
		}
		if !sandbox.ValidRuntimeID(label) || sandbox.DefaultPorts.Of(s) == 0 || !strings.HasPrefix(rest, "/") {
			t.Errorf("%q: %q %q %q", path, label, s, rest)
		}
		// Nothing is lost of the path: it is the prefix and the rest.
		whole := "/" + strings.TrimPrefix(path, "/")
		if whole != prefix+rest && whole+"/" != prefix+rest {
			t.Errorf("%q became %q and %q", path, prefix, rest)
		}
		if !strings.HasSuffix(p.URL(label, s), prefix) {
			t.Errorf("%q: the prefix is %q, the URL %q", path, prefix, p.URL(label, s))
		}
	})
}

func TestURLPatternValidate(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*sandbox.URLPattern){
		"scheme":     func(p *sandbox.URLPattern) { p.Scheme = "ftp" },
		"no scheme":  func(p *sandbox.URLPattern) { p.Scheme = "" },
		"separator":  func(p *sandbox.URLPattern) { p.Separator = "_" },
		"port":       func(p *sandbox.URLPattern) { p.Port = 65536 },
		"below zero": func(p *sandbox.URLPattern) { p.Port = -1 },
		"no domain":  func(p *sandbox.URLPattern) { p.BaseDomain = "" },
		"with port":  func(p *sandbox.URLPattern) { p.BaseDomain = "example.org:80" },
		"with path":  func(p *sandbox.URLPattern) { p.BaseDomain = "example.org/x" },
		"with user":  func(p *sandbox.URLPattern) { p.BaseDomain = "a@example.org" },
		"with space": func(p *sandbox.URLPattern) { p.BaseDomain = "example org" },
		"IPv6":       func(p *sandbox.URLPattern) { p.BaseDomain = "[::1]" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := patterns()["dot"]
			change(&p)
			if p.Validate() == nil {
				t.Errorf("%+v is accepted", p)
			}
		})
	}
}

func TestPorts(t *testing.T) {
	t.Parallel()
	want := map[sandbox.Service]int{"agent": 60000, "vscode": 60001, "work-1": 12000, "work-2": 12001, "work-3": 0, "": 0}
	for s, port := range want {
		if got := sandbox.DefaultPorts.Of(s); got != port {
			t.Errorf("%q: %d", s, got)
		}
	}
}
