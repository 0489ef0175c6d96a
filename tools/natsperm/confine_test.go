package natsperm_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/conf"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
)

// The subject of a create request is all that permissions see. The server holds
// the request's body against it, so a subscriber cannot ask for another tenant's
// events under its own tenant's subject.
func TestSubscriberCannotWidenItsFilter(t *testing.T) {
	t.Parallel()
	c := subscriberOn(t)
	subject := "$JS.API.CONSUMER.CREATE." + contract.EventStream + ".subscriber." + subscriberConsumer().FilterSubject
	for name, change := range map[string]func(*jetstream.ConsumerConfig){
		"another tenant's filter": func(cc *jetstream.ConsumerConfig) { cc.FilterSubject = "sandbar.event.v1.other.>" },
		"no filter":               func(cc *jetstream.ConsumerConfig) { cc.FilterSubject = "" },
		"a list of filters": func(cc *jetstream.ConsumerConfig) {
			cc.FilterSubject, cc.FilterSubjects = "", []string{"sandbar.event.v1.other.>"}
		},
		"a filter and a list": func(cc *jetstream.ConsumerConfig) { cc.FilterSubjects = []string{"sandbar.event.v1.other.>"} },
		"another's name":      func(cc *jetstream.ConsumerConfig) { cc.Durable = "other" },
	} {
		t.Run(name, func(t *testing.T) {
			cc := subscriberConsumer()
			change(&cc)
			if got := create(t, c, subject, contract.EventStream, cc); got == nil {
				t.Fatal("the server made the consumer")
			}
		})
	}
	t.Run("another stream", func(t *testing.T) {
		if got := create(t, c, subject, contract.CommandStream, subscriberConsumer()); got == nil {
			t.Fatal("the server made the consumer")
		}
	})
	t.Run("as it should be", func(t *testing.T) {
		if got := create(t, c, subject, contract.EventStream, subscriberConsumer()); got != nil {
			t.Fatal(got)
		}
	})
}

// The comment in nats.conf on what subjects cannot say, as a fact: if a later
// server closes this, the comment goes.
func TestRepliesGoWhereTheAskerSays(t *testing.T) {
	t.Parallel()
	c := subscriberOn(t)
	if _, err := c.JS.CreateOrUpdateConsumer(t.Context(), contract.EventStream, subscriberConsumer()); err != nil {
		t.Fatal(err)
	}
	err := c.PublishMsg(&nats.Msg{
		Subject: "$JS.API.CONSUMER.INFO." + contract.EventStream + ".subscriber", Reply: "_INBOX_gateway.stolen",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := roundTrip(c); err != nil {
		t.Fatal(err)
	}
	if err := c.LastError(); err != nil {
		t.Fatalf("the server looks at the reply subject now: %v", err)
	}
}

// A password as the comment in nats.conf makes it stays a string.
func TestPasswordsStayStrings(t *testing.T) {
	for range 2000 {
		p := "p" + strings.ToLower(nuid.Next())
		t.Setenv("NATS_SOME_PASSWORD", p)
		m, err := conf.Parse("users: [ { password: $NATS_SOME_PASSWORD } ]")
		if err != nil {
			t.Fatal(err)
		}
		got := m["users"].([]any)[0].(map[string]any)["password"]
		if got != p {
			t.Fatalf("%q became %T %v", p, got, got)
		}
	}
}

// Host, port and folder come from the environment, too.
func TestSettingsComeFromTheEnvironment(t *testing.T) {
	t.Setenv("NATS_HOST", "0.0.0.0")
	t.Setenv("NATS_PORT", "4299")
	t.Setenv("NATS_STORE_DIR", "/data/jetstream")
	opts, err := server.ProcessConfigFile(confFile)
	if err != nil {
		t.Fatal(err)
	}
	if opts.Host != "0.0.0.0" || opts.Port != 4299 || opts.StoreDir != "/data/jetstream" || !opts.JetStream {
		t.Errorf("host %s, port %d, store %s, JetStream %v", opts.Host, opts.Port, opts.StoreDir, opts.JetStream)
	}
	if opts.MaxPayload < contract.MaxMessage {
		t.Errorf("max_payload %d is below a message's %d", opts.MaxPayload, contract.MaxMessage)
	}
}

// Nobody gets in without a password.
func TestNoAnonymous(t *testing.T) {
	t.Parallel()
	url := startServer(t, confFile)
	for name, opt := range map[string]nats.Option{
		"no user":        nats.Name("nobody"),
		"wrong password": nats.UserInfo("gateway", "wrong"),
		"unknown user":   nats.UserInfo("root", password("gateway")),
	} {
		if c, err := nats.Connect(url, opt); err == nil {
			c.Close()
			t.Errorf("%s is let in", name)
		}
	}
}

func subscriberOn(t *testing.T) *natsx.Conn {
	t.Helper()
	url := startServer(t, confFile)
	denied := func(err error) { t.Error(err) }
	if _, err := connect(t, url, "provisioner", denied).EnsureCommands(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := connect(t, url, "watcher", denied).EnsureViews(t.Context()); err != nil {
		t.Fatal(err)
	}
	return connect(t, url, "subscriber", denied)
}

// create sends a create request as it is, which the client library would not,
// and returns the server's error.
func create(t *testing.T, c *natsx.Conn, subject, stream string, cc jetstream.ConsumerConfig) error {
	t.Helper()
	body, err := json.Marshal(map[string]any{"stream_name": stream, "config": cc})
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Request(subject, body, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Error == nil {
		return nil
	}
	return answer.Error
}
