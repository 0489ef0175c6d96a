//go:build system

package system_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// TestNATSRestartsUnderLoad: NATS ends, gently and not, while sandboxes are started
// and stopped, and comes back with its store. What was accepted exists, what was
// stopped is gone, and nothing is there twice.
func TestNATSRestartsUnderLoad(t *testing.T) {
	t.Parallel()
	r := newRig(t, "natsload", stack.Options{Gateways: 2, Provisioners: 2, Watchers: 2, Settings: []string{noPurge}})
	for _, c := range []struct {
		name   string
		signal unix.Signal
	}{
		{"SIGTERM", unix.SIGTERM},
		{"SIGKILL", unix.SIGKILL},
		// Ten seconds without JetStream on connections that stay, and one closed after the other.
		{"lame-duck", unix.SIGUSR2},
	} {
		load := r.startAndStop(t, c.name)
		load.waitAnswers(t, 20)
		if err := r.Signal("nats", c.signal); err != nil {
			t.Fatal(err)
		}
		if err := r.waitEnded(t, "nats"); err != nil {
			t.Fatal(err)
		}
		load.waitRefused(t)
		back := time.Now()
		if err := r.StartNATS(t.Context()); err != nil {
			t.Fatal(err)
		}
		load.waitAnswers(t, 1)
		const soon = 10 * time.Second // 5 s by the fault's own invariant, and two cores that others use too
		if took := time.Since(back); took > soon {
			t.Errorf("%s: starts were answered again %s after NATS was back", c.name, took.Round(time.Millisecond))
		}
		load.waitAnswers(t, 9)
		load.end(t)
		t.Logf("%s: %d changes accepted, %d refused, %d of unknown outcome", c.name, load.accepted, load.refused, load.unknown)
	}
}

// TestNATSIsSilent: NATS keeps its connections and says nothing, as behind a broken
// network. That is noticed, reads go on, and changes are refused at once.
func TestNATSIsSilent(t *testing.T) {
	t.Parallel()
	r := newRig(t, "silent", stack.Options{Gateways: 2, Settings: []string{noPurge}})
	live := map[string]string{"runs": r.running(t, "runs").Status, "sleeps": r.paused(t, "sleeps").Status}
	r.waitDrained(t, r.bus(t, "provisioner"))
	readers := r.ask(t, live)
	if err := r.Signal("nats", unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	silent := time.Now()
	var noticed time.Duration
	waitFor(t, "a start is refused at once", func(ctx context.Context) (string, bool) {
		began := time.Now()
		_, err := r.api(0).Start(ctx, body(t, "refused"))
		noticed = time.Since(silent)
		atOnce := client.StatusOf(err) == http.StatusServiceUnavailable && time.Since(began) < 2*time.Second
		return fmt.Sprintf("after %s: %v", time.Since(began), err), atOnce
	})
	t.Logf("changes were refused at once %s after NATS fell silent", noticed.Round(10*time.Millisecond))
	const within = 15 * time.Second // a start that was sent before has its 8 s
	if noticed > within {
		t.Errorf("a silent NATS was noticed after %s", noticed)
	}
	if err := r.Signal("nats", unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if answers, unavailable := readers.end(t); unavailable > 0 {
		t.Errorf("%d of %d reads were 503", unavailable, answers)
	}
	waitFor(t, "starts are accepted again", func(ctx context.Context) (string, bool) {
		_, err := r.api(1).Start(ctx, body(t, "afterwards"))
		return fmt.Sprint(err), err == nil
	})
	waitStatus(t, r.api(0), "afterwards", "running")
}

// load starts and stops sandboxes, each worker one after the other.
type load struct {
	rig    *rig
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu                         sync.Mutex
	accepted, refused, unknown int
	wrong                      []error
	kept                       map[string]string // session → runtime id of what was accepted and not stopped
	stopped                    []client.Runtime  // what was told to be stopped
	doubtful                   []string          // sessions of which nothing is known
	odd                        []answer          // all but the quick yes
	quick                      time.Duration     // what a yes takes at most; 0: not known yet
	slowest                    time.Duration     // of the yes until then
}

// answer is one that was no, unknown, or slow.
type answer struct {
	at   time.Time // when it came
	took time.Duration
	err  error
}

// quick is what a change takes at most where nothing is wrong, on two cores that
// others use too; where they are used so much that it takes longer before a fault
// already, twice as long as that.
const quick = 2 * time.Second

const loaders = 4

func (r *rig) startAndStop(t *testing.T, name string) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{rig: r, cancel: cancel, kept: map[string]string{}}
	for w := range loaders {
		l.all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				l.live(context.WithoutCancel(ctx), t, fmt.Sprintf("%s-%d-%d", name, w, i), w, i%2 == 0)
			}
		})
	}
	t.Cleanup(func() { cancel(); l.all.Wait() })
	return l
}

// live starts a session, and stops it again or leaves it.
func (l *load) live(ctx context.Context, t *testing.T, session string, n int, stop bool) {
	api := l.rig.api(n % 2)
	began := time.Now()
	rt, err := api.Start(ctx, body(t, session))
	if !l.note(session, began, err) {
		<-time.After(pollEvery) // refusals come at once
		return
	}
	if !stop {
		l.mu.Lock()
		l.kept[session] = rt.RuntimeID
		l.mu.Unlock()
		return
	}
	began = time.Now()
	if l.note(session, began, api.Stop(ctx, rt.RuntimeID)) {
		l.mu.Lock()
		l.stopped = append(l.stopped, rt)
		l.mu.Unlock()
	}
}

// note counts an answer and says whether it was a yes.
func (l *load) note(session string, began time.Time, err error) bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	took := now.Sub(began)
	if l.quick == 0 && err == nil {
		l.slowest = max(l.slowest, took)
	} else if err != nil || took > l.quick {
		l.odd = append(l.odd, answer{now, took, err})
	}
	switch status := client.StatusOf(err); {
	case err == nil:
		l.accepted++
	case status == http.StatusServiceUnavailable:
		l.refused++
	case status == http.StatusGatewayTimeout:
		l.unknown++
		l.doubtful = append(l.doubtful, session)
	default:
		l.wrong = append(l.wrong, fmt.Errorf("%s: %w", session, err))
	}
	return err == nil
}

// measure says that what was seen until now is how it is without a fault.
func (l *load) measure(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.quick = max(quick, 2*l.slowest)
	t.Logf("without a fault an answer took %s at most", l.slowest.Round(10*time.Millisecond))
}

// calm waits until no answer was odd for as long as a fault may be felt after its
// end, and fails if one was to what was asked too late. What was asked during the
// fault may take its whole deadline.
func (l *load) calm(t *testing.T, over time.Time, limit time.Duration) {
	t.Helper()
	last, asked := over, over // when the last odd answer came, and when what it answers was asked
	waitFor(t, "changes are answered as before", func(context.Context) (string, bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, a := range l.odd {
			if a.at.After(last) {
				last = a.at
			}
			if begun := a.at.Add(-a.took); begun.After(asked) {
				asked = begun
			}
		}
		return fmt.Sprintf("the last odd answer came %s after the fault", last.Sub(over)), time.Since(last) > l.quick
	})
	t.Logf("the last odd answer came %s after the fault, to what was asked after %s",
		last.Sub(over).Round(10*time.Millisecond), asked.Sub(over).Round(10*time.Millisecond))
	if asked.Sub(over) > limit {
		t.Errorf("changes were answered as before %s after the fault, later than %s", asked.Sub(over), limit)
	}
}

// tell says what the load met.
func (l *load) tell(t *testing.T, began time.Time) {
	t.Helper()
	t.Logf("%d changes accepted, %d refused, %d of unknown outcome", l.accepted, l.refused, l.unknown)
	for _, a := range l.odd {
		t.Logf("after %s, in %s: %v", a.at.Sub(began).Round(10*time.Millisecond), a.took.Round(10*time.Millisecond), a.err)
	}
}

func (l *load) count() (accepted, refused int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted, l.refused
}

func (l *load) waitAnswers(t *testing.T, n int) {
	t.Helper()
	before, _ := l.count()
	waitFor(t, "changes are accepted", func(context.Context) (string, bool) {
		now, refused := l.count()
		return fmt.Sprintf("%d accepted, %d refused", now, refused), now >= before+n
	})
}

func (l *load) waitRefused(t *testing.T) {
	t.Helper()
	_, before := l.count()
	waitFor(t, "changes are refused", func(context.Context) (string, bool) {
		accepted, now := l.count()
		return fmt.Sprintf("%d accepted, %d refused", accepted, now), now > before
	})
}

// notAccepted is how many changes were refused, or never answered.
func (l *load) notAccepted() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused + l.unknown
}

// end stops the load and looks at what is there: the same on both gateways and in
// the cluster.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.cancel()
	l.all.Wait()
	for _, err := range l.wrong {
		t.Errorf("neither yes, nor no, nor unknown: %v", err)
	}
	for session, id := range l.kept {
		for _, api := range l.rig.apis() {
			if rt := waitStatus(t, api, session, "running"); rt.RuntimeID != id {
				t.Errorf("%s was %s and is %s", session, id, rt.RuntimeID)
			}
		}
		l.rig.onePod(t, id)
	}
	for _, rt := range l.stopped {
		l.rig.waitHas(t, rt.RuntimeID)
	}
	for _, session := range l.doubtful {
		rt, err := known(t, l.rig.api(0), session)
		if err == nil && rt.Status != "stopped" {
			err = l.rig.api(0).Stop(t.Context(), rt.RuntimeID)
			l.rig.waitHas(t, rt.RuntimeID)
		}
		if err != nil && client.StatusOf(err) != http.StatusNotFound {
			t.Errorf("%s, whose answer did not come: %v", session, err)
		}
	}
}
