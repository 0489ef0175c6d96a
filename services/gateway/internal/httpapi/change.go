package httpapi

import (
	"net/http"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/obs"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// start is idempotent by session: it makes, resumes or replaces, as the record
// says, which the provisioner decides.
func (a *api) start(c *call) (any, error) {
	f, err := readFields(c)
	if err != nil {
		return nil, err
	}
	sessionID, spec, err := decodeStart(f, a.DefaultImage)
	if err != nil {
		return nil, err
	}
	// A client whose first start got no answer in time asks again.
	known := a.Views.Memory().Session(c.key.Tenant, sessionID)
	a.claim(known)
	spec.Lifecycle = c.key.LifecycleOf(spec.Lifecycle)
	return a.do(c, sandbox.Command{
		Verb: sandbox.Start, Tenant: c.key.Tenant, SessionID: sessionID, Spec: spec, RotateKey: c.key.RotateOnResume,
		Limits: c.key.Limits, Fresh: known == nil,
	})
}

// change is POST /pause, /resume and /stop.
func (a *api) change(verb sandbox.Verb) handler {
	return func(c *call) (any, error) {
		f, err := readFields(c)
		if err != nil {
			return nil, err
		}
		runtimeID, err := f.text("runtime_id")
		if err != nil {
			return nil, err
		}
		if runtimeID == "" {
			return nil, sandbox.Errorf(sandbox.CodeInvalid, "runtime_id is required")
		}
		v, err := a.byRuntime(c, runtimeID)
		if err != nil {
			return nil, err
		}
		c.found(v.View)
		// A runtime id is never used again, so stopped is final, however old
		// the view may be.
		if stopped(v) {
			if verb == sandbox.Stop {
				return seen{v}, nil
			}
			return nil, sandbox.Errorf(sandbox.CodeNotFound, "runtime %s is stopped", runtimeID)
		}
		cmd := sandbox.Command{Verb: verb, Tenant: v.Tenant, SessionID: v.SessionID, RuntimeID: v.RuntimeID}
		if verb == sandbox.Resume {
			a.claim(v)
			if a.refusesActive(c) {
				if err := a.notActive(c, runtimeID); err != nil {
					return nil, err
				}
			}
			cmd.RotateKey, cmd.Limits = c.key.RotateOnResume, c.key.Limits
		}
		return a.do(c, cmd)
	}
}

func (a *api) do(c *call, cmd sandbox.Command) (any, error) {
	c.fields = append(c.fields, zap.String("verb", string(cmd.Verb)), obs.SessionID(cmd.SessionID))
	v, err := a.Commands.Do(c.r.Context(), cmd, c.origin())
	if err != nil {
		return nil, err
	}
	if cmd.Verb == sandbox.Start {
		c.found(v)
	}
	return object(v), nil
}

// refusesActive: this key's resume of what runs is to be told so, as the
// reference server does; otherwise it is a 200 without effect.
func (a *api) refusesActive(c *call) bool {
	status := a.ResumeActive
	if c.key.ResumeActive != 0 {
		status = c.key.ResumeActive
	}
	return status == http.StatusConflict
}

// notActive asks for the newest view: a pause may just have been accepted by
// another gateway.
func (a *api) notActive(c *call, runtimeID string) error {
	if err := a.Views.ReadIndex(c.r.Context()); err != nil {
		return err
	}
	v, err := a.byRuntime(c, runtimeID)
	if err == nil && active(v.View) {
		return sandbox.Errorf(sandbox.CodeConflict, "runtime %s is %s, only one that is paused or failed can be resumed", runtimeID, v.Status)
	}
	return err
}

func active(v *sandbox.View) bool {
	return v.Status == sandbox.StatusStarting || v.Status == sandbox.StatusRunning
}
