package natsx_test

import (
	"errors"
	"testing"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
)

// Of three servers one that is left alone goes on to answer what it knew of a
// stream. That is no answer.
func TestStreamOfAServerThatIsAlone(t *testing.T) {
	t.Parallel()
	servers, _ := natstest.Three(t)
	conn, err := natsx.Connect("test", natsx.Config{URL: servers[0].ClientURL(), Replicas: 3}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	until(t, "the bucket", func() bool { return conn.EnsureViews(t.Context()) == nil })
	if _, err := natsx.Stream(t.Context(), conn.JS, contract.ViewStream); err != nil {
		t.Fatal(err)
	}
	for _, s := range servers[1:] {
		s.Shutdown()
	}
	// A leader steps down when it has not heard of the others for some 10 s.
	until(t, "it to name no leader", func() bool {
		_, err := natsx.Stream(t.Context(), conn.JS, contract.ViewStream)
		return errors.Is(err, natsx.ErrNoLeader)
	})
}
