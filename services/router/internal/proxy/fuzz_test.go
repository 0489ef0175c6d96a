package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// FuzzTargets sends any host and target: what arrives at the sandbox is what was
// sent, and what is no target never arrives.
func FuzzTargets(f *testing.F) {
	for _, target := range targets {
		f.Add(label+"."+base, target)
		f.Add("any.test", mount+target)
		f.Add("", "http://"+label+"."+base+target)
	}
	for _, host := range []string{
		"VSCODE-" + runtimeID + "." + base + ".:80", "[::1]:80", "a_b." + base, "work-1-." + base, "." + base, label + "." + base + ":x",
	} {
		f.Add(host, "/x")
	}
	agent := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("From", "sandbox")
		_, _ = fmt.Fprintf(w, "%s %s", r.Host, r.RequestURI)
	})
	subdomain, path := newWorld(f, agent, nil), newWorld(f, agent, pathMode)
	f.Fuzz(func(t *testing.T, host, target string) {
		if strings.ContainsAny(host+target, "\x00\r\n\t ") || len(host)+len(target) > 60_000 {
			return // not one request line and one header
		}
		request := "GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
		res, body := raw(t, subdomain, request)
		checkArrival(t, res, body, host, target, "")
		res, body = raw(t, path, request)
		checkArrival(t, res, body, host, target, mount)
	})
}

func checkArrival(t *testing.T, res *http.Response, body, host, target, prefix string) {
	t.Helper()
	if res.Header.Get("From") == "" {
		if res.StatusCode != 400 && res.StatusCode != 404 {
			t.Errorf("host %q, target %q: %s by the router", host, target, res.Status)
		}
		return
	}
	if scheme, rest, ok := strings.Cut(target, "://"); ok && !strings.HasPrefix(target, "/") { // absolute form
		if !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
			t.Errorf("target %q arrived", target)
		}
		end := strings.IndexAny(rest+"/", "/?")
		host, target = rest[strings.LastIndexByte(rest[:end], '@')+1:end], rest[end:]
		if !strings.HasPrefix(target, "/") {
			target = "/" + target
		}
	}
	if prefix != "" && !strings.HasPrefix(target, root+"/vscode") {
		_, rest, _ := strings.Cut(target[len(root)+1:], "/")
		name, query, asked := strings.Cut(target[len(root)+1:], "?")
		if !strings.Contains(name, "/") { // the bare prefix
			rest = ""
			if asked {
				rest = "?" + query
			}
		}
		target = "/" + rest
	}
	if strings.HasPrefix(target, "//") && body != host+" "+target {
		return // see TestTargetsThatAreNoURLs
	}
	if body != host+" "+target {
		t.Errorf("%q %q was to arrive, and %q did", host, target, body)
	}
}
