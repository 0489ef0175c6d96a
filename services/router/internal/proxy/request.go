package proxy

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
)

// The tenant's key must not reach an untrusted sandbox: legacy clients send it
// along. The session key must.
const tenantKeyHeader = "X-Api-Key"

// forwarding are the headers that ReverseProxy takes out before a rewrite.
var forwarding = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}

// rewrite makes the request that the sandbox gets out of the client's.
func (h *Handler) rewrite(pr *httputil.ProxyRequest) {
	ex := exchangeOf(pr.In)
	ex.sent = true
	pr.Out.URL.Scheme, pr.Out.URL.Host = "http", ex.address
	setPath(pr.Out.URL, ex.target.Path)
	// ReverseProxy drops what it cannot parse of a query; the sandbox judges.
	pr.Out.URL.RawQuery, pr.Out.URL.ForceQuery = pr.In.URL.RawQuery, pr.In.URL.ForceQuery
	pr.Out.Header.Del(tenantKeyHeader)
	h.setForwarded(pr, ex.target)
	// Clone copied the trailers before they came.
	pr.Out.Trailer = maps.Clone(pr.In.Trailer)
	delete(pr.Out.Trailer, tenantKeyHeader)
	if len(pr.Out.Trailer) > 0 { // HTTP/2 has them beside a length; HTTP/1.1 only behind chunks
		pr.Out.ContentLength = -1
		pr.Out.Header.Del("Content-Length")
	}
	if pr.Out.Body != nil {
		pr.Out.Body = &requestBody{ReadCloser: pr.Out.Body, ex: ex, from: pr.In, to: pr.Out.Trailer}
	}
}

// setPath makes the request line carry exactly path. net/url writes Opaque as it
// is, except where it begins with //; there only bytes that a URL must not hold
// are encoded.
func setPath(u *url.URL, path string) {
	u.Opaque, u.Path, u.RawPath = path, "", ""
	if strings.HasPrefix(path, "//") {
		u.Opaque, u.RawPath = "", path
		u.Path, _ = url.PathUnescape(path) // the server parsed it before
	}
}

// setForwarded tells the sandbox who asks and by which public name. What a
// client says of it is dropped, unless a proxy that can be trusted stands in
// front.
func (h *Handler) setForwarded(pr *httputil.ProxyRequest, t Target) {
	out := pr.Out.Header
	if h.cfg.TrustForwarded {
		for _, name := range forwarding {
			if values := pr.In.Header[name]; len(values) > 0 {
				out[name] = values
			}
		}
	} else {
		maps.DeleteFunc(out, func(name string, _ []string) bool {
			return strings.HasPrefix(name, "X-Forwarded-") || name == "X-Real-Ip"
		})
	}
	host, proto := out.Get("X-Forwarded-Host"), out.Get("X-Forwarded-Proto")
	pr.SetXForwarded() // appends the peer's address to For
	if host != "" {
		out.Set("X-Forwarded-Host", host)
	}
	if proto == "" {
		proto = h.cfg.Pattern.Scheme // TLS ends here, or before the router
	}
	out.Set("X-Forwarded-Proto", proto)
	if t.Stripped {
		out.Set("X-Forwarded-Prefix", t.Mount)
	}
}

// requestBody passes the client's body on, sees its bytes, its errors and the
// trailers at its end. The transport reads it in a goroutine of its own.
type requestBody struct {
	io.ReadCloser
	ex   *exchange
	from *http.Request
	to   http.Header // the announced trailers
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.ex.activity.Touch()
	}
	switch {
	case errors.Is(err, io.EOF):
		for name := range b.to {
			b.to[name] = b.from.Trailer[name]
		}
	case err != nil:
		b.ex.bodyFailed.Store(true)
	}
	return n, err
}
