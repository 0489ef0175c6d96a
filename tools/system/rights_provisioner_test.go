//go:build system

package system_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// use is what needs a right, and looks whether it is named and missed.
type use func(t *testing.T, x right)

// provisionerUses says for each right of the provisioner which command needs it,
// and what the sandbox is before. What a session's first has is named, and only what
// another of it has is listed.
func (r *rig) provisionerUses() map[right]use {
	all := map[right]use{}
	command := func(resource, verb, before string, v sandbox.Verb) {
		all[right{"provisioner", verb, resource}] = func(t *testing.T, x right) { r.missed(t, x, before, v) }
	}
	command("secrets", "get", "running", sandbox.Pause)
	command("secrets", "create", "", sandbox.Start)
	command("secrets", "patch", "running", sandbox.Pause)
	command("secrets", "delete", "stopped", sandbox.Purge)
	command("pods", "get", "running", sandbox.Resume)
	command("pods", "list", "another", sandbox.Pause)
	command("pods", "create", "paused", sandbox.Resume)
	command("pods", "delete", "running", sandbox.Pause)
	for _, resource := range []string{"persistentvolumeclaims", "services", "ingresses", "httproutes"} {
		command(resource, "get", "paused", sandbox.Resume)
		command(resource, "list", "another", sandbox.Pause)
		command(resource, "create", "", sandbox.Start)
		command(resource, "delete", "running", sandbox.Stop)
	}
	return all
}

// missed sends a command without the right that it needs. The provisioner's log
// names the right; given back, the same command is done.
func (r *rig) missed(t *testing.T, x right, before string, v sandbox.Verb) {
	t.Helper()
	session := strings.NewReplacer("/", "-").Replace("no-" + x.verb + "-" + x.resource)
	id := ""
	var err error
	switch before {
	case "stopped", "another":
		if id, err = r.bring(t, session, "running"); err == nil {
			_, err = r.do(t, sandbox.Stop, session, id)
		}
	default:
		id, err = r.bring(t, session, before)
	}
	if err == nil && before == "another" {
		id, err = r.bring(t, session, "running")
	}
	if err != nil {
		t.Fatal(err)
	}
	if before == "stopped" {
		r.waitHas(t, id)
	}
	pid := r.pid(t, "provisioner-0")
	giveBack := r.without(t, "provisioner", x)
	done := make(chan error, 1)
	go func() {
		if v == sandbox.Purge {
			done <- r.purge(t, session)
			return
		}
		_, err := r.do(t, v, session, id)
		done <- err
	}()
	r.waitLogged(t, "provisioner-0", x, session)
	giveBack()
	if err := <-done; err != nil {
		t.Errorf("%s: the command is not done after the right is back: %v", x, err)
	}
	r.waitDrained(t, r.bus(t, "provisioner"))
	if now := r.pid(t, "provisioner-0"); now != pid {
		t.Errorf("%s: the provisioner was restarted or died", x)
	}
}

// waitLogged waits until the log of an instance names a right that is missing,
// beside the session.
func (r *rig) waitLogged(t *testing.T, name string, x right, session string) {
	t.Helper()
	text := strings.ReplaceAll(x.String(), `"`, `\"`) // in JSON
	waitFor(t, name+" logs "+x.String(), func(context.Context) (string, bool) {
		raw, err := os.ReadFile(r.LogPath(name))
		if err != nil {
			return err.Error(), false
		}
		for line := range strings.Lines(string(raw)) {
			if strings.Contains(line, text) && strings.Contains(line, session) {
				return "", true
			}
		}
		return tail(r.LogPath(name)), false
	})
}

// purge sends what the watcher sends long after a stop.
func (r *rig) purge(t *testing.T, session string) error {
	rec := r.record(t, session)
	subject, body, err := contract.EncodeCommand(sandbox.Command{
		ID: nonce(), Verb: sandbox.Purge, Tenant: rec.Tenant, SessionID: session, RuntimeID: rec.RuntimeID,
		Generation: rec.Generation, RecordUID: rec.UID, Deadline: time.Now().Add(sandbox.MaxDeadline),
	})
	if err != nil {
		return err
	}
	_, err = r.bus(t, "watcher").PublishMsg(t.Context(), &nats.Msg{Subject: subject, Data: body})
	return err
}

// pid is the process of an instance, which must run.
func (r *rig) pid(t *testing.T, name string) string {
	t.Helper()
	if !r.Running(name) {
		t.Fatalf("%s has ended; its log: %s", name, tail(r.LogPath(name)))
	}
	raw, err := os.ReadFile(r.Dir + "/pid/" + name + ".pid")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
