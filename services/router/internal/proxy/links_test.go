package proxy_test

import (
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/router/internal/proxy"
)

const (
	root  = "/" + runtimeID
	mount = root + "/runtime"
)

func links(path string) proxy.Links {
	return proxy.Links{
		Target: proxy.Target{
			Label: runtimeID, Service: sandbox.ServiceAgent, Root: root, Mount: mount, Path: path, Stripped: true,
		},
		Public: "sandbar.test:8080", Pod: "10.1.2.3:60000",
	}
}

func TestLocationInPathMode(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/":                                 mount + "/",
		"/x?y=/z#f":                         mount + "/x?y=/z#f",
		"/a%2Fb//c;d":                       mount + "/a%2Fb//c;d",
		"/../../x":                          mount + "/x",
		mount:                               mount,
		mount + "/x":                        mount + "/x",
		mount + "?x":                        mount + "?x",
		root + "/vscode/":                   root + "/vscode/", // the sandbox's own too
		root + "x":                          mount + root + "x",
		"http://10.1.2.3:60000/x":           mount + "/x",
		"http://10.1.2.3:60000":             mount + "/",
		"http://10.1.2.3:60000?q":           mount + "/?q",
		"http://10.1.2.3:60000" + mount:     mount,
		"http://localhost:60000/x":          mount + "/x",
		"http://127.0.0.1:60000/x":          mount + "/x",
		"http://[::1]:60000/x":              mount + "/x",
		"http://10.1.2.3:60001/x":           "http://10.1.2.3:60001/x",
		"http://sandbar.test:8080/x":        mount + "/x",
		"HTTPS://Sandbar.Test:8080/x":       mount + "/x",
		"//sandbar.test:8080/x":             mount + "/x",
		"http://sandbar.test/x":             mount + "/x", // it forgot the port
		"http://sandbar.test:60000/x":       mount + "/x", // it put its own
		"http://sandbar.test:9/x":           "http://sandbar.test:9/x",
		"https://sandbar.test:8080" + mount: "https://sandbar.test:8080" + mount,
		"https://elsewhere.test/x":          "https://elsewhere.test/x",
		"//elsewhere.test/x":                "//elsewhere.test/x",
		"mailto:a@b":                        "mailto:a@b",
		"vscode://x/y":                      "vscode://x/y",
		"":                                  "",
		"?q":                                "?q",
		"#f":                                "#f",
		"x/y":                               "x/y",
		"../x":                              mount + "/x",
		"../../../x?q#f":                    mount + "/x?q#f",
		"./..":                              mount + "/",
	} {
		if got := links("/a/b").Location(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// A client that asked for the bare prefix reads a relative link one level too
// high.
func TestRelativeLocationOfTheBarePrefix(t *testing.T) {
	t.Parallel()
	l := links("/")
	l.Target.Bare = true
	for in, want := range map[string]string{"x": mount + "/x", "./x": mount + "/x", "../x": mount + "/x", "?q": "?q"} {
		if got := l.Location(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestLocationOfVSCodeInPathMode(t *testing.T) {
	t.Parallel()
	const vscode = root + "/vscode"
	l := links(vscode + "/a")
	l.Target.Mount, l.Target.Stripped, l.Target.Service = vscode, false, sandbox.ServiceVSCode
	for in, want := range map[string]string{
		"/":              vscode + "/",
		vscode + "/?x":   vscode + "/?x",
		"x":              "x",
		"../../x":        "../../x",
		"http://h.test/": "http://h.test/",
	} {
		if got := l.Location(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestLocationInSubdomainMode(t *testing.T) {
	t.Parallel()
	l := proxy.Links{Target: proxy.Target{Label: label, Path: "/"}, Public: "my-session.sandbar.test", Pod: "10.1.2.3:60000"}
	for in, want := range map[string]string{
		"/x":                              "/x",
		"/../x":                           "/../x",
		"../x":                            "../x",
		"//elsewhere.test/x":              "//elsewhere.test/x",
		"http://my-session.sandbar.test/": "http://my-session.sandbar.test/",
		"http://10.1.2.3:60000/x":         "/x",
		"http://10.1.2.3:60000//x/y":      "//my-session.sandbar.test//x/y",
	} {
		if got := l.Location(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestCookies(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a=b":                                   "a=b",
		"a=b; Path=/":                           "a=b; Path=" + mount,
		"a=b; path=/; HttpOnly":                 "a=b; Path=" + mount + "; HttpOnly",
		"a=b;Path=/x/;Secure;SameSite=None":     "a=b; Path=" + mount + "/x/;Secure;SameSite=None",
		"a=b; Path=" + mount:                    "a=b; Path=" + mount,
		"a=b; Path=" + root + "/vscode":         "a=b; Path=" + root + "/vscode",
		"a=b; Domain=sandbar.test; Path=/":      "a=b; Path=" + mount,
		"a=b; Max-Age=3; Expires=x, 1 y 2":      "a=b; Max-Age=3; Expires=x, 1 y 2",
		"a=b; Path=relative":                    "a=b",
		"a=b; Path":                             "a=b",
		"path=/; Secure":                        "path=/; Secure", // its name, not an attribute
		"a=\"x y\"; Path=/; Unknown=1; Path=/z": "a=\"x y\"; Path=" + mount + "; Unknown=1; Path=" + mount + "/z",
		"":                                      "",
	} {
		if got := links("/a").Cookie(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	l := links("/")
	l.Target.Bare = true
	if got := l.Cookie("a=b"); got != "a=b; Path="+mount {
		t.Errorf("without a path, for the bare prefix: %q", got)
	}
	if got := (proxy.Links{}).Cookie("a=b; Path=/; Domain=sandbar.test"); got != "a=b; Path=/; Domain=sandbar.test" {
		t.Errorf("in subdomain mode: %q", got)
	}
}
