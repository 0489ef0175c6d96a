package natsperm_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

const (
	tenant    = "default"
	record    = "sandbar-record"
	runtimeID = "abcdefghijklmnop"
)

// day is one run of all that the users do, in order, on one server.
type day struct {
	*testing.T

	ctx   context.Context
	conns map[string]*natsx.Conn

	views    map[string]jetstream.KeyWatcher // by user
	activity jetstream.KeyWatcher
	replies  *nats.Subscription
	revision uint64 // of the view that the provisioner wrote
}

// step is one thing that a user does. Its error is the user's.
type step struct {
	user, name string
	do         func(d *day, c *natsx.Conn) error
}

// steps are all that the users do. A permission that no step needs must go.
func steps() []step {
	out := []step{
		{"provisioner", "makes queue, dead letters and consumer", ensureCommands},
		{"provisioner", "finds them made", ensureCommands},
		{"watcher", "makes the buckets and the events", ensureViews},
		{"watcher", "finds them made", ensureViews},
	}
	for _, user := range services {
		out = append(out, step{user, "is a micro service", beService(user)})
	}
	for _, user := range []string{"gateway", "watcher", "router"} {
		out = append(out, step{user, "watches the views", watchViews(user)},
			step{user, "answers a stalled watch", answerStall(contract.ViewStream)})
	}
	return append(out, []step{
		{"watcher", "watches the activity", watchActivity},
		{"watcher", "answers a stalled watch of the activity", answerStall(contract.ActivityStream)},
		{"gateway", "sees provisioners", pingProvisioners},
		{"gateway", "tells other gateways of its floods", tellGateways},
		{"gateway", "waits for replies", subscribeReplies},
		{"gateway", "sends commands", command(sandbox.Start, sandbox.Pause, sandbox.Resume, sandbox.Stop)},
		{"watcher", "sends commands", command(sandbox.Reconcile, sandbox.Purge, sandbox.Pause, sandbox.Stop)},
		{"provisioner", "works the queue off", workQueue},
		{"gateway", "hears the reply", hearReply},
		{"provisioner", "writes a view by compare-and-swap", writeView},
		{"gateway", "sees the view", seeView("gateway")},
		{"router", "sees the view", seeView("router")},
		{"router", "tells of activity", tellActivity},
		{"gateway", "claims a sandbox", claimSandbox},
		{"watcher", "hears of both", hearActivity},
		{"watcher", "reads, writes and purges views", keepViews},
		{"watcher", "publishes events in order", publishEvents},
		{"gateway", "asks for the read index, stops its watch", stopWatch("gateway")},
		{"watcher", "stops its watches", stopWatch("watcher")},
		{"router", "stops its watch", stopWatch("router")},
		{"subscriber", "reads its tenant's events and goes", readEvents},
		{"provisioner", "lets an older queue go on above its past", skipCommands},
		{"watcher", "makes older views anew", remakeViews},
	}...)
}

// runDay lets all users do their work on a server with the configuration in
// path. It ends with the first error or permission violation.
func runDay(t *testing.T, path string) error {
	t.Helper()
	url := startServer(t, path)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	d := &day{T: t, ctx: ctx, conns: map[string]*natsx.Conn{}, views: map[string]jetstream.KeyWatcher{}}
	for _, user := range append([]string{operator}, users...) {
		d.conns[user] = connect(t, url, user, cancel)
	}
	for _, s := range steps() {
		c := d.conns[s.user]
		err := s.do(d, c)
		// Whatever it came to, a violation is the cause.
		if err := roundTrip(c); err != nil {
			return err
		}
		if told := c.LastError(); errors.Is(told, nats.ErrPermissionViolation) {
			err = violation{s.user, told}
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", s.user, s.name, err)
		}
	}
	for user, c := range d.conns {
		if err := roundTrip(c); err != nil {
			return err
		}
		if told := c.LastError(); errors.Is(told, nats.ErrPermissionViolation) {
			return violation{user, told}
		}
	}
	return nil
}

// Every user can do its work, and the server denies nothing meanwhile.
func TestWork(t *testing.T) {
	t.Parallel()
	if err := runDay(t, confFile); err != nil {
		t.Fatal(err)
	}
}

func ensureCommands(d *day, c *natsx.Conn) error {
	_, err := c.EnsureCommands(d.ctx)
	return err
}

func ensureViews(d *day, c *natsx.Conn) error { return c.EnsureViews(d.ctx) }

// beService registers the user's micro service and asks it, as `nats micro` does.
func beService(user string) func(*day, *natsx.Conn) error {
	return func(d *day, c *natsx.Conn) error {
		svc, err := c.Announce(user)
		if err != nil {
			return err
		}
		if err := roundTrip(c); err != nil {
			return err
		}
		for _, subject := range []string{"$SRV.PING." + user, "$SRV.INFO." + user, "$SRV.STATS." + user + "." + svc.Info().ID} {
			if _, err := d.conns[operator].RequestWithContext(d.ctx, subject, nil); err != nil {
				return fmt.Errorf("ask %s: %w", subject, err)
			}
		}
		return nil
	}
}

func watchViews(user string) func(*day, *natsx.Conn) error {
	return func(d *day, c *natsx.Conn) (err error) {
		d.views[user], err = watch(d, c, contract.ViewBucket)
		return err
	}
}

func watchActivity(d *day, c *natsx.Conn) (err error) {
	d.activity, err = watch(d, c, contract.ActivityBucket)
	return err
}

func watch(d *day, c *natsx.Conn, bucket string) (jetstream.KeyWatcher, error) {
	kv, err := c.JS.KeyValue(d.ctx, bucket)
	if err != nil {
		return nil, err
	}
	w, err := kv.WatchAll(d.ctx)
	if err != nil {
		return nil, err
	}
	_, err = next(d, w) // the mark that there is no more
	return w, err
}

// answerStall does what the client library does when a heartbeat says that the
// consumer waits for a flow control answer that was lost. The first answer to
// each request is covered by allow_responses; this one is not.
func answerStall(stream string) func(*day, *natsx.Conn) error {
	return func(_ *day, c *natsx.Conn) error { return c.Publish("$JS.FC."+stream+".consumer.token", nil) }
}

func next(d *day, w jetstream.KeyWatcher) (jetstream.KeyValueEntry, error) {
	select {
	case e := <-w.Updates():
		return e, nil
	case <-d.ctx.Done():
		return nil, context.Cause(d.ctx)
	case <-time.After(5 * time.Second):
		return nil, errors.New("the watch is silent")
	}
}

// tellGateways hears what it tells itself: the others are users like it.
func tellGateways(d *day, c *natsx.Conn) error {
	sub, err := c.SubscribeSync(contract.PaceSubject)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := c.Publish(contract.PaceSubject, nil); err != nil {
		return err
	}
	_, err = sub.NextMsgWithContext(d.ctx)
	return err
}

func pingProvisioners(d *day, c *natsx.Conn) error {
	there, err := c.Present(d.ctx, "provisioner", 5*time.Second)
	if err == nil && !there {
		err = errors.New("no provisioner answers")
	}
	return err
}

func subscribeReplies(d *day, c *natsx.Conn) (err error) {
	d.replies, err = c.SubscribeSync(contract.ReplyWildcard("gateway1"))
	return err
}

func command(verbs ...sandbox.Verb) func(*day, *natsx.Conn) error {
	return func(d *day, c *natsx.Conn) error {
		for _, v := range verbs {
			id := c.Opts.Name + string(v)
			_, err := c.JS.Publish(d.ctx, contract.CommandSubject(v, tenant, record), []byte(v), jetstream.WithMsgID(id))
			if err != nil {
				return fmt.Errorf("publish %s: %w", v, err)
			}
		}
		return nil
	}
}

// workQueue takes what gateway and watcher sent, the last as a poisonous one.
func workQueue(d *day, c *natsx.Conn) error {
	cons, err := c.JS.Consumer(d.ctx, contract.CommandStream, contract.CommandConsumer)
	if err != nil {
		return err
	}
	const sent = 8
	for n := range sent {
		m, err := cons.Next(jetstream.FetchContext(d.ctx))
		if err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
		if err := errors.Join(m.InProgress(), m.InProgress()); err != nil {
			return err
		}
		if n < sent-1 {
			if err := m.DoubleAck(d.ctx); err != nil {
				return fmt.Errorf("ack: %w", err)
			}
			continue
		}
		if _, err := c.JS.Publish(d.ctx, contract.DeadLetterSubject(sandbox.Stop, tenant, record), nil); err != nil {
			return fmt.Errorf("dead letter: %w", err)
		}
		if err := m.TermWithReason("poison"); err != nil {
			return err
		}
	}
	return c.Publish(contract.ReplySubject("gateway1", "command1"), []byte("done"))
}

func skipCommands(d *day, c *natsx.Conn) error {
	skipped, err := c.SkipCommands(d.ctx, 1<<62)
	if err == nil && !skipped {
		err = errors.New("the queue stays behind")
	}
	return err
}

func remakeViews(d *day, c *natsx.Conn) error { return c.RemakeViews(d.ctx) }

func hearReply(d *day, _ *natsx.Conn) error {
	_, err := d.replies.NextMsgWithContext(d.ctx)
	return err
}

func writeView(d *day, c *natsx.Conn) error {
	kv, err := c.JS.KeyValue(d.ctx, contract.ViewBucket)
	if err != nil {
		return err
	}
	key := contract.ViewKey(tenant, record)
	if _, err := kv.Get(d.ctx, key); !errors.Is(err, jetstream.ErrKeyNotFound) {
		return fmt.Errorf("get of an absent key: %w", err)
	}
	first, err := kv.Update(d.ctx, key, []byte("starting"), 0)
	if err != nil {
		return err
	}
	if d.revision, err = kv.Update(d.ctx, key, []byte("running"), first); err != nil {
		return err
	}
	if _, err := kv.Update(d.ctx, key, []byte("late"), first); !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return fmt.Errorf("a stale update: %w", err)
	}
	return nil
}

func seeView(user string) func(*day, *natsx.Conn) error {
	return func(d *day, _ *natsx.Conn) error {
		for {
			e, err := next(d, d.views[user])
			if err != nil {
				return err
			}
			if e.Revision() == d.revision {
				return nil
			}
		}
	}
}

func tellActivity(d *day, c *natsx.Conn) error {
	kv, err := c.JS.KeyValue(d.ctx, contract.ActivityBucket)
	if err != nil {
		return err
	}
	_, err = kv.Put(d.ctx, contract.ViewKey(tenant, record), []byte("now"))
	return err
}

func claimSandbox(d *day, c *natsx.Conn) error {
	_, err := c.JS.Publish(d.ctx, contract.ClaimSubject(tenant, record), []byte("{}"))
	return err
}

func hearActivity(d *day, _ *natsx.Conn) error {
	for range 2 {
		if _, err := next(d, d.activity); err != nil {
			return err
		}
	}
	return nil
}

func keepViews(d *day, c *natsx.Conn) error {
	kv, err := c.JS.KeyValue(d.ctx, contract.ViewBucket)
	if err != nil {
		return err
	}
	if _, err := kv.Put(d.ctx, contract.HeartbeatKey, []byte("{}")); err != nil {
		return fmt.Errorf("heartbeat: %w", err)
	}
	key := contract.ViewKey(tenant, record)
	e, err := kv.Get(d.ctx, key)
	if err != nil {
		return err
	}
	rev, err := kv.Update(d.ctx, key, []byte("stopped"), e.Revision())
	if err != nil {
		return err
	}
	return kv.Purge(d.ctx, key, jetstream.LastRevision(rev), jetstream.PurgeTTL(time.Hour))
}

func publishEvents(d *day, c *natsx.Conn) error {
	var last uint64
	for _, t := range []string{tenant, "other"} {
		last = 0
		for n, kind := range []sandbox.EventType{"ready", "stopped"} {
			ack, err := c.JS.Publish(d.ctx, contract.EventSubject(t, runtimeID, kind), []byte(t),
				jetstream.WithMsgID(fmt.Sprint(t, n)),
				jetstream.WithExpectLastSequenceForSubject(last, contract.EventsOf(t, runtimeID)))
			if err != nil {
				return fmt.Errorf("event %d of %s: %w", n, t, err)
			}
			last = ack.Sequence
		}
	}
	stream, err := c.JS.Stream(d.ctx, contract.EventStream)
	if err != nil {
		return err
	}
	m, err := stream.GetLastMsgForSubject(d.ctx, contract.EventsOf("other", runtimeID))
	if err == nil && m.Sequence != last {
		return fmt.Errorf("the last event is %d, not %d", m.Sequence, last)
	}
	return err
}

func stopWatch(user string) func(*day, *natsx.Conn) error {
	return func(d *day, c *natsx.Conn) error {
		if _, err := c.JS.Stream(d.ctx, contract.ViewStream); err != nil {
			return err
		}
		if user == "watcher" {
			if err := d.activity.Stop(); err != nil {
				return err
			}
		}
		return d.views[user].Stop()
	}
}

func subscriberConsumer() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: "subscriber", AckPolicy: jetstream.AckExplicitPolicy,
		FilterSubject: strings.TrimSuffix(contract.AllEvents, ">") + tenant + ".>",
	}
}

// readEvents gets the events of its tenant and none of another's.
func readEvents(d *day, c *natsx.Conn) error {
	cons, err := c.JS.CreateOrUpdateConsumer(d.ctx, contract.EventStream, subscriberConsumer())
	if err != nil {
		return err
	}
	var got []string
	for range 2 {
		m, err := cons.Next(jetstream.FetchContext(d.ctx))
		if err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
		got = append(got, string(m.Data()))
		if err := errors.Join(m.InProgress(), m.DoubleAck(d.ctx)); err != nil {
			return fmt.Errorf("ack: %w", err)
		}
	}
	info, err := cons.Info(d.ctx)
	if err != nil {
		return err
	}
	if info.NumPending != 0 || !slices.Equal(got, []string{tenant, tenant}) {
		return fmt.Errorf("got %v, and %d more wait", got, info.NumPending)
	}
	return c.JS.DeleteConsumer(d.ctx, contract.EventStream, "subscriber")
}
