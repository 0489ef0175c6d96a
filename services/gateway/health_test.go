package gateway_test

import (
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/sandbar-io/sandbar/pkg/faultproxy"
)

// /health and /metrics ask nothing of NATS: it may be slow, or never have been
// there.
func TestHealthWithoutNATS(t *testing.T) {
	t.Attr("conformance", "62 unit")
	t.Parallel()
	t.Run("silent", func(t *testing.T) {
		t.Parallel()
		f := startFleet(t)
		f.serve()
		l := f.line()
		g := gatewayAt(t, "nats://"+l.Address()).ready()
		g.want(200, "key-plain", "GET", "/list", "")
		l.Set(faultproxy.HalfOpen)
		// Those that ask NATS wait; they must not hold up the others.
		var waiting sync.WaitGroup
		for range 20 {
			waiting.Go(func() { g.do("key-plain", "GET", "/sessions/none", "") })
		}
		for range 5 {
			g.quick()
		}
		waiting.Wait()
		g.quick()
	})
	t.Run("never there", func(t *testing.T) {
		t.Parallel()
		listener, err := net.Listen("tcp", "127.0.0.1:0") // it accepts, and says nothing
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		gatewayAt(t, "nats://"+listener.Addr().String()).quick()
	})
}

// quick wants /health and /metrics within the 2 s that a probe waits.
func (c *client) quick() {
	c.t.Helper()
	for _, path := range []string{"/health", "/metrics"} {
		begin := time.Now()
		resp, err := c.http.Get(c.url + path)
		if err != nil {
			c.t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || time.Since(begin) > 2*time.Second {
			c.t.Errorf("%s: %d after %s, %v", path, resp.StatusCode, time.Since(begin), err)
		}
		if path == "/health" {
			continue
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(string(body)))
		if err != nil || families["sandbar_nats_connected"] == nil {
			c.t.Errorf("%s: %v, or the connection to NATS is not told of", path, err)
		}
	}
}

// A context that is sent whole before the answer is read gets that answer.
func TestBuildOverHTTP(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	g := f.gateway()
	var body strings.Builder
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("context", "context.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(part, strings.Repeat("QUJD", 2<<20)); err != nil {
		t.Fatal(err)
	}
	if err := form.WriteField("target_image", "r.example.com/a:1"); err != nil {
		t.Fatal(err)
	}
	if err := form.Close(); err != nil {
		t.Fatal(err)
	}
	if o := g.want(http.StatusNotImplemented, "key-plain", "POST", "/build", body.String()); o.text("detail") == "" {
		t.Errorf("answered %v", o)
	}
	g.want(http.StatusNotImplemented, "key-plain", "GET", "/build_status?build_id=1", "")
}
