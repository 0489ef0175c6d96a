// Package limit is what Sandbar's services are held against: the least that a
// program must do to answer the same. Its servers run as processes of their own,
// as the services do.
package limit

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"

	"github.com/coder/websocket"
)

// Serve runs the limit of that name until the process ends: prepared ADDRESS FILE,
// proxy ADDRESS TARGET, upstream ADDRESS.
func Serve(args []string) error {
	var h http.Handler
	switch {
	case len(args) == 3 && args[0] == "prepared":
		body, err := os.ReadFile(args[2])
		if err != nil {
			return fmt.Errorf("prepared answer: %w", err)
		}
		h = Prepared(body)
	case len(args) == 3 && args[0] == "proxy":
		target, err := url.Parse(args[2])
		if err != nil {
			return fmt.Errorf("target: %w", err)
		}
		h = Proxy(target)
	case len(args) == 2 && args[0] == "upstream":
		h = Upstream()
	default:
		return errors.New("usage: limit prepared ADDRESS FILE | proxy ADDRESS TARGET | upstream ADDRESS")
	}
	l, err := net.Listen("tcp", args[1])
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return (&http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}).Serve(l)
}

// Prepared answers everything with the same bytes.
func Prepared(body []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body) // a client that is gone needs none
	})
}

// Proxy is the standard library's reverse proxy with as many idle connections as
// its clients have: the default of two would measure the dialling.
func Proxy(target *url.URL) http.Handler {
	p := httputil.NewSingleHostReverseProxy(target)
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy, t.MaxIdleConnsPerHost, t.MaxIdleConns, t.DisableCompression = nil, 2000, 2000, true
	p.Transport = t
	return p
}

// BigBody is the size of a large body, in bytes.
const BigBody = 1 << 20

// Upstream is what stands behind router and proxy: /small and /big, POST /eat which
// reads a body, and /echo, a WebSocket that sends back what it gets.
func Upstream() http.Handler {
	big := make([]byte, BigBody)
	mux := http.NewServeMux()
	mux.HandleFunc("/small", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"status":"ok"}`) })
	mux.HandleFunc("/big", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(big) })
	mux.HandleFunc("/echo", echo)
	return mux
}

func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // any origin
	if err != nil {
		return // it has answered
	}
	defer func() { _ = c.CloseNow() }()
	for {
		kind, msg, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), kind, msg) != nil {
			return
		}
	}
}
