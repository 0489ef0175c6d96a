package gateway_test

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/faultproxy"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// slack is for a machine that others use too.
const slack = time.Second

// atOnce is how soon a change is refused for which there is no way: the gateway
// waits a second for one to come back. promised is how soon all are answered.
const (
	atOnce   = time.Second + slack
	promised = 10*time.Second + slack
)

// TestCutOffFromNATS: a gateway that has no NATS refuses changes within a second,
// says what it knows with its age, and works again when the network does. Where
// nobody tells it, because nothing arrives any more in both directions or in one, it
// finds out by itself within seconds; what was on its way then ends within the
// deadline.
func TestCutOffFromNATS(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		mode    faultproxy.Mode
		noticed time.Duration // from when on changes are refused at once
	}{
		{"closed", faultproxy.Cut, 200 * time.Millisecond},
		{"silent", faultproxy.HalfOpen, 5 * time.Second}, // two pings of a provisioner go unanswered
		{"deaf", faultproxy.Deaf, 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := startFleet(t)
			f.serve()
			l := f.line()
			g := gatewayAt(t, "nats://"+l.Address()).ready()
			o := g.want(200, "key-plain", "POST", "/start", startBody("s"))
			l.Set(c.mode)
			since := time.Now()
			noticed := g.refusedAtOnce(since)
			t.Logf("changes were refused at once after %s", noticed.Round(time.Millisecond))
			if noticed > c.noticed+atOnce {
				t.Errorf("changes were refused at once after %s", noticed)
			}
			if got := g.want(503, "key-plain", "POST", "/pause", idBody(o)); got.text("error") != string(sandbox.CodeUnavailable) {
				t.Errorf("pause: %v", got)
			}
			g.want(200, "key-plain", "GET", "/sessions/s", "")
			g.want(200, "key-plain", "GET", "/runtime/"+o.text("runtime_id"), "")
			g.want(503, "key-plain", "GET", "/sessions/none", "")
			g.aged(since)
			l.Set(faultproxy.Pass)
			g.ready()
			g.acceptsAgain(idBody(o))
		})
	}
}

// TestNoProvisionerIsNoticed: NATS is there, and nobody works.
func TestNoProvisionerIsNoticed(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	f.serve()
	g := f.gateway().ready()
	o := g.want(200, "key-plain", "POST", "/start", startBody("s"))
	if err := f.announced.Stop(); err != nil {
		t.Fatal(err)
	}
	if noticed := g.refusedAtOnce(time.Now()); noticed > 4*time.Second+atOnce {
		t.Errorf("changes were refused at once after %s", noticed)
	}
	g.want(200, "key-plain", "GET", "/sessions/s", "")
	if _, _, header := g.do("key-plain", "GET", "/list", ""); header.Get("Sandbar-View-Age") != "" {
		t.Errorf("the list has the age %s, though the views are followed", header.Get("Sandbar-View-Age"))
	}
	if _, err := f.conn.Announce("provisioner"); err != nil {
		t.Fatal(err)
	}
	g.acceptsAgain(idBody(o))
}

// TestJetStreamIsDisabled: NATS lives and stores nothing any more, as it does after
// an error of its disk. Changes are refused, the first once the time is over in
// which a queue is made anew, all after it at once; reads go on; and all works again
// with the store.
func TestJetStreamIsDisabled(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	f.serve()
	g := f.gateway().ready()
	o := g.want(200, "key-plain", "POST", "/start", startBody("s"))
	if err := f.nats.ShutdownJetStream(); err != nil {
		t.Fatal(err)
	}
	since := time.Now()
	const rebuild = 5 * time.Second
	for n := range 4 {
		begin := time.Now()
		if got := g.want(503, "key-plain", "POST", "/pause", idBody(o)); got.text("error") != string(sandbox.CodeUnavailable) {
			t.Errorf("pause: %v", got)
		}
		if took := time.Since(begin); took > atOnce && n > 0 || took > rebuild+atOnce {
			t.Errorf("change %d was refused after %s", n, took)
		}
	}
	g.want(200, "key-plain", "GET", "/sessions/s", "")
	g.want(503, "key-plain", "GET", "/sessions/none", "")
	g.aged(since)
	f.restart()
	g.acceptsAgain(idBody(o))
}

// TestALostReplyIsNotWaitedFor: the connection breaks while a command is worked on,
// and the reply goes nowhere. The view that comes by the new connection is the
// answer, long before the deadline.
func TestALostReplyIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	f.before = func(c sandbox.Command) {
		if c.SessionID == "lost" {
			f.disconnect("sandbar-gateway")
		}
	}
	f.serve()
	g := f.gateway().ready()
	begin := time.Now()
	if o := g.want(200, "key-plain", "POST", "/start", startBody("lost")); o.text("status") != "starting" {
		t.Errorf("%v", o)
	}
	if took := time.Since(begin); took > 4*time.Second+slack {
		t.Errorf("it was answered after %s", took)
	}
}

// refusedAtOnce asks for a change every 100 ms until one is refused at once, and
// returns when that was asked for. Each answer says that nothing was done, or that
// it is not known, and comes within what clients are promised.
func (c *client) refusedAtOnce(since time.Time) time.Duration {
	c.t.Helper()
	found := make(chan time.Duration, 1)
	var all sync.WaitGroup
	defer all.Wait()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(15 * time.Second)
	for n := 0; ; n++ {
		all.Go(func() {
			begin := time.Now()
			status, o, _ := c.do("key-plain", "POST", "/start", startBody(fmt.Sprint("refused-", n)))
			took := time.Since(begin)
			if status != http.StatusOK && status != http.StatusServiceUnavailable && status != http.StatusGatewayTimeout || took > promised {
				c.t.Errorf("a start was answered %d after %s: %v", status, took, o)
			}
			if status == http.StatusServiceUnavailable && took <= atOnce {
				select {
				case found <- begin.Sub(since):
				default:
				}
			}
		})
		select {
		case noticed := <-found:
			return noticed
		case <-tick.C:
		case <-limit:
			c.t.Fatal("no start is refused at once")
		}
	}
}

// aged wants lists that say how old they are, and get older.
func (c *client) aged(since time.Time) {
	c.t.Helper()
	last := -1.0
	for range 3 {
		status, list, header := c.do("key-plain", "GET", "/list", "")
		age, err := strconv.ParseFloat(header.Get("Sandbar-View-Age"), 64)
		if status != 200 || err != nil || age < last || time.Duration(age)*time.Millisecond > time.Since(since)+3*time.Second {
			c.t.Errorf("list: %d %v %v, after an age of %v", status, list, header, last)
		}
		last = age
	}
}

// acceptsAgain pauses, once that is accepted.
func (c *client) acceptsAgain(body string) {
	c.t.Helper()
	for end := time.Now().Add(15 * time.Second); ; {
		status, o, _ := c.do("key-plain", "POST", "/pause", body)
		if status == http.StatusOK {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("changes are not accepted again: %d %v", status, o)
		}
	}
}
