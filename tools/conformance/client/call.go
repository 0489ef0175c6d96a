package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// NewHTTP returns a client for API and sandboxes of one installation. Every
// name in baseDomain leads to the host of routerURL, so that no DNS is needed;
// the port stays that of the URL. Redirects are answers like any other.
func NewHTTP(baseDomain, routerURL string) (*http.Client, error) {
	router, err := url.Parse(routerURL)
	if err != nil || router.Hostname() == "" {
		return nil, fmt.Errorf("router URL %q has no host", routerURL)
	}
	var dialer net.Dialer
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, resolve(address, baseDomain, router.Hostname()))
			},
			MaxIdleConnsPerHost: 64, // the scale test's workers, without running out of ports
			IdleConnTimeout:     30 * time.Second,
		},
	}, nil
}

func resolve(address, baseDomain, routerHost string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	host = strings.ToLower(host)
	if host != baseDomain && !strings.HasSuffix(host, "."+baseDomain) && !strings.HasSuffix(host, "-"+baseDomain) {
		return address
	}
	return net.JoinHostPort(routerHost, port)
}

// Caller sends requests to one place.
type Caller struct {
	Base   string      // without a trailing slash
	Header http.Header // goes with every request
	HTTP   *http.Client
}

// Request is one request of a Caller.
type Request struct {
	Method string // GET where it is empty
	Path   string // what follows Base, escaped, with its query
	Body   any    // nil, []byte as they are, or what is sent as JSON
	Header http.Header
	// Bare leaves the Caller's own headers out.
	Bare bool
	Host string // in place of the URL's
}

// Answer is what came back.
type Answer struct {
	To     string // method and URL of the request
	Status int
	Header http.Header
	Body   []byte
	Took   time.Duration // until the last byte
}

// OK reports whether the status is 2xx.
func (a Answer) OK() bool { return a.Status/100 == 2 }

func (a Answer) String() string {
	const shown = 800 // of a body: enough for a runtime object
	body := a.Body[:min(len(a.Body), shown)]
	return fmt.Sprintf("%s: %d after %s: %s", a.To, a.Status, a.Took.Round(time.Millisecond), body)
}

// Decode reads the body, which must be one JSON value.
func (a Answer) Decode(into any) error {
	if err := json.Unmarshal(a.Body, into); err != nil {
		return fmt.Errorf("%s: %w", a, err)
	}
	return nil
}

// Problem says what is wrong with an error answer: it must have this status,
// or one of these, and be the JSON object that every client generation can read.
func (a Answer) Problem(statuses ...int) error {
	found := false
	for _, status := range statuses {
		found = found || status == a.Status
	}
	if !found {
		return fmt.Errorf("%s: want status %d", a, statuses)
	}
	if kind := a.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		return fmt.Errorf("%s: Content-Type is %q, want application/json", a, kind)
	}
	var body map[string]any
	if err := json.Unmarshal(a.Body, &body); err != nil || body == nil {
		return fmt.Errorf("%s: the body is not a JSON object", a)
	}
	for _, field := range []string{"detail", "error"} {
		if text, ok := body[field].(string); !ok || text == "" {
			return fmt.Errorf("%s: %q is not a text", a, field)
		}
	}
	return nil
}

// hangLimit ends a request that nobody answers. It is above answerLimit, so that
// a late answer is told as one.
const hangLimit = 30 * time.Second

// Do sends a request and reads all of its answer.
func (c Caller) Do(ctx context.Context, r Request) (answer Answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, hangLimit)
	defer cancel()
	request, err := c.request(ctx, r)
	if err != nil {
		return Answer{}, err
	}
	begin := time.Now()
	response, err := c.HTTP.Do(request)
	if err != nil {
		return Answer{}, fmt.Errorf("send: %w", err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return Answer{}, fmt.Errorf("%s %s: body: %w", request.Method, request.URL, err)
	}
	return Answer{
		To: request.Method + " " + request.URL.String(), Status: response.StatusCode,
		Header: response.Header, Body: body, Took: time.Since(begin),
	}, nil
}

func (c Caller) request(ctx context.Context, r Request) (*http.Request, error) {
	body, isRaw := r.Body.([]byte)
	if !isRaw && r.Body != nil {
		var err error
		if body, err = json.Marshal(r.Body); err != nil {
			return nil, fmt.Errorf("encode body: %w", err)
		}
	}
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	request, err := http.NewRequestWithContext(ctx, method, c.Base+r.Path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	request.Host = r.Host
	if r.Body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if !r.Bare {
		add(request.Header, c.Header)
	}
	add(request.Header, r.Header)
	return request, nil
}

func add(to, from http.Header) {
	for name, values := range from {
		to[http.CanonicalHeaderKey(name)] = values
	}
}
