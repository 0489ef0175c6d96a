package client

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
)

// NewSecure is NewHTTP for an installation with TLS: it trusts the authority in
// caFile and no other. It speaks HTTP/2, or with http1 HTTP/1.1 alone, as browsers
// do for WebSockets.
func NewSecure(baseDomain, routerURL, caFile string, http1 bool) (*http.Client, error) {
	c, err := NewHTTP(baseDomain, routerURL)
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("certificate authority: %s holds no certificate", caFile)
	}
	t := c.Transport.(*http.Transport)
	t.TLSClientConfig, t.Protocols = &tls.Config{RootCAs: roots}, new(http.Protocols)
	t.Protocols.SetHTTP1(http1)
	t.Protocols.SetHTTP2(!http1)
	return c, nil
}
