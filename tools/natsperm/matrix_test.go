package natsperm_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

const nobody = ""

// rule says which users may publish, or subscribe, to a subject. All others are
// denied.
type rule struct{ subject, allowed string }

var publishRules = []rule{
	{contract.CommandSubject(sandbox.Start, tenant, record), "gateway"},
	{contract.CommandSubject(sandbox.Resume, tenant, record), "gateway"},
	{contract.CommandSubject(sandbox.Pause, tenant, record), "gateway watcher"},
	{contract.CommandSubject(sandbox.Stop, tenant, record), "gateway watcher"},
	{contract.CommandSubject(sandbox.Reconcile, tenant, record), "watcher"},
	{contract.CommandSubject(sandbox.Purge, tenant, record), "watcher"},
	{"sandbar.command.v1.start.default", nobody},
	{"sandbar.command.v2.start.default.x", nobody},
	{contract.ReplySubject("gateway1", "id"), "provisioner"},
	{contract.PaceSubject, "gateway"},
	{contract.EventSubject(tenant, runtimeID, "ready"), "watcher"},
	{contract.DeadLetterSubject(sandbox.Start, tenant, record), "provisioner"},

	{"$KV.sandboxes." + contract.ViewKey(tenant, record), "provisioner watcher"},
	{"$KV.sandboxes." + contract.HeartbeatKey, "watcher"},
	{"$KV.activity." + contract.ViewKey(tenant, record), "router"},
	{contract.ClaimSubject(tenant, record), "gateway"},
	{"$KV.other.key", nobody},

	{"$JS.ACK.SANDBOX_COMMANDS.provisioners.1.1.1.1.1", "provisioner"},
	{"$JS.ACK.SANDBOX_COMMANDS.other.1.1.1.1.1", nobody},
	{"$JS.ACK.SANDBOX_EVENTS.subscriber.1.1.1.1.1", "subscriber"},
	{"$JS.ACK.SANDBOX_EVENTS.other.1.1.1.1.1", nobody},
	{"$JS.FC.KV_sandboxes.a.b", "gateway watcher router"},
	{"$JS.FC.KV_activity.a.b", "watcher"},
	{"$JS.FC.SANDBOX_COMMANDS.a.b", nobody},

	{"$SRV.PING.provisioner", "gateway"},
	{"$SRV.PING", nobody},
	{"$SRV.STATS.gateway", nobody},
	{"_INBOX_gateway.a", nobody},
	{"_INBOX_subscriber.a", nobody},
	{"$SYS.REQ.SERVER.PING", nobody},
	{"$SYS.REQ.USER.INFO", nobody},
	{"anything", nobody},
}

// streams are all there are: who makes one, asks for its state, gets single
// messages of it, and watches it as a bucket.
var streams = []struct{ name, subjects, owner, info, get, readers string }{
	{contract.CommandStream, contract.AllCommands, "provisioner", "provisioner", nobody, nobody},
	{contract.DeadStream, contract.AllDeadLetters, "provisioner", "provisioner", nobody, nobody},
	{contract.EventStream, contract.AllEvents, "watcher", "watcher", "watcher", nobody},
	{contract.ViewStream, "$KV.sandboxes.>", "watcher", "gateway provisioner watcher router", "provisioner watcher", "gateway watcher router"},
	{contract.ActivityStream, "$KV.activity.>", "watcher", "watcher router", nobody, "watcher"},
	{"OTHER", "other.>", nobody, nobody, nobody, nobody},
}

// apiRules are the rules of every request of the JetStream API.
func apiRules() []rule {
	out := []rule{
		{"$JS.API.INFO", nobody}, {"$JS.API.STREAM.NAMES", nobody}, {"$JS.API.STREAM.LIST", nobody},
		{"$JS.API.ACCOUNT.PURGE.$G", nobody}, {"$JS.API.META.LEADER.STEPDOWN", nobody}, {"$JS.API.SERVER.REMOVE", nobody},

		{"$JS.API.CONSUMER.CREATE.SANDBOX_COMMANDS.provisioners", "provisioner"},
		{"$JS.API.CONSUMER.INFO.SANDBOX_COMMANDS.provisioners", "provisioner"},
		{"$JS.API.CONSUMER.MSG.NEXT.SANDBOX_COMMANDS.provisioners", "provisioner"},
		{"$JS.API.CONSUMER.DELETE.SANDBOX_COMMANDS.provisioners", nobody},

		{"$JS.API.CONSUMER.CREATE.SANDBOX_EVENTS.subscriber.sandbar.event.v1.default.>", "subscriber"},
		{"$JS.API.CONSUMER.CREATE.SANDBOX_EVENTS.subscriber.sandbar.event.v1.default.run.ready", "subscriber"},
		{"$JS.API.CONSUMER.CREATE.SANDBOX_EVENTS.subscriber.sandbar.event.v1.>", nobody},
		{"$JS.API.CONSUMER.CREATE.SANDBOX_EVENTS.subscriber.sandbar.event.v1.*.>", nobody},
		{"$JS.API.CONSUMER.CREATE.SANDBOX_EVENTS.subscriber.sandbar.event.v1.other.>", nobody},
		{"$JS.API.CONSUMER.CREATE.SANDBOX_EVENTS.subscriber", nobody},
		{"$JS.API.CONSUMER.INFO.SANDBOX_EVENTS.subscriber", "subscriber"},
		{"$JS.API.CONSUMER.MSG.NEXT.SANDBOX_EVENTS.subscriber", "subscriber"},
		{"$JS.API.CONSUMER.DELETE.SANDBOX_EVENTS.subscriber", "subscriber"},
	}
	for _, s := range streams {
		api := func(request, more, allowed string) rule {
			return rule{"$JS.API." + request + "." + s.name + more, allowed}
		}
		remakes, skips := nobody, nobody // who may empty it
		switch s.name {
		case contract.ViewStream:
			remakes = s.owner
		case contract.CommandStream:
			skips = s.owner
		}
		out = append(out,
			api("STREAM.CREATE", "", s.owner), api("STREAM.UPDATE", "", s.owner),
			api("STREAM.INFO", "", s.info), api("STREAM.MSG.GET", "", s.get),
			api("CONSUMER.CREATE", ".random."+s.subjects, s.readers), api("CONSUMER.DELETE", ".random", s.readers),
			api("STREAM.DELETE", "", remakes), api("STREAM.PURGE", "", skips), api("STREAM.MSG.DELETE", "", nobody),
			api("STREAM.SNAPSHOT", "", nobody), api("STREAM.RESTORE", "", nobody), api("STREAM.LEADER.STEPDOWN", "", nobody),
			api("DIRECT.GET", "", nobody), api("DIRECT.GET", "."+s.subjects, nobody),
			api("CONSUMER.CREATE", "", nobody), api("CONSUMER.CREATE", ".random", nobody),
			api("CONSUMER.CREATE", ".random.>", nobody), api("CONSUMER.DURABLE.CREATE", ".random", nobody),
			api("CONSUMER.INFO", ".random", nobody), api("CONSUMER.MSG.NEXT", ".random", nobody),
			api("CONSUMER.NAMES", "", nobody), api("CONSUMER.LIST", "", nobody),
			api("CONSUMER.PAUSE", ".random", nobody), api("CONSUMER.RESET", ".random", nobody), api("CONSUMER.UNPIN", ".random", nobody),
		)
	}
	return out
}

func subscribeRules() []rule {
	out := []rule{
		{"sandbar.reply.v1.gateway1.*", "gateway"},
		{contract.PaceSubject, "gateway"},
		{contract.AllReplies, nobody}, // wider than any one gateway needs
		{contract.AllCommands, nobody}, {contract.AllEvents, nobody}, {contract.AllDeadLetters, nobody},
		{contract.EventSubject(tenant, runtimeID, "ready"), nobody},
		{"$KV.>", nobody}, {"$KV.sandboxes." + contract.ViewKey(tenant, record), nobody},
		{"$JS.API.>", nobody}, {"$JS.ACK.>", nobody}, {"$JS.EVENT.>", nobody},
		{"_INBOX.>", nobody}, {"_INBOX_*.>", nobody}, {"*.>", nobody}, {">", nobody},
		{"$SRV.>", nobody}, {"$SRV.*", nobody}, {"$SRV.*.*", nobody},
		{"$SRV.PING", strings.Join(services, " ")},
	}
	for _, user := range users {
		out = append(out, rule{"_INBOX_" + user + ".a.*", user})
		if user == "subscriber" {
			continue
		}
		out = append(out, rule{"$SRV.INFO." + user, user}, rule{"$SRV.STATS." + user + ".id", user})
	}
	return out
}

// Every user against every rule.
func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	url := startServer(t, confFile)
	for _, user := range users {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			c := connect(t, url, user, func(error) {})
			publish := func(s string) error { return c.Publish(s, nil) }
			subscribe := func(s string) error { _, err := c.SubscribeSync(s); return err }
			for _, r := range append(publishRules, apiRules()...) {
				check(t, c, user, r, "Publish", publish)
			}
			for _, r := range subscribeRules() {
				check(t, c, user, r, "Subscription", subscribe)
			}
		})
	}
}

func check(t *testing.T, c *natsx.Conn, user string, r rule, kind string, do func(string) error) {
	t.Helper()
	if err := do(r.subject); err != nil {
		t.Fatal(err)
	}
	if err := roundTrip(c); err != nil {
		t.Fatal(err)
	}
	told := c.LastError()
	denied := told != nil && strings.Contains(told.Error(), `Permissions Violation for `+kind+` to "`+r.subject+`"`)
	if want := !slices.Contains(strings.Fields(r.allowed), user); denied != want {
		t.Errorf("%s to %s by %s: denied is %v, want %v", kind, r.subject, user, denied, want)
	}
}
