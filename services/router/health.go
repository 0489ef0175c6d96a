package router

import (
	"time"

	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/pkg/views"
)

// staleAfter is the age of the views, told once a second, from which readiness
// calls the router degraded.
const staleAfter = 10 * time.Second

// readiness is unready only while this replica cannot answer better than none;
// troubles that all replicas share only degrade.
func readiness(conn *natsx.Conn, follower *views.Follower) run.Report {
	s := follower.Status()
	age := s.Age.Milliseconds() // since the last heartbeat, -1: none came
	if s.Age < 0 {
		age = -1
	}
	nats := map[string]any{"connected": conn.IsConnected()}
	out := run.Report{Parts: map[string]any{
		"nats":  nats,
		"views": map[string]any{"complete": s.Ready, "age_ms": age, "leader": s.Leader, "sandboxes": s.Sandboxes},
	}}
	if err := conn.Healthy(); err != nil {
		out.Degraded = err.Error()
		nats["detail"] = out.Degraded
	} else if s.Age < 0 || s.Age > staleAfter {
		out.Degraded = "the views are old"
	}
	switch {
	case conn.Denied() != "":
		out.Unready = out.Degraded
	case !s.Ready:
		out.Unready = "the state of sandboxes was never complete yet"
	}
	return out
}
