package contract_test

import (
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

const runtimeID = "abcdefghijklmnop"

var recordName = sandbox.RecordName("acme", "s")

// matches is NATS' own rule for a pattern and a subject.
func matches(pattern, subject string) bool {
	p, s := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, token := range p {
		switch {
		case token == ">":
			return len(s) > i
		case i >= len(s) || token != "*" && token != s[i]:
			return false
		}
	}
	return len(p) == len(s)
}

func TestSubjectsAreUnderTheirWildcards(t *testing.T) {
	t.Parallel()
	for subject, pattern := range map[string]string{
		contract.CommandSubject(sandbox.Start, "acme", recordName):           contract.AllCommands,
		contract.ReplySubject("inbox", "id"):                                 contract.AllReplies,
		contract.ReplySubject("inbox2", "id"):                                contract.ReplyWildcard("inbox2"),
		contract.EventSubject("acme", runtimeID, sandbox.EventReady):         contract.AllEvents,
		contract.EventSubject("acme", runtimeID, sandbox.EventPaused):        contract.EventsOf("acme", runtimeID),
		contract.DeadLetterSubject(sandbox.Stop, "acme", recordName):         contract.AllDeadLetters,
		"$KV." + contract.ViewBucket + "." + contract.ViewKey("a", "b"):      "$KV.sandboxes.>",
		"$KV." + contract.ViewBucket + "." + contract.HeartbeatKey:           "$KV.sandboxes.*",
		"$KV." + contract.ActivityBucket + "." + contract.ViewKey("a", "b"):  "$KV.activity.*.*",
		contract.CommandSubject(sandbox.Purge, "default", recordName):        "sandbar.command.v1.purge.*.*",
		contract.EventSubject("default", runtimeID, sandbox.EventRequested):  "sandbar.event.v1.default.>",
		contract.DeadLetterSubject(sandbox.Reconcile, "default", recordName): "sandbar.deadletter.v1.reconcile.default.*",
	} {
		if !matches(pattern, subject) {
			t.Errorf("%s is not under %s", subject, pattern)
		}
	}
	if matches(contract.ReplyWildcard("inbox"), contract.ReplySubject("inbox2", "id")) {
		t.Error("one gateway hears another's replies")
	}
}

// What is published and stored under these names must be found by other
// versions: a change needs a new version in the subject.
func TestSubjectsAreStable(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		contract.CommandSubject(sandbox.Start, "acme", recordName):   "sandbar.command.v1.start.acme." + recordName,
		contract.ReplySubject("inbox", "id"):                         "sandbar.reply.v1.inbox.id",
		contract.EventSubject("acme", runtimeID, sandbox.EventReady): "sandbar.event.v1.acme.abcdefghijklmnop.ready",
		contract.DeadLetterSubject(sandbox.Stop, "acme", recordName): "sandbar.deadletter.v1.stop.acme." + recordName,
		contract.ViewKey("acme", recordName):                         "acme." + recordName,
		contract.CommandStream + " " + contract.CommandConsumer:      "SANDBOX_COMMANDS provisioners",
		contract.EventStream + " " + contract.DeadStream:             "SANDBOX_EVENTS SANDBOX_DEADLETTERS",
		contract.ViewStream + " " + contract.ActivityStream:          "KV_sandboxes KV_activity",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestCommandSubjectsAreReadBack(t *testing.T) {
	t.Parallel()
	for _, verb := range sandbox.Verbs {
		for _, tenant := range []string{"a", "default", "a-b-c", "0"} {
			for _, session := range []string{"s", "a.b.*.>", "", "日本"} {
				name := sandbox.RecordName(tenant, session)
				v, gotTenant, gotName, err := contract.ParseCommandSubject(contract.CommandSubject(verb, tenant, name))
				if err != nil || v != verb || gotTenant != tenant || gotName != name {
					t.Errorf("%s %s %s: %s %s %s %v", verb, tenant, name, v, gotTenant, gotName, err)
				}
			}
		}
	}
}

func TestHostileCommandSubjects(t *testing.T) {
	t.Parallel()
	for _, subject := range []string{
		"", ".", "start", "sandbar.command.v1.", "sandbar.command.v1.start", "sandbar.command.v1.start.acme", "sandbar.command.v1.start.acme.",
		"sandbar.command.v1.start.acme." + recordName + ".x", "sandbar.command.v1.start.acme." + recordName + ".", ".sandbar.command.v1.start.acme." + recordName,
		"sandbar.command.v2.start.acme." + recordName, "sandbar.event.v1.start.acme." + recordName, "Sandbar.command.v1.start.acme." + recordName,
		"sandbar.command.v1.*.acme." + recordName, "sandbar.command.v1.start.*." + recordName, "sandbar.command.v1.start.acme.*", "sandbar.command.v1.>",
		"sandbar.command.v1.START.acme." + recordName, "sandbar.command.v1.destroy.acme." + recordName, "sandbar.command.v1..acme." + recordName,
		"sandbar.command.v1.start..s." + recordName, "sandbar.command.v1.start.Acme." + recordName, "sandbar.command.v1.start.ac me." + recordName,
		"sandbar.command.v1.start.acme.sandbox-x", "sandbar.command.v1.start.acme." + strings.ToUpper(recordName), "sandbar.command.v1.start.acme." + recordName + "\r\n",
		"sandbar.command.v1.start.acme\x00." + recordName, "sandbar.command.v1." + strings.Repeat("x", 1<<16),
	} {
		if v, tenant, record, err := contract.ParseCommandSubject(subject); err == nil {
			t.Errorf("%.100q: %s %s %s", subject, v, tenant, record)
		} else if len(err.Error()) > 1024 {
			t.Errorf("%.100q: an error of %d bytes", subject, len(err.Error()))
		}
	}
}

func TestValidReplySubject(t *testing.T) {
	t.Parallel()
	for subject, want := range map[string]bool{
		contract.ReplySubject("inbox", "id"):                       true,
		contract.ReplySubject("AZaz09-_", strings.Repeat("x", 64)): true,
		"": false, "sandbar.reply.v1.": false, "sandbar.reply.v1.a": false, "sandbar.reply.v1.a.": false, "sandbar.reply.v1..a": false, "sandbar.reply.v1.a.b.c": false,
		"sandbar.reply.v1.*.b": false, "sandbar.reply.v1.a.>": false, "sandbar.reply.v1.a.b\r\nPUB x 0": false, "sandbar.reply.v1.a.b ": false, "sandbar.reply.v1.a.\tb": false,
		"sandbar.reply.v2.a.b": false, "sandbar.command.v1.a.b": false, "$JS.API.STREAM.DELETE.SANDBOX_COMMANDS": false, "_INBOX.a.b": false, "$KV.sandboxes.a.b": false,
		contract.ReplySubject("inbox", strings.Repeat("x", 65)): false, contract.ReplySubject("é", "b"): false, "xsandbar.reply.v1.a.b": false,
	} {
		if got := contract.ValidReplySubject(subject); got != want {
			t.Errorf("%q: %v", subject, got)
		}
	}
}

func TestViewKeys(t *testing.T) {
	t.Parallel()
	key := contract.ViewKey("acme", recordName)
	if tenant, record, ok := contract.ParseViewKey(key); !ok || tenant != "acme" || record != recordName {
		t.Errorf("%s %s %v", tenant, record, ok)
	}
	for _, key := range []string{
		"", ".", contract.HeartbeatKey, "acme", "acme.", "." + recordName, recordName, "acme." + recordName + ".x", "Acme." + recordName, "acme.x", "acme.*", "*." + recordName, "acme.>",
	} {
		if tenant, record, ok := contract.ParseViewKey(key); ok {
			t.Errorf("%q: %s %s", key, tenant, record)
		}
	}
}
