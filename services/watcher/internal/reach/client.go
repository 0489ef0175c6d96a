// Package reach looks whether sandboxes answer at their public URLs, where a
// controller of the cluster leads to them.
package reach

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

const (
	// alive is the path that clients ask before anything else; it needs no key.
	alive = "/alive"
	// maxBody is what is read of a body, and maxAnswer of all that comes.
	maxBody   = 64 << 10
	maxAnswer = 2 * maxBody
)

// Config says how public URLs are asked.
type Config struct {
	URLs    sandbox.URLPattern // no host but those of its base domain is asked
	Address string             // host or host:port that is dialled in place of the URL's; "": the URL's own
	CAFile  string             // trusted beside the system's roots; "": only those
}

// Validate lists all that is wrong, by the names of the variables.
func (c Config) Validate() error {
	_, err := c.roots()
	if c.Address != "" {
		if _, _, bad := split(c.Address, ""); bad != nil {
			err = errors.Join(err, fmt.Errorf("ROUTE_CHECK_ADDRESS is %q, must be a host or host:port", c.Address))
		}
	}
	return err
}

func (c Config) roots() (*x509.CertPool, error) {
	if c.CAFile == "" {
		return nil, nil // the system's
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ROUTE_CHECK_CA_FILE: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // an image without any
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ROUTE_CHECK_CA_FILE: %s holds no certificate", c.CAFile)
	}
	return pool, nil
}

// Client asks public URLs.
type Client struct {
	cfg    Config
	roots  *x509.CertPool
	dialer net.Dialer
}

// NewClient reads the CA file.
func NewClient(cfg Config) (*Client, error) {
	roots, err := cfg.roots()
	if err != nil {
		return nil, err
	}
	return &Client{cfg: cfg, roots: roots}, nil
}

// Look asks a sandbox whether it is alive, by its public URL: the whole way that
// a client's first request goes, name and handshake included. The error is for
// the log, nil where it answers.
func (c *Client) Look(ctx context.Context, base string) (sandbox.Reach, error) {
	u, err := c.ours(base)
	if err != nil {
		return sandbox.ReachRequest, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+alive, nil)
	if err != nil {
		return sandbox.ReachRequest, err
	}
	req.Close = true
	conn, err := c.connect(ctx, u)
	if err != nil {
		return classify(err), err
	}
	defer func() { _ = conn.Close() }() // it has answered, or never will
	// net/http's client would go on connecting after its request has ended.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return ask(conn, req)
}

// ask does one exchange. A redirect is an answer like any other: it may lead
// anywhere.
func ask(conn net.Conn, req *http.Request) (sandbox.Reach, error) {
	if err := req.Write(conn); err != nil {
		return classify(err), err
	}
	limited := &io.LimitedReader{R: conn, N: maxAnswer}
	answer := bufio.NewReader(limited)
	for {
		//nolint:bodyclose // Close would read on to its end; the connection is closed, and holds all
		resp, err := http.ReadResponse(answer, req)
		if err != nil {
			if limited.N <= 0 {
				return sandbox.ReachResponse, errors.New("the answer has no end")
			}
			return classify(err), err
		}
		if resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
			continue // the answer is still to come
		}
		if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody)); err != nil {
			if timeout(err) {
				return sandbox.ReachTimeout, err
			}
			return sandbox.ReachResponse, err
		}
		reach := sandbox.ReachOfStatus(resp.StatusCode)
		if reach != sandbox.Reached {
			err = fmt.Errorf("it answers %d", resp.StatusCode)
		}
		return reach, err
	}
}

// ours refuses what does not lie under the base domain: the URL comes from a
// record, and the watcher stands where more can be reached than from outside.
func (c *Client) ours(base string) (*url.URL, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, errors.New("the URL cannot be parsed")
	}
	_, _, ok := c.cfg.URLs.ParseHost(u.Host)
	if !ok || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("the URL is none of a sandbox under %s", c.cfg.URLs.BaseDomain)
	}
	return u, nil
}

func (c *Client) connect(ctx context.Context, u *url.URL) (net.Conn, error) {
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if c.cfg.Address != "" {
		var err error
		if host, port, err = split(c.cfg.Address, port); err != nil {
			return nil, err
		}
	}
	raw, err := c.dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil || u.Scheme == "http" {
		return raw, err
	}
	conn := tls.Client(raw, &tls.Config{ServerName: u.Hostname(), RootCAs: c.roots, MinVersion: tls.VersionTLS12})
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // it never became a connection
		return nil, &handshakeError{err}
	}
	return conn, nil
}

// split reads host or host:port; port is what a host alone gets.
func split(address, port string) (host, _ string, err error) {
	if host, p, err := net.SplitHostPort(address); err == nil {
		if _, err := strconv.ParseUint(p, 10, 16); err != nil || host == "" {
			return "", "", errors.New("no host or no port")
		}
		return host, p, nil
	}
	u, err := url.Parse("http://" + address)
	if err != nil || u.Host != address || u.Hostname() == "" {
		return "", "", errors.New("no host")
	}
	return u.Hostname(), port, nil
}
