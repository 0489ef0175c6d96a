//go:build apiserver && failpoints

package provisioner_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/quota"
)

const tenant = "acme"

// shape is what a journey comes to. What a fault must not change is all of it.
type shape struct {
	Desired      sandbox.Desired // "": there is no record
	Generations  int64           // the record's, since before; 0 for a new one
	Incarnations int64
	Keys         int
	Fenced       bool   // the record's last command is this one
	Objects      string // kinds, each as often as it is there
	View         sandbox.Status
	Events       string // what the view has to be told
	Reply        string // what all replies said; "": there was none
	Holds        int    // places of its key that count, once all doubts are over
	Letters      int    // dead ones
}

// state is a sandbox between two commands.
type state struct {
	record *sandbox.Record
	pods   []sandbox.Pod
	shape  shape
}

func (l *lane) state(j *journey) (s state) {
	l.t.Helper()
	ctx, name := l.t.Context(), sandbox.RecordName(tenant, j.session)
	var err error
	s.record, err = l.truth.Record(ctx, name)
	l.must(err)
	var version uint64
	s.pods, version, err = l.truth.Pods(ctx, name)
	l.must(err)
	if version == 0 {
		l.t.Fatal("a list without a version")
	}
	rest, err := l.truth.Objects(ctx, name)
	l.must(err)
	var kinds []string
	for i := range s.pods {
		if !s.record.Wants(s.pods[i].RuntimeID, s.pods[i].Incarnation) {
			l.t.Errorf("the record does not want pod %s", s.pods[i].Name)
		}
		kinds = append(kinds, "Pod")
	}
	for _, o := range rest {
		if !o.Terminating { // a volume waits for its protection's controller
			kinds = append(kinds, o.Kind)
		}
	}
	slices.Sort(kinds)
	s.shape.Objects = strings.Join(kinds, " ")
	if s.record != nil {
		s.shape.Desired = s.record.Desired
	}
	p, err := l.store.Read(ctx, contract.ViewKey(tenant, name))
	l.must(err)
	if p.View == nil {
		return s
	}
	s.shape.View = p.View.Status
	if r := s.record; r != nil && (p.View.Generation != r.Generation || p.View.RuntimeID != r.RuntimeID || p.View.Incarnation != r.Incarnation) {
		l.t.Errorf("the view is of %s, generation %d, incarnation %d; the record of %s, %d, %d",
			p.View.RuntimeID, p.View.Generation, p.View.Incarnation, r.RuntimeID, r.Generation, r.Incarnation)
	}
	var events []string
	for i, e := range p.View.Transitions {
		if e.Number != int64(i+1) || e.RuntimeID != p.View.RuntimeID {
			l.t.Errorf("event %d is %+v", i+1, e)
		}
		events = append(events, string(e.Type))
	}
	s.shape.Events = strings.Join(events, " ")
	return s
}

func (l *lane) limits(j *journey) *sandbox.Limits {
	if l.place == closed {
		return &sandbox.Limits{Key: "closed", Sandboxes: 9}
	}
	return &sandbox.Limits{Key: j.session, Sandboxes: 1}
}

// held is how many places of the journey's key count, as the next start would find.
func (l *lane) held(j *journey) int {
	l.t.Helper()
	limits := *l.limits(j)
	over := time.Now().Add(2 * time.Minute) // when nothing is doubtful any more
	for held := range 3 {
		limits.Sandboxes = held + 1
		probe := quota.Ticket{Record: "probe", Place: sandbox.NewPlace(), Command: 1}
		err := l.places.Take(l.t.Context(), tenant, limits, probe, over)
		var full *sandbox.Error
		if err == nil {
			l.must(l.places.Undo(l.t.Context(), tenant, limits.Key, probe))
			if l.place == closed {
				held-- // the one that the lane was made with
			}
			return held
		}
		if !errors.As(err, &full) {
			l.t.Fatal(err)
		}
	}
	l.t.Error("the key holds more than two places")
	return -1
}

// request is a command on the bus and who waits for its reply.
type request struct {
	sequence uint64
	replies  *nats.Subscription
}

func (l *lane) send(c sandbox.Command) request {
	l.t.Helper()
	c.ID, c.Tenant, c.Deadline = sandbox.NewKey(), tenant, time.Now().Add(sandbox.MaxDeadline)
	subject, body, err := contract.EncodeCommand(c)
	l.must(err)
	return l.publish(subject, body, c.ID, !c.Bound())
}

func (l *lane) publish(subject string, body []byte, id string, waits bool) (r request) {
	l.t.Helper()
	msg := &nats.Msg{Subject: subject, Data: body, Header: nats.Header{}}
	if waits {
		to := contract.ReplySubject("walk", id)
		var err error
		r.replies, err = l.conn.SubscribeSync(to)
		l.must(err)
		l.must(l.conn.Flush())
		msg.Header.Set(contract.HeaderReplyTo, to)
	}
	ack, err := l.conn.JS.PublishMsg(l.t.Context(), msg, jetstream.WithMsgID(id))
	l.must(err)
	r.sequence = ack.Sequence
	return r
}

// command is the journey's.
func (l *lane) command(j *journey, before state) request {
	l.t.Helper()
	c := sandbox.Command{Verb: j.verb, SessionID: j.session}
	switch j.verb {
	case "":
		return l.publish(contract.CommandSubject(sandbox.Start, tenant, sandbox.RecordName(tenant, j.session)), []byte("{"), sandbox.NewKey(), true)
	case sandbox.Start:
		c.Spec, c.Limits = &sandbox.Spec{Image: "registry.test/agent:1", ResourceFactor: 1}, l.limits(j)
	case sandbox.Resume:
		c.RuntimeID, c.Limits, c.RotateKey = before.record.RuntimeID, l.limits(j), true
	case sandbox.Pause, sandbox.Stop:
		c.RuntimeID = before.record.RuntimeID
	case sandbox.Reconcile:
		drift := false
		if c, drift = sandbox.Drift(before.record, before.pods, nil, 0); !drift {
			l.t.Fatalf("no drift: %+v", before.pods)
		}
	case sandbox.Purge:
		c, _, _ = sandbox.PurgeDue(before.record)
	}
	return l.send(c)
}

// drained reports whether no command is left.
func (l *lane) drained(ctx context.Context) bool {
	s, err := l.conn.JS.Stream(ctx, contract.CommandStream)
	return err == nil && s.CachedInfo().State.Msgs == 0
}

// prepare brings sandboxes to where their journeys begin.
func (l *lane) prepare(all []*journey) {
	l.t.Helper()
	p := l.provisioner()
	l.bring(sandbox.Start, all, "started", "unlimited", "paused", "stopped", "bare")
	l.bring(sandbox.Pause, all, "paused")
	l.bring(sandbox.Stop, all, "stopped")
	l.finish(p)
}

// fill leaves no room for another record. The ledger of the key is there.
func (l *lane) fill() {
	l.t.Helper()
	p := l.provisioner()
	l.bring(sandbox.Start, []*journey{{way: &way{before: "first"}, session: "first"}}, "first")
	l.finish(p)
	l.quota(corev1.ResourceSecrets, 2) // its record, and the ledger
}

// bring runs one verb for those whose journey begins at one of these.
func (l *lane) bring(verb sandbox.Verb, all []*journey, from ...string) {
	l.t.Helper()
	for _, j := range all {
		if !slices.Contains(from, j.before) {
			continue
		}
		c := sandbox.Command{Verb: verb, SessionID: j.session}
		if verb != sandbox.Start {
			c.RuntimeID = l.state(j).record.RuntimeID
		} else if c.Spec = (&sandbox.Spec{Image: "registry.test/agent:1", ResourceFactor: 1}); j.before != "unlimited" {
			c.Limits = l.limits(j)
		}
		r := l.send(c)
		defer func() {
			if said := l.replies(r, l.state(j)); said != "accepted" {
				l.t.Fatalf("%s of %s is told %q", verb, j.session, said)
			}
			l.must(r.replies.Unsubscribe())
		}()
	}
	l.until("all are brought there", l.drained)
}

// walk makes one journey and judges it. It returns how many of its faults came.
func (l *lane) walk(j *journey) (hits int) {
	l.t.Helper()
	if j.before == "bare" {
		zero := int64(0)
		for _, p := range l.state(j).pods {
			l.must(l.client.CoreV1().Pods(l.ns).Delete(l.t.Context(), p.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero}))
		}
	}
	before := l.state(j)
	letters := l.letters()
	r := l.command(j, before)
	if r.replies != nil {
		defer func() { _ = r.replies.Unsubscribe() }() // the connection may be gone
	}
	hits = l.live(j)
	if hits == 0 && len(j.faults) > 0 && !slices.Contains(j.racy, j.faults[0].point) {
		l.t.Error("the point was never met")
	}
	after := l.state(j)
	got := after.shape
	if b, a := before.record, after.record; a != nil {
		got.Fenced = a.Fence == r.sequence
		if got.Incarnations, got.Keys = a.Incarnation, a.KeyNumber; b != nil {
			got.Incarnations, got.Keys = a.Incarnation-b.Incarnation, a.KeyNumber-b.KeyNumber
			got.Generations = a.Generation - b.Generation
			if a.RuntimeID != b.RuntimeID || a.UID != b.UID {
				l.t.Errorf("it is another sandbox: %s, before %s", a.RuntimeID, b.RuntimeID)
			}
		}
	}
	got.Reply, got.Holds, got.Letters = l.replies(r, after), l.held(j), l.letters()-letters
	if got != j.end {
		l.t.Errorf("it ends as\n%+v, want\n%+v", got, j.end)
	}
	return hits
}

// live runs provisioners until the command is done.
func (l *lane) live(j *journey) (hits int) {
	l.t.Helper()
	var last []*process
	var happened []func() bool
	for n, f := range j.faults {
		once, now := l.once(j, n)
		happened = append(happened, now)
		env := []string{
			fmt.Sprintf("SANDBAR_FAILPOINT=provisioner/%s=%s", f.point, f.what), "SANDBAR_FAILPOINT_ONCE=" + once,
			// Longer than AckWait: where nobody says that the worker lives, another gets
			// the command meanwhile.
			"SANDBAR_FAILPOINT_HANG=3s",
		}
		last = []*process{l.provisioner(env...)}
		if f.what == "hang" {
			last = append(last, l.provisioner(env...)) // another
		}
		l.until("a provisioner dies, or the command is done", func(ctx context.Context) bool {
			return f.what == "crash" && last[0].ended() || l.drained(ctx)
		})
		if f.what == "crash" && last[0].ended() {
			last = nil
		}
	}
	if last == nil {
		last = []*process{l.provisioner()}
	}
	l.until("the command is done", l.drained)
	l.finish(last...)
	for _, came := range happened {
		if came() {
			hits++
		}
	}
	return hits
}

// replies is what all replies to a request said; they must agree.
func (l *lane) replies(r request, after state) (said string) {
	l.t.Helper()
	if r.replies == nil {
		return ""
	}
	l.must(l.conn.Flush())
	for {
		m, err := r.replies.NextMsg(10 * time.Millisecond) // what was sent is here
		if err != nil {
			return said
		}
		var reply contract.Reply
		l.must(json.Unmarshal(m.Data, &reply))
		now := "refused"
		switch reply.Code {
		case sandbox.CodeQuota, sandbox.CodeOvertaken, sandbox.CodeTimeout:
		case "":
			now = "accepted"
			if v := reply.View; v == nil || after.record == nil || v.RuntimeID != after.record.RuntimeID || v.Generation != after.record.Generation {
				l.t.Errorf("the reply has the view %+v, the record is %+v", reply.View, after.record)
			}
		default:
			l.t.Errorf("it is told %s: %s", reply.Code, reply.Message)
		}
		if said != "" && said != now {
			l.t.Errorf("it is told %q, and then %q", said, now)
		}
		said = now
	}
}

// letters are how many dead ones there are.
func (l *lane) letters() int {
	l.t.Helper()
	s, err := l.conn.JS.Stream(l.t.Context(), contract.DeadStream)
	l.must(err)
	return int(s.CachedInfo().State.Msgs)
}
