// Package certificate holds the certificate that a service speaks TLS with, and
// takes the next one when its files change: no connection is lost by a renewal.
package certificate

import (
	"context"
	"crypto/tls"
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/filewatch"
	"github.com/sandbar-io/sandbar/pkg/settings"
)

// Source is the certificate that is good now. A nil Source is that of a service
// without TLS.
type Source struct {
	files   *filewatch.Watch
	log     *zap.Logger
	current atomic.Pointer[tls.Certificate]
}

// Open reads the files, which must be right here; nil where none are set.
func Open(files settings.TLS, log *zap.Logger) (*Source, error) {
	if !files.On() {
		return nil, nil
	}
	s := &Source{log: log}
	var err error
	s.files, err = filewatch.New("TLS_CERT_FILE, TLS_KEY_FILE", []string{files.CertFile, files.KeyFile}, s.take, log)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Config is for an HTTP server, which adds the protocols that it speaks; nil
// where there is no TLS.
func (s *Source) Config() *tls.Config {
	if s == nil {
		return nil
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12, // the least that HTTP/2 allows
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.current.Load(), nil },
	}
}

// Watch reads the files again when they change, until ctx ends. What cannot be
// used is logged, and the certificate stays as it was: also while only one file
// of a pair is written.
func (s *Source) Watch(ctx context.Context) error {
	if s == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.files.Run(ctx)
}

// take makes the pair the one that new connections get.
func (s *Source) take(files []filewatch.File) error {
	if len(files) != 2 {
		return errors.New("they are not one file each")
	}
	pair, err := tls.X509KeyPair(files[0].Body, files[1].Body)
	if err != nil {
		return err
	}
	s.current.Store(&pair)
	fields := []zap.Field{zap.Strings("names", pair.Leaf.DNSNames), zap.Time("not_after", pair.Leaf.NotAfter)}
	if time.Now().After(pair.Leaf.NotAfter) {
		s.log.Error("the certificate has expired, clients will refuse it", fields...)
	} else {
		s.log.Info("the certificate was taken", fields...)
	}
	return nil
}
