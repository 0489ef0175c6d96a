// Package certificate holds the certificate that a service speaks TLS with, and
// takes the next one when its files change: no connection is lost by a renewal.
package certificate

import (
	"bytes"
	"context"
	"crypto/tls"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/refile"
	"github.com/sandbar-io/sandbar/pkg/settings"
)

// Source is the certificate that is good now. A nil Source is that of a service
// without TLS.
type Source struct {
	files   settings.TLS
	log     *zap.Logger
	current atomic.Pointer[tls.Certificate]
	refused string // why the files were not taken when they were last read; of Watch alone
}

// Open reads the files, which must be right here; nil where none are set.
func Open(files settings.TLS, log *zap.Logger) (*Source, error) {
	if !files.On() {
		return nil, nil
	}
	s := &Source{files: files, log: log}
	pair, err := files.Load()
	if err != nil {
		return nil, err
	}
	s.take(&pair)
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
// used is logged once, and the certificate stays as it was: also while only one
// file of a pair is written.
func (s *Source) Watch(ctx context.Context) error {
	if s == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return refile.Watch(ctx, s.log, s.update, s.files.CertFile, s.files.KeyFile)
}

func (s *Source) update() {
	pair, err := s.files.Load()
	if err != nil {
		if err.Error() != s.refused {
			s.log.Error("the certificate cannot be used, the one before stays", zap.Error(err))
		}
		s.refused = err.Error()
		return
	}
	s.refused = ""
	if !slices.EqualFunc(pair.Certificate, s.current.Load().Certificate, bytes.Equal) {
		s.take(&pair)
	}
}

// take makes the pair the one that new connections get.
func (s *Source) take(pair *tls.Certificate) {
	s.current.Store(pair)
	fields := []zap.Field{zap.Strings("names", pair.Leaf.DNSNames), zap.Time("not_after", pair.Leaf.NotAfter)}
	if time.Now().After(pair.Leaf.NotAfter) {
		s.log.Error("the certificate has expired, clients will refuse it", fields...)
		return
	}
	s.log.Info("the certificate was taken", fields...)
}
