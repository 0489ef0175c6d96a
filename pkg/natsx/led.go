package natsx

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoLeader says that of several servers the one that was asked is cut off from the others,
// or an election is under way. What it says of a stream is what it knew.
var ErrNoLeader = errors.New("the stream has no leader")

// Stream opens a stream whose state is to be relied on. A server that is cut off
// answers too, for as long as that lasts; it names no leader.
func Stream(ctx context.Context, js jetstream.JetStream, name string) (jetstream.Stream, error) {
	s, err := js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	if c := s.CachedInfo().Cluster; c != nil && c.Leader == "" {
		return nil, ErrNoLeader
	}
	return s, nil
}
