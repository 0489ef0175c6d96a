package command

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/natsx"
)

// Provisioner is the name under which provisioners announce themselves.
const Provisioner = "provisioner"

const (
	pingEvery   = time.Second
	pingTimeout = 500 * time.Millisecond
	// missesAllowed: one lost ping is a hiccup.
	missesAllowed = 1
)

// Presence knows whether there is a provisioner.
type Presence struct{ misses atomic.Int32 }

// Present reports whether one answered lately. Until it is known, it is assumed.
func (p *Presence) Present() bool { return p.misses.Load() <= missesAllowed }

// Watch pings until ctx ends. A ping that cannot be sent says nothing.
func (p *Presence) Watch(ctx context.Context, conn *natsx.Conn, log *zap.Logger) error {
	for {
		there, err := conn.Present(ctx, Provisioner, pingTimeout)
		switch {
		case err != nil:
			log.Debug("provisioners cannot be asked", zap.Error(err))
		case there:
			if p.misses.Swap(0) > missesAllowed {
				log.Info("a provisioner is there again")
			}
		case p.misses.Add(1) == missesAllowed+1:
			log.Warn("no provisioner answers")
		}
		if !wait(ctx, pingEvery) {
			return ctx.Err()
		}
	}
}
