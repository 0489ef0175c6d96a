package proxy_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/router/internal/proxy"
)

func TestHosts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		host, separator, label string
		service                sandbox.Service
		status                 int
	}{
		"agent":                {host: "a1.sandbar.test", label: "a1", service: sandbox.ServiceAgent},
		"vscode":               {host: "vscode-a1.sandbar.test", label: "a1", service: sandbox.ServiceVSCode},
		"first worker":         {host: "work-1-a1.sandbar.test", label: "a1", service: sandbox.ServiceWork1},
		"other worker":         {host: "work-2-a1.sandbar.test", label: "a1", service: sandbox.ServiceWork2},
		"port":                 {host: "a1.sandbar.test:8080", label: "a1", service: sandbox.ServiceAgent},
		"upper case":           {host: "VSCODE-A1.Sandbar.TEST", label: "a1", service: sandbox.ServiceVSCode},
		"dot at the end":       {host: "a1.sandbar.test.", label: "a1", service: sandbox.ServiceAgent},
		"dot and port":         {host: "a1.sandbar.test.:80", label: "a1", service: sandbox.ServiceAgent},
		"dash":                 {host: "vscode-a1-sandbar.test", separator: "-", label: "a1", service: sandbox.ServiceVSCode},
		"none":                 {host: "", status: 404},
		"base alone":           {host: "sandbar.test", status: 404},
		"another domain":       {host: "a1.sandbar.test.evil", status: 404},
		"suffix only":          {host: "a1sandbar.test", status: 404},
		"two levels":           {host: "a.b.sandbar.test", status: 404},
		"service alone":        {host: "vscode-.sandbar.test", status: 404},
		"an address":           {host: "127.0.0.1:8080", status: 404},
		"an IPv6 address":      {host: "[::1]:8080", status: 404},
		"not a label":          {host: "a_1.sandbar.test", status: 404},
		"longer than any":      {host: strings.Repeat("a", 64) + ".sandbar.test", status: 404},
		"a port like a domain": {host: "x:.sandbar.test", status: 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := sandbox.URLPattern{Scheme: "http", BaseDomain: base, Separator: "."}
			if c.separator != "" {
				p.Separator = c.separator
			}
			r := httptest.NewRequest("GET", "/x//y", nil)
			r.Host = c.host
			got, answer := proxy.ParseTarget(p, r)
			if c.status != 0 {
				if answer == nil || answer.Status != c.status {
					t.Errorf("%+v %+v", got, answer)
				}
				return
			}
			if want := (proxy.Target{Label: c.label, Service: c.service, Path: "/x//y"}); answer != nil || got != want {
				t.Errorf("%+v %+v", got, answer)
			}
		})
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	const root = "/" + runtimeID
	stripped := func(s sandbox.Service, mount, path string, bare bool) proxy.Target {
		return proxy.Target{Label: runtimeID, Service: s, Path: path, Root: root, Mount: root + mount, Stripped: true, Bare: bare}
	}
	kept := func(path string, bare bool) proxy.Target {
		return proxy.Target{Label: runtimeID, Service: sandbox.ServiceVSCode, Path: path, Root: root, Mount: root + "/vscode", Bare: bare}
	}
	for path, want := range map[string]proxy.Target{
		root + "/runtime":              stripped(sandbox.ServiceAgent, "/runtime", "/", true),
		root + "/runtime/":             stripped(sandbox.ServiceAgent, "/runtime", "/", false),
		root + "/runtime/a%2Fb//c?d=e": stripped(sandbox.ServiceAgent, "/runtime", "/a%2Fb//c", false),
		root + "/runtime//":            stripped(sandbox.ServiceAgent, "/runtime", "//", false),
		root + "/runtime?q":            stripped(sandbox.ServiceAgent, "/runtime", "/", true),
		root + "/work-1/x":             stripped(sandbox.ServiceWork1, "/work-1", "/x", false),
		root + "/work-2/x":             stripped(sandbox.ServiceWork2, "/work-2", "/x", false),
		root + "/vscode":               kept(root+"/vscode", true),
		root + "/vscode/?tkn=1":        kept(root+"/vscode/", false),
		root + "/vscode/a%2Fb":         kept(root+"/vscode/a%2Fb", false),
		"/":                            {},
		"//":                           {},
		root:                           {},
		root + "/":                     {},
		root + "/other/x":              {},
		root + "/runtimes":             {},
		root + "%2Fruntime/x":          {},
		"/%61bcdefghijklmnop/runtime":  {},
		"/" + root + "/runtime":        {},
		"/abcdefghijklmno/runtime":     {},
		"/ABCDEFGHIJKLMNOP/runtime":    {},
		"/abcdefghijklmno1/runtime":    {},
		"/my-session/runtime":          {},
		"/sandbox" + root + "/runtime": {},
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("GET", "http://anything"+path, nil)
			r.RequestURI = path
			got, answer := proxy.ParseTarget(sandbox.URLPattern{BaseDomain: base, Separator: ".", PathMode: true}, r)
			if (answer == nil) != (want.Label != "") || got != want || answer != nil && answer.Status != 404 {
				t.Errorf("%+v %+v", got, answer)
			}
		})
	}
}

func TestRequestTargets(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		"/a;b?c":                    "/a;b",
		"*":                         "*",
		"http://h":                  "/",
		"http://h?q":                "/",
		"HTTP://h//a%2F":            "//a%2F",
		"https://u:p@h:1/a":         "/a",
		"ftp://h/a":                 "",
		"mailto:someone":            "",
		"":                          "",
		"/http://another.host/path": "/http://another.host/path",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RequestURI, r.Host = uri, label+"."+base
		got, answer := proxy.ParseTarget(sandbox.URLPattern{BaseDomain: base, Separator: "."}, r)
		if got.Path != want || (want == "") != (answer != nil) || answer != nil && answer.Status != 400 {
			t.Errorf("%q: %+v %+v", uri, got, answer)
		}
	}
	r := httptest.NewRequest("CONNECT", "/", nil)
	if _, answer := proxy.ParseTarget(sandbox.URLPattern{}, r); answer == nil || answer.Status != 405 {
		t.Errorf("CONNECT: %+v", answer)
	}
}
