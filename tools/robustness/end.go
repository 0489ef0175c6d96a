package robustness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
)

const (
	restLimit = time.Minute
	// goneLimit is PURGE_AFTER and what the watcher needs to see that it is due.
	goneLimit = 3 * time.Minute
)

// end brings all to rest: what every gateway shows then, what is left after
// everything was stopped, and the last events.
func (w *world) end(ctx context.Context, tails []*tail) error {
	w.Log("at rest after %s", w.recorder.Now().Round(time.Second))
	const deleted = 6 // nobody's request brings these back
	if err := w.deletePods(ctx, deleted); err != nil {
		return err
	}
	until := time.Now().Add(restLimit) // for all together
	runs := map[string]history.End{}   // by record
	for tenant := range tenants {
		for _, session := range allSessions() {
			for _, g := range w.gateways {
				if e := w.atRest(ctx, tenant, session, g, until); e.Status == "running" || e.Status == "error" {
					runs[sandbox.RecordName(tenantName(tenant), session)] = e
				}
			}
		}
	}
	if err := w.podsAtRest(ctx, runs); err != nil {
		return err
	}
	for tenant := range tenants {
		for _, session := range allSessions() {
			if err := w.stop(ctx, tenant, session); err != nil {
				return err
			}
		}
	}
	if err := w.left(ctx); err != nil {
		return err
	}
	for _, t := range tails {
		before := t.idle.Load()
		err := client.Poll(ctx, tailEvery, restLimit, func(context.Context) (string, bool) {
			return "more messages", t.idle.Load() > before+1
		})
		if err != nil {
			return fmt.Errorf("read %s to its end: %w", t.stream, err)
		}
	}
	return ctx.Err()
}

// atRest waits until a gateway shows a session as something that lasts, and
// records what it shows in the end.
func (w *world) atRest(ctx context.Context, tenant int, session string, g *gateway, until time.Time) history.End {
	e := history.End{Gateway: g.process(), Tenant: tenantName(tenant), Seen: history.Seen{Session: session}}
	api := client.NewAPI(w.http, g.url, w.keys[tenant])
	limit := max(time.Until(until), time.Second)
	err := client.Poll(ctx, 50*time.Millisecond, limit, func(ctx context.Context) (string, bool) {
		e.At = w.recorder.Now()
		r, err := api.Session(ctx, session)
		switch {
		case client.StatusOf(err) == 404:
			e.Seen, e.Problem = history.Seen{Session: session, Absent: true}, ""
			return "", true
		case err != nil:
			e.Problem = err.Error()
			return e.Problem, false
		}
		e.Seen, e.Problem = one(r), ""
		return fmt.Sprintf("%+v", r), r.Status != "starting" && (r.Status != "running" || r.PodStatus == "ready")
	})
	if err != nil && e.Problem == "" {
		w.Log("%s/%s on %s: %v", e.Tenant, session, g.name, err) // the check says what is wrong with it
	}
	w.recorder.Add(history.Entry{End: &e})
	return e
}

// podsAtRest waits until what runs has one pod and all else none, and records
// what has not.
func (w *world) podsAtRest(ctx context.Context, runs map[string]history.End) error {
	var found []history.Entry
	err := client.Poll(ctx, 100*time.Millisecond, restLimit, func(ctx context.Context) (string, bool) {
		pods, err := w.kube.CoreV1().Pods(w.SandboxNamespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err.Error(), false
		}
		found = nil
		count := map[string]int{}
		for i := range pods.Items {
			record := pods.Items[i].Labels[kube.LabelRecord]
			count[record]++
			if _, ok := runs[record]; !ok || count[record] > 1 {
				found = append(found, history.Entry{Left: &history.Left{Kind: "Pod of what does not run, or a second one", Name: pods.Items[i].Name}})
			}
		}
		for record, e := range runs {
			if e.Status == "running" && count[record] == 0 {
				e.Problem = "it runs, and has no pod"
				found = append(found, history.Entry{End: &e})
			}
		}
		return fmt.Sprintf("%d sessions have not the pods that they should have", len(found)), len(found) == 0
	})
	if err != nil && found == nil {
		return err
	}
	for _, e := range found {
		w.recorder.Add(e)
	}
	return nil
}

// stop stops a session, as a client that asks until it knows.
func (w *world) stop(ctx context.Context, tenant int, session string) error {
	g := w.gateways[0]
	err := client.Poll(ctx, 100*time.Millisecond, restLimit, func(ctx context.Context) (string, bool) {
		o := w.ask(ctx, request{client: "last", gateway: g, tenant: tenant, verb: history.Session, session: session})
		if o.Outcome != history.OK || o.Seen[0].Status == "stopped" {
			return o.Problem, o.Outcome == history.Absent || o.Outcome == history.OK
		}
		s := w.ask(ctx, request{client: "last", gateway: g, tenant: tenant, verb: history.Stop, session: session, id: o.Seen[0].RuntimeID})
		return s.Problem, s.Outcome == history.OK
	})
	if err != nil {
		return fmt.Errorf("stop %s: %w", session, err)
	}
	return nil
}

// left waits until nothing is left, and records what is.
func (w *world) left(ctx context.Context) error {
	var found []history.Left
	err := client.Poll(ctx, time.Second, goneLimit, func(ctx context.Context) (seen string, done bool) {
		var err error
		if found, err = w.objects(ctx); err != nil {
			return err.Error(), false
		}
		return fmt.Sprintf("%+v", found), len(found) == 0
	})
	if err != nil && found == nil {
		return err
	}
	for i := range found {
		w.recorder.Add(history.Entry{Left: &found[i]})
	}
	return nil
}

// objects are all that sandboxes have in Kubernetes, and the keys of their views.
func (w *world) objects(ctx context.Context) (out []history.Left, err error) {
	core, sandboxes := w.kube.CoreV1(), metav1.ListOptions{}
	pods, podErr := core.Pods(w.SandboxNamespace).List(ctx, sandboxes)
	volumes, volumeErr := core.PersistentVolumeClaims(w.SandboxNamespace).List(ctx, sandboxes)
	records, recordErr := core.Secrets(w.SandboxNamespace).List(ctx, metav1.ListOptions{LabelSelector: kube.RecordSelector})
	if err := errors.Join(podErr, volumeErr, recordErr); err != nil {
		return nil, err
	}
	for i := range pods.Items {
		out = append(out, history.Left{Kind: "Pod", Name: pods.Items[i].Name})
	}
	for i := range volumes.Items {
		out = append(out, history.Left{Kind: "PersistentVolumeClaim", Name: volumes.Items[i].Name})
	}
	for i := range records.Items {
		out = append(out, history.Left{Kind: "Secret", Name: records.Items[i].Name})
	}
	for _, g := range w.gateways {
		for tenant := range tenants {
			all, err := client.NewAPI(w.http, g.url, w.keys[tenant]).Batch(ctx, allSessions()...)
			if err != nil {
				return nil, err
			}
			for i, r := range all {
				if r != nil {
					out = append(out, history.Left{Kind: "view on " + g.name, Name: contract.ViewKey(tenantName(tenant), sessionName(i))})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b history.Left) int { return strings.Compare(a.Kind+a.Name, b.Kind+b.Name) })
	return out, nil
}
