package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// echoTarget answers with the request line's target, byte for byte.
var echoTarget = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RequestURI) })

// raw sends bytes as they are and reads one answer.
func raw(t testing.TB, to *world, request string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", to.front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.(*net.TCPConn).SetLinger(0) // the fuzzer would use up all ports
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func (w *world) raw(request string) (*http.Response, string) {
	w.Helper()
	return raw(w, w, request)
}

var targets = []string{
	"/", "/a", "/a/", "/a%2Fb", "/a%2fb", "//", "//a//b//", "///", "/a//b", "/a;b=c;d", "/a/../b/./c", "/%2e%2e/x", "/%", // the last is no URL
	"/?", "/??", "/a?", "/?a=b;c=d", "/?a=%zz", "/?%", "/?a=b&&=&c", "/?q=/x?y#z", "/?tkn=k&folder=%2Fworkspace%2Fproject", "//?tkn=k",
	"/\u00e4/\u4e16\u754c", "/%C3%A4", "/%E4", "/?\u00e4=\u4e16", "/\xff\xfe", "/a\"<>^`{|}\\b", "/a#b", "/a+b%20c", "/$&,:=@!'()*~", "/http://x.test/", "/:80", "//h.test/%2F",
	"/" + strings.Repeat("long/", 2000) + "?" + strings.Repeat("q=1&", 8000),
}

// Contract 11, check 65.
func TestTargetsArriveAsTheyWereSent(t *testing.T) {
	t.Parallel()
	subdomain, path := newWorld(t, echoTarget, nil), newWorld(t, echoTarget, pathMode)
	for _, target := range targets {
		want, status := target, 200
		if target == "/%" {
			want, status = "400 Bad Request", 400
		}
		check := func(how string, res *http.Response, body string) {
			if res.StatusCode != status || body != want {
				t.Errorf("%s: %.100q arrived as %d %.100q", how, target, res.StatusCode, body)
			}
		}
		res, body := subdomain.raw("GET " + target + " HTTP/1.1\r\nHost: " + label + "." + base + "\r\n\r\n")
		check("origin form", res, body)
		res, body = subdomain.raw("GET http://" + label + "." + base + target + " HTTP/1.1\r\nHost: ignored.test\r\n\r\n")
		check("absolute form", res, body)
		res, body = path.raw("GET " + mount + target + " HTTP/1.1\r\nHost: any.test\r\n\r\n")
		check("path mode", res, body)
		if status == 200 {
			want = root + "/vscode" + target
		}
		res, body = path.raw("GET " + root + "/vscode" + target + " HTTP/1.1\r\nHost: any.test\r\n\r\n")
		check("path mode, vscode", res, body)
	}
}

// The one case that net/http cannot send as it came: // first, and bytes that no
// URL may hold. They arrive encoded.
func TestTargetsThatAreNoURLs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, echoTarget, nil)
	if _, body := w.raw("GET //\u00e4 HTTP/1.1\r\nHost: " + label + "." + base + "\r\n\r\n"); body != "//%C3%A4" {
		t.Error(body)
	}
}

func TestOptionsOfTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, echoTarget, nil)
	if res, body := w.raw("OPTIONS * HTTP/1.1\r\nHost: " + label + "." + base + "\r\n\r\n"); res.StatusCode != 200 || body != "*" {
		t.Error(res.Status, body)
	}
	p := newWorld(t, echoTarget, pathMode)
	res, body := p.raw("OPTIONS * HTTP/1.1\r\nHost: any.test\r\n\r\n")
	isError(t, res, body, 404)
}

func TestHostileRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, echoTarget, nil)
	host := "\r\nHost: " + label + "." + base + "\r\n\r\n"
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"CONNECT":               {"CONNECT 10.0.0.1:22 HTTP/1.1" + host, 405},
		"CONNECT with a path":   {"CONNECT / HTTP/1.1" + host, 405},
		"another scheme":        {"GET ftp://x/ HTTP/1.1" + host, 400},
		"an opaque target":      {"GET mailto:x HTTP/1.1" + host, 400},
		"the target names host": {"GET http://other.test/ HTTP/1.1" + host, 404},
		"no host":               {"GET / HTTP/1.0\r\n\r\n", 404},
	} {
		res, body := w.raw(c.request)
		isError(t, res, body, c.status)
		if t.Failed() {
			t.Fatal(name)
		}
	}
	for name, request := range map[string]string{
		"two hosts":   "GET / HTTP/1.1\r\nHost: a.test" + host,
		"a bad host":  "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
		"two lengths": "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2" + host,
		"a fold":      "GET / HTTP/1.1\r\nX : y" + host,
	} {
		if res, _ := w.raw(request); res.StatusCode != 400 {
			t.Errorf("%s: %s", name, res.Status)
		}
	}
	// Length and chunks: chunks win and the length does not go on.
	res, _ := w.raw("POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked" + host[:len(host)-2] + "\r\n0\r\n\r\n")
	if res.StatusCode != 200 && res.StatusCode != 400 {
		t.Error(res.Status)
	}
}
