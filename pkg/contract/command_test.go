package contract_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

func TestDecodeCommandTrustsNothing(t *testing.T) {
	t.Parallel()
	type change = func(subject string, w *contract.Command) string
	body := func(f func(*contract.Command)) change {
		return func(s string, w *contract.Command) string { f(w); return s }
	}
	for name, c := range map[string]struct {
		from   sandbox.Command
		change change
	}{
		"another verb in the subject": {fullCommand(), func(_ string, w *contract.Command) string {
			return contract.CommandSubject(sandbox.Stop, w.Tenant, sandbox.RecordName(w.Tenant, w.SessionID))
		}},
		"another tenant in the subject": {fullCommand(), func(_ string, w *contract.Command) string {
			return contract.CommandSubject(w.Verb, "default", sandbox.RecordName("default", w.SessionID))
		}},
		"another tenant's record": {fullCommand(), func(_ string, w *contract.Command) string {
			return contract.CommandSubject(w.Verb, w.Tenant, sandbox.RecordName("default", w.SessionID))
		}},
		"another session in the subject": {fullCommand(), func(_ string, w *contract.Command) string {
			return contract.CommandSubject(w.Verb, w.Tenant, sandbox.RecordName(w.Tenant, "x"))
		}},
		"no subject":                  {fullCommand(), func(string, *contract.Command) string { return "" }},
		"no id":                       {fullCommand(), body(func(w *contract.Command) { w.ID = "" })},
		"an id that is no token":      {fullCommand(), body(func(w *contract.Command) { w.ID = "a.b" })},
		"a long id":                   {fullCommand(), body(func(w *contract.Command) { w.ID = strings.Repeat("a", 65) })},
		"a start without a spec":      {fullCommand(), body(func(w *contract.Command) { w.Spec = nil })},
		"a spec that is wrong":        {fullCommand(), body(func(w *contract.Command) { w.Spec.Image = "--privileged" })},
		"a spec without a factor":     {fullCommand(), body(func(w *contract.Command) { w.Spec.ResourceFactor = 0 })},
		"a reconcile bound to none":   {boundCommand(), body(func(w *contract.Command) { w.Generation = 0 })},
		"no runtime id":               {boundCommand(), body(func(w *contract.Command) { w.RuntimeID = "" })},
		"a malformed runtime id":      {boundCommand(), body(func(w *contract.Command) { w.RuntimeID = "../../x" })},
		"a wrong spec where none is":  {boundCommand(), body(func(w *contract.Command) { w.Spec = &sandbox.Spec{} })},
		"an empty session":            {fullCommand(), func(_ string, w *contract.Command) string { return rename(w, "") }},
		"a session with a line break": {fullCommand(), func(_ string, w *contract.Command) string { return rename(w, "a\n") }},
		"a long session":              {fullCommand(), func(_ string, w *contract.Command) string { return rename(w, strings.Repeat("a", 257)) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from := c.from
			if from.Spec != nil {
				from.Spec = ptr(from.Spec.Clone())
			}
			subject, whole, err := contract.EncodeCommand(from)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := contract.DecodeCommand(subject, whole); err != nil {
				t.Fatalf("as it was: %v", err)
			}
			w := contract.Command(from)
			subject = c.change(subject, &w)
			hostile, err := json.Marshal(w)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := contract.DecodeCommand(subject, hostile); err == nil {
				t.Errorf("accepted: %+v", got)
			} else if !reflect.DeepEqual(got, sandbox.Command{}) {
				t.Errorf("beside an error: %+v", got)
			}
		})
	}
}

func rename(w *contract.Command, session string) string {
	w.SessionID = session
	return contract.CommandSubject(w.Verb, w.Tenant, sandbox.RecordName(w.Tenant, session))
}

func TestDecodeCommandBodies(t *testing.T) {
	t.Parallel()
	subject := contract.CommandSubject(sandbox.Start, "acme", recordName)
	for name, body := range map[string]string{
		"nothing": "", "null": "null", "an array": "[]", "a string": `"start"`, "half": `{"id":`, "two": `{}{}`, "a wrong type": `{"generation":"x"}`, "a huge number": `{"generation":1e99}`,
		"too large": `{"id":"` + strings.Repeat("a", contract.MaxMessage) + `"}`,
	} {
		if _, err := contract.DecodeCommand(subject, []byte(body)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestEncodeCommandIsBounded(t *testing.T) {
	t.Parallel()
	c := fullCommand()
	c.Spec.Environment = map[string]string{"A": strings.Repeat("\x01", contract.MaxMessage/6)} // JSON makes six bytes of each
	if _, _, err := contract.EncodeCommand(c); sandbox.CodeOf(err) != sandbox.CodeTooLarge {
		t.Errorf("%v", err)
	}
	c.Spec.Environment = map[string]string{}
	for i := range 4 { // the most that Validate lets through
		c.Spec.Environment[strings.Repeat("A", i+1)] = strings.Repeat("x", 95<<10)
	}
	if err := c.Spec.Validate(); err != nil {
		t.Fatal(err)
	}
	subject, body, err := contract.EncodeCommand(c)
	if err != nil || len(subject)+len(body) > contract.MaxMessage {
		t.Errorf("%d bytes, %v", len(body), err)
	}
}

func FuzzDecodeCommand(f *testing.F) {
	for _, c := range []sandbox.Command{fullCommand(), boundCommand()} {
		subject, body, err := contract.EncodeCommand(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(subject, body)
	}
	f.Add("sandbar.command.v1.start.acme."+recordName, []byte(`{"verb":"start","tenant":"acme","session_id":"s","id":"x","spec":{}}`))
	f.Fuzz(func(t *testing.T, subject string, body []byte) {
		c, err := contract.DecodeCommand(subject, body)
		if err != nil {
			return
		}
		if !sandbox.ValidTenant(c.Tenant) || sandbox.ValidSessionID(c.SessionID) != nil || c.Spec != nil && c.Spec.Validate() != nil {
			t.Errorf("accepted: %+v", c)
		}
		if !contract.ValidReplySubject(contract.ReplySubject("inbox", c.ID)) {
			t.Errorf("id %q", c.ID)
		}
		again, whole, err := contract.EncodeCommand(c)
		if err != nil {
			return // what was just below the limit may be above it when spelled out
		}
		if back, err := contract.DecodeCommand(again, whole); again != subject || err != nil || !reflect.DeepEqual(normal(back), normal(c)) {
			t.Errorf("%q %+v became %q %+v: %v", subject, c, again, back, err)
		}
	})
}

// normal is c less what JSON does not keep: an empty list for none, the zone of
// a time.
func normal(c sandbox.Command) sandbox.Command {
	c.Deadline = c.Deadline.UTC()
	if c.Spec != nil {
		s := c.Spec.Clone()
		if len(s.Command) == 0 {
			s.Command = nil
		}
		if len(s.Environment) == 0 {
			s.Environment = nil
		}
		c.Spec = &s
	}
	return c
}
