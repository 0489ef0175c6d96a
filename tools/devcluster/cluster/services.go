package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"k8s.io/client-go/informers"

	"github.com/sandbar-io/sandbar/tools/devcluster/image"
	"github.com/sandbar-io/sandbar/tools/devcluster/internal/binaries"
	"github.com/sandbar-io/sandbar/tools/devcluster/internal/names"
	"github.com/sandbar-io/sandbar/tools/devcluster/internal/registry"
	"github.com/sandbar-io/sandbar/tools/devcluster/internal/volumes"
	"github.com/sandbar-io/sandbar/tools/internal/process"
)

// servicesName is the process that holds registry, DNS and volumes: this tool
// itself, as `devcluster serve`.
const servicesName = "devcluster-serve"

func (b *builder) startServices(ctx context.Context) error {
	if b.ControlPlaneOnly {
		return nil
	}
	self, err := executable(ctx, b.cache)
	if err != nil {
		return err
	}
	p, err := b.table().Start(process.Command{Name: servicesName, Path: self, Argv: []string{"serve", "--dir", b.layout.Dir}})
	if err != nil {
		return err
	}
	return until(ctx, servicesName, p, healthy(plain, "http://"+b.at(registryPort)+"/v2/"))
}

// executable is this tool's own program. A library's user (a test, another
// tool) is not it; for those it is built.
func executable(ctx context.Context, cache binaries.Cache) (string, error) {
	self, err := os.Executable()
	if err == nil && filepath.Base(self) == "devcluster" {
		return self, nil
	}
	return cache.Tool(ctx)
}

func (b *builder) pushPause(ctx context.Context) (string, error) {
	return image.Push(ctx, b.at(registryPort), image.Spec{Name: "pause", Binary: b.cache.Path(binaries.Pause)})
}

// Serve runs registry, DNS and volume provisioner of the cluster in dir until
// the context ends.
func Serve(ctx context.Context, dir string) error {
	b, err := readBegun(dir)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	log, err := zap.NewProduction()
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	images, err := registry.Open(b.Layout.path("registry"))
	if err != nil {
		return err
	}
	// Both are bound before either is served: up must see a port that is taken.
	listener, err := net.Listen("tcp", b.Layout.at(registryPort))
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	sockets, err := names.Listen(b.Layout.at(b.Layout.dnsPort()))
	if err != nil {
		listener.Close()
		return err
	}
	err = together(ctx,
		func(ctx context.Context) error { return serveHTTP(ctx, listener, images) },
		func(ctx context.Context) error { return serveCluster(ctx, b, sockets, log) },
	)
	if errors.Is(err, context.Canceled) {
		return nil // told to end
	}
	return err
}

func serveHTTP(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // down waits for nobody
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("registry: %w", err)
	}
	return nil
}

// serveCluster holds what needs the API server: names and volumes.
func serveCluster(ctx context.Context, b begun, sockets *names.Sockets, log *zap.Logger) error {
	defer sockets.Close()
	l := b.Layout
	// Informers that start before the API server wait seconds for their second try.
	err := until(ctx, apiserverName, nil, healthy(plain, l.apiURL()+"/readyz"))
	if ctx.Err() != nil {
		return nil
	} else if err != nil {
		return err
	}
	client, err := Client(l.kubeconfig())
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	resolver := names.Resolver{
		Base: b.Options.BaseDomain, Host: l.host(),
		Services: names.NewCluster(factory, b.Options.KubeProxy),
	}
	provisioner, err := volumes.New(client, factory, l.path("volumes"), log)
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	factory.WaitForCacheSync(ctx.Done())
	return together(ctx,
		func(ctx context.Context) error { return resolver.Serve(ctx, sockets) },
		func(ctx context.Context) error { provisioner.Run(ctx); return nil },
	)
}
