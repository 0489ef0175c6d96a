package settings

import (
	"crypto/tls"
	"errors"
	"fmt"
)

// TLS names the certificate and key that a service speaks TLS with, in PEM, as a
// Secret of type kubernetes.io/tls holds them. None: it speaks plain HTTP.
type TLS struct {
	CertFile string `env:"TLS_CERT_FILE"`
	KeyFile  string `env:"TLS_KEY_FILE"`
}

// On reports whether there is a certificate.
func (t TLS) On() bool { return t.CertFile != "" || t.KeyFile != "" }

// Validate says what is wrong with the pair, or nil. It names the files, and
// nothing of what they hold.
func (t TLS) Validate() error {
	switch {
	case !t.On():
		return nil
	case t.CertFile == "":
		return errors.New("TLS_KEY_FILE is set, and TLS_CERT_FILE is not")
	case t.KeyFile == "":
		return errors.New("TLS_CERT_FILE is set, and TLS_KEY_FILE is not")
	}
	if _, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile); err != nil {
		return fmt.Errorf("TLS_CERT_FILE %s, TLS_KEY_FILE %s: %w", t.CertFile, t.KeyFile, err)
	}
	return nil
}
