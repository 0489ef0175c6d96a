package robustness

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
)

const object = `{"runtime_id":"aaaaaaaaaaaaaaaa","session_id":"session-0","url":"http://session-0.run.example.org","status":"paused",` +
	`"pod_status":"not found","session_api_key":"k","work_hosts":{},"restart_count":0,"restart_reasons":[]}`

// TestWhatAClientConcludes: an answer that leaves open what happened is unknown,
// never more.
func TestWhatAClientConcludes(t *testing.T) {
	t.Parallel()
	refusal := `{"detail":"why","error":"code"}`
	foreign := strings.ReplaceAll(object, "session-0", "session-1")
	for name, c := range map[string]struct {
		verb history.Verb
		code int
		body string
		err  error
		want history.Outcome
	}{
		"a pause":                     {verb: history.Pause, code: 200, body: object, want: history.OK},
		"a stop":                      {verb: history.Stop, code: 200, body: "", want: history.OK},
		"no answer":                   {verb: history.Start, err: errors.New("connection reset"), want: history.Unknown},
		"unavailable":                 {verb: history.Start, code: 503, body: refusal, want: history.Unknown},
		"timeout":                     {verb: history.Pause, code: 504, body: refusal, want: history.Unknown},
		"overtaken":                   {verb: history.Pause, code: 409, body: refusal, want: history.Unknown},
		"not there":                   {verb: history.Pause, code: 404, body: refusal, want: history.Absent},
		"a start is never not there":  {verb: history.Start, code: 404, body: refusal, want: history.Refused},
		"refused":                     {verb: history.Start, code: 400, body: refusal, want: history.Refused},
		"an error that is no object":  {verb: history.Start, code: 503, body: "oops", want: history.Malformed},
		"an object that is cut off":   {verb: history.Pause, code: 200, body: object[:40], want: history.Malformed},
		"another's object":            {verb: history.Session, code: 200, body: foreign, want: history.Malformed},
		"a list":                      {verb: history.List, code: 200, body: `{"runtimes":[],"total":0}`, want: history.OK},
		"a batch that is too short":   {verb: history.Batch, code: 200, body: `[null]`, want: history.Malformed},
		"a batch":                     {verb: history.Batch, code: 200, body: `[` + object + strings.Repeat(`,null`, perTenant-1) + `]`, want: history.OK},
		"a batch in the wrong places": {verb: history.Batch, code: 200, body: `[` + foreign + strings.Repeat(`,null`, perTenant-1) + `]`, want: history.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := history.Op{Verb: c.verb, Session: sessionName(0)}
			if c.verb == history.List || c.verb == history.Batch {
				o.Session = ""
			}
			judge(&o, client.Answer{Status: c.code, Body: []byte(c.body), Header: http.Header{"Content-Type": {"application/json"}}}, c.err)
			if o.Outcome != c.want {
				t.Errorf("%+v, want %s", o, c.want)
			}
			if c.want == history.OK && c.verb != history.Stop && len(o.Seen) == 0 {
				t.Errorf("%+v shows nothing", o)
			}
		})
	}
}

// TestListsTellOfAll: what is not in a list is absent, and one that is aged says
// so.
func TestListsTellOfAll(t *testing.T) {
	t.Parallel()
	active := strings.Replace(strings.Replace(object, "paused", "running", 1), "not found", "ready", 1)
	o := history.Op{Verb: history.List}
	judge(&o, client.Answer{Status: 200, Body: []byte(`{"runtimes":[` + active + `],"total":1}`), Header: http.Header{viewAge: {"5000"}}}, nil)
	absent := 0
	for _, s := range o.Seen {
		if s.Absent {
			absent++
		}
	}
	if o.Outcome != history.OK || !o.Aged || len(o.Seen) != perTenant || absent != perTenant-1 {
		t.Errorf("%+v", o)
	}
}
