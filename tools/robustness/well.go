package robustness

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

func gone(err error) bool { return err == nil || apierrors.IsNotFound(err) }

// state is what a service says of itself: a gateway or a watcher.
type state struct {
	Status string
	Role   string
	Leader string
	Views  struct {
		AgeMS  int64 `json:"age_ms"`
		Leader string
	}
	Complete bool `json:"views_complete"`
}

// well waits until every service runs and says that it is well: a watcher leads
// and has written all, and every gateway has heard from it since.
func (w *world) well(ctx context.Context, since time.Time) error {
	ended := ""
	err := client.Poll(ctx, 50*time.Millisecond, wellWithin, func(ctx context.Context) (string, bool) {
		leader := ""
		states := map[string]state{}
		for _, name := range w.Names() {
			if !w.Running(name) {
				ended = name
				return "", true
			}
			s, code, err := w.state(ctx, name)
			if err != nil || code != http.StatusOK {
				return fmt.Sprintf("%s says %d %+v %v", name, code, s, err), false
			}
			if states[name] = s; s.Role == "leader" && s.Complete {
				leader = s.Leader
			}
		}
		if leader == "" {
			return fmt.Sprintf("no watcher leads: %+v", states), false
		}
		for _, g := range w.gateways {
			s := states[g.name]
			age := time.Duration(s.Views.AgeMS) * time.Millisecond
			if s.Status != "ok" || s.Views.Leader != leader || age < 0 || age >= time.Since(since) {
				return fmt.Sprintf("%s is not well: %+v, %s leads", g.name, s, leader), false
			}
		}
		return "", true
	})
	if ended != "" {
		return fmt.Errorf("%s has ended by itself", ended)
	}
	return err
}

func (w *world) state(ctx context.Context, name string) (s state, code int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	answer, err := client.Caller{Base: w.Services[name].Health, HTTP: w.http}.Do(ctx, client.Request{Path: "/readiness"})
	if err != nil {
		return s, 0, err
	}
	return s, answer.Status, json.Unmarshal(answer.Body, &s)
}

// revive starts what has ended by itself, so that the run can go on; that it did
// is recorded.
func (w *world) revive(ctx context.Context) error {
	for _, name := range w.Names() {
		if w.Running(name) {
			continue
		}
		w.newLife(name)
		if err := w.StartService(name); err != nil {
			return err
		}
		if err := w.WaitService(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
