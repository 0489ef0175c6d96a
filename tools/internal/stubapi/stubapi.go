// Package stubapi is an API server that answers at once, for measuring what
// Sandbar itself costs. It keeps what it is given: names are unique, every change
// has a resourceVersion, compare-and-swap, preconditions and label selectors hold,
// lists are snapshots in pages, and a watch misses nothing. It has no admission,
// no rights, no controllers and no kubelet: a pod is what Set makes of it, and
// what is deleted is gone. What the real server decides is tested with the real one.
package stubapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sandbar-io/sandbar/tools/internal/pki"
)

// admin is the token of the kubeconfig that the server writes. It guards nothing:
// the server listens on the loopback alone.
const admin = "admin"

// Server is a running server.
type Server struct {
	Kubeconfig string // the admin's
	Calls      Calls

	store  *store
	before atomic.Pointer[func(context.Context, Call)]
	http   *http.Server
	done   chan struct{}
}

// Start starts a server on a free port of the loopback, by TLS and HTTP/2 as the
// real one. Certificate and kubeconfig are written to dir.
func Start(dir string) (*Server, error) {
	ca, err := pki.New(dir)
	if err != nil {
		return nil, err
	}
	loopback := net.IPv4(127, 0, 0, 1)
	if err := ca.Issue("stub", pki.Subject{CommonName: "stub", IPs: []net.IP{loopback}}); err != nil {
		return nil, err
	}
	cert, err := tls.LoadX509KeyPair(ca.Path("stub.crt"), ca.Path("stub.key"))
	if err != nil {
		return nil, fmt.Errorf("certificate of the stub API server: %w", err)
	}
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: loopback})
	if err != nil {
		return nil, fmt.Errorf("stub API server: %w", err)
	}
	s := &Server{Kubeconfig: filepath.Join(dir, "kubeconfig"), store: newStore(), done: make(chan struct{})}
	s.http = &http.Server{
		Handler: s, ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
	}
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters["stub"] = &clientcmdapi.Cluster{Server: "https://" + listener.Addr().String(), CertificateAuthority: ca.Path("ca.crt")}
	cfg.AuthInfos[admin] = &clientcmdapi.AuthInfo{Token: admin}
	cfg.Contexts["stub"] = &clientcmdapi.Context{Cluster: "stub", AuthInfo: admin}
	cfg.CurrentContext = "stub"
	if err := clientcmd.WriteToFile(*cfg, s.Kubeconfig); err != nil {
		return nil, errors.Join(fmt.Errorf("kubeconfig of the stub API server: %w", err), listener.Close())
	}
	go func() {
		defer close(s.done)
		_ = s.http.ServeTLS(listener, "", "") // Close is how it ends
	}()
	return s, nil
}

// Close ends the server and every watch.
func (s *Server) Close() error {
	err := s.http.Close()
	<-s.done
	return err
}

// Before sets what is run before each call but a watch, as a delay of every
// answer is; nil: nothing.
func (s *Server) Before(f func(context.Context, Call)) {
	if f == nil {
		s.before.Store(nil)
		return
	}
	s.before.Store(&f)
}

// Delay makes every call but a watch take so much longer.
func (s *Server) Delay(d time.Duration) {
	s.Before(func(ctx context.Context, _ Call) {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	})
}
