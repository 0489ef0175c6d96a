package robustness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/pkg/faultproxy"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/plan"
)

const (
	// wellWithin is how long after a fault everything may take to be well: a lease,
	// a dead connection that is noticed, a watch that begins anew, on a loaded machine.
	wellWithin = time.Minute
	// underWay is for what a client has asked for while all became well.
	underWay = time.Second
	// endLimit is above what a service takes to drain, a lame duck to let everybody go, and
	// an API server to be back.
	endLimit = 40 * time.Second
)

// round makes the faults of a round at the same time, heals them, and waits until
// all is well. Its error is that something could not be made or healed.
func (w *world) round(ctx context.Context, n int, r plan.Round) error {
	done := make([]history.Fault, len(r.Faults))
	errs := make([]error, len(r.Faults))
	var all sync.WaitGroup
	for i, f := range r.Faults {
		all.Go(func() {
			w.Log("round %d at %s: %s %s %s for %s", n, w.recorder.Now().Round(time.Second), f.Kind, f.Target, f.Point, f.Hold)
			done[i] = history.Fault{Round: n, Kind: string(f.Kind), Target: f.Target, Begin: w.recorder.Now()}
			err := w.make(ctx, n, f)
			if errors.Is(err, errNotReached) { // nothing but a restart
				done[i].Kind += ", not reached"
			} else {
				errs[i] = err
			}
			done[i].Healed = w.recorder.Now()
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	problem := ""
	if err := w.well(ctx, time.Now()); err != nil {
		if problem = err.Error(); ctx.Err() != nil {
			return err
		}
		if err := w.revive(ctx); err != nil {
			return err
		}
	}
	wait(ctx, underWay)
	for i := range done {
		done[i].Calm, done[i].Problem = w.recorder.Now(), problem
		w.recorder.Add(history.Entry{Fault: &done[i]})
	}
	return nil
}

// make breaks one thing and heals it again, also where ctx ends in between.
func (w *world) make(ctx context.Context, n int, f plan.Fault) error {
	whole := context.WithoutCancel(ctx)
	switch f.Kind {
	case plan.Kill:
		return w.away(ctx, f, w.Kill(f.Target))
	case plan.Restart:
		return w.away(ctx, f, w.endItself(whole, f.Target, unix.SIGTERM))
	case plan.Crash, plan.Hang, plan.LostAnswer:
		return w.atPoint(ctx, n, f)
	case plan.Freeze, plan.NATSFreeze:
		if err := w.Signal(f.Target, unix.SIGSTOP); err != nil {
			return err
		}
		wait(ctx, f.Hold)
		return w.Signal(f.Target, unix.SIGCONT)
	case plan.NATSRestart, plan.NATSLameDuck:
		with := map[plan.Kind]unix.Signal{plan.NATSRestart: unix.SIGTERM, plan.NATSLameDuck: unix.SIGUSR2}
		if err := w.endItself(whole, "nats", with[f.Kind]); err != nil {
			return err
		}
		return w.StartNATS(whole)
	case plan.NATSKill, plan.NATSEmptied:
		if err := w.Kill("nats"); err != nil {
			return err
		}
		if f.Kind == plan.NATSEmptied {
			if err := w.WipeNATS(); err != nil {
				return err
			}
		}
		wait(ctx, f.Hold)
		return w.StartNATS(whole)
	case plan.APIFreeze:
		return w.freezeAPI(ctx, f)
	case plan.APIKill:
		again, err := w.Stack.Cluster.Kill(f.Target)
		if err != nil {
			return err
		}
		wait(ctx, f.Hold)
		return again()
	case plan.PodsDeleted:
		return w.deletePods(whole, f.Nth)
	case plan.Cut, plan.Slow, plan.HalfOpen, plan.Deaf:
		mode := map[plan.Kind]faultproxy.Mode{plan.Cut: faultproxy.Cut, plan.Slow: faultproxy.Slow, plan.HalfOpen: faultproxy.HalfOpen, plan.Deaf: faultproxy.Deaf}
		w.proxies[f.Target].Set(mode[f.Kind])
		wait(ctx, f.Hold)
		w.proxies[f.Target].Set(faultproxy.Pass)
		return nil
	}
	return fmt.Errorf("unknown fault %q", f.Kind)
}

// away leaves a service that has ended away for a while.
func (w *world) away(ctx context.Context, f plan.Fault, ended error) error {
	if ended != nil {
		return ended
	}
	w.newLife(f.Target)
	wait(ctx, f.Hold)
	return w.StartService(f.Target)
}

// newLife: what answers from now on is another process.
func (w *world) newLife(name string) {
	for _, g := range w.gateways {
		if g.name == name {
			g.life.Add(1)
		}
	}
}

// endItself tells a process to end, and waits until it has.
func (w *world) endItself(ctx context.Context, name string, with unix.Signal) error {
	w.newLife(name) // one that drains
	if err := w.Signal(name, with); err != nil {
		return err
	}
	return client.Poll(ctx, 20*time.Millisecond, endLimit, func(context.Context) (string, bool) {
		return name + " runs", !w.Running(name)
	})
}

// errNotReached is a service that did not come by its point in time.
var errNotReached = errors.New("the point was not reached")

// reached is how long it may take until a service comes by a point: it starts first, and
// a watcher waits for the lease.
const reached = 10 * time.Second

// atPoint starts a service anew so that something happens to it at a failpoint. One that
// is to crash is started again, without the point; if it did not come there it is killed.
// Others go on; what has not happened to one by then will not.
//
// Nothing happens to a watcher that does not lead: the others stand still meanwhile.
func (w *world) atPoint(ctx context.Context, n int, f plan.Fault) error {
	if err := w.Kill(f.Target); err != nil {
		return err
	}
	what := map[plan.Kind]string{plan.Crash: "crash", plan.Hang: "hang", plan.LostAnswer: "error"}[f.Kind]
	once := w.once(n, f.Target, f.Point)
	err := w.StartService(f.Target, fmt.Sprintf("SANDBAR_FAILPOINT=%s:%d=%s", f.Point, f.Nth, what),
		"SANDBAR_FAILPOINT_ONCE="+once, "SANDBAR_FAILPOINT_HANG="+f.Hold.String())
	if err != nil {
		return err
	}
	goOn, err := w.standStill(w.othersThatLead(f.Target))
	if err != nil {
		return err
	}
	_ = client.Poll(ctx, 20*time.Millisecond, reached, func(context.Context) (string, bool) { // it need not
		_, err := os.Stat(once)
		return "", err == nil
	})
	if err := goOn(); err != nil {
		return err
	}
	file, err := os.OpenFile(once, os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		err = errors.Join(errNotReached, file.Close())
	case errors.Is(err, os.ErrExist):
		err = nil
	default:
		return err
	}
	switch f.Kind {
	case plan.Crash:
		if err := w.Kill(f.Target); err != nil && w.Running(f.Target) {
			return err
		}
		if failed := w.StartService(f.Target); failed != nil {
			return failed
		}
	case plan.Hang:
		if err == nil {
			wait(ctx, f.Hold)
		}
	default: // its answer was lost
	}
	return err
}

// othersThatLead are those that could lead in a watcher's place.
func (w *world) othersThatLead(watcher string) (names []string) {
	if plan.KindOf(watcher) != "watcher" {
		return nil
	}
	for _, other := range w.Of("watcher") {
		if other.Name != watcher {
			names = append(names, other.Name)
		}
	}
	return names
}

// standStill stops services until goOn. Another fault of the round may have ended one.
func (w *world) standStill(names []string) (goOn func() error, err error) {
	signal := func(what unix.Signal) error {
		var errs []error
		for _, name := range names {
			if err := w.Signal(name, what); err != nil && w.Running(name) {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	}
	goOn = func() error { return signal(unix.SIGCONT) }
	if err := signal(unix.SIGSTOP); err != nil {
		return nil, errors.Join(err, goOn())
	}
	return goOn, nil
}

func (w *world) freezeAPI(ctx context.Context, f plan.Fault) error {
	pid, err := w.Stack.Cluster.Pid(f.Target)
	if err != nil {
		return err
	}
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		return err
	}
	wait(ctx, f.Hold)
	return unix.Kill(pid, unix.SIGCONT)
}

// deletePods takes some pods away as an administrator does who will not wait:
// every other one without any grace. The other fault of the round may be that no API
// server is there.
func (w *world) deletePods(ctx context.Context, n int) error {
	again := func(what func(ctx context.Context) error) error {
		return client.Poll(ctx, 100*time.Millisecond, endLimit, func(ctx context.Context) (string, bool) {
			err := what(ctx)
			return fmt.Sprint(err), gone(err)
		})
	}
	api := w.kube.CoreV1().Pods(w.SandboxNamespace)
	var pods *corev1.PodList
	err := again(func(ctx context.Context) (err error) {
		pods, err = api.List(ctx, metav1.ListOptions{})
		return err
	})
	if err != nil {
		return err
	}
	for i := range min(n, len(pods.Items)) {
		var o metav1.DeleteOptions
		if i%2 == 0 {
			o.GracePeriodSeconds = new(int64)
		}
		if err := again(func(ctx context.Context) error { return api.Delete(ctx, pods.Items[i].Name, o) }); err != nil {
			return err
		}
	}
	return nil
}
