package robustness

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/sandbar-io/sandbar/tools/conformance"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
)

// viewAge marks a list that could not be confirmed.
const viewAge = "Sandbar-View-Age"

// request is one request of one client.
type request struct {
	client  string
	gateway *gateway
	tenant  int
	verb    history.Verb
	session string
	id      string // the runtime id that it names, where it names one
}

// ask sends a request, records it with its answer, and returns that.
func (w *world) ask(ctx context.Context, r request) history.Op {
	process := r.gateway.process()
	o := history.Op{
		Client: r.client, Gateway: process, Verb: r.verb, Tenant: tenantName(r.tenant), Session: r.session,
		Invoked: w.recorder.Now(),
	}
	var call client.Request
	var err error
	switch r.verb {
	case history.Start:
		call.Method, call.Path = http.MethodPost, "/start"
		word := fmt.Sprintf("%s-%d", r.client, o.Invoked)
		o.Runs = w.image + " " + word
		call.Body, err = startBody(r.session, w.image, word)
	case history.Pause, history.Resume, history.Stop:
		o.RuntimeID = r.id
		call = client.Request{Method: http.MethodPost, Path: "/" + string(r.verb), Body: client.ByID(r.id)}
	case history.Session:
		call.Path = client.SessionPath(r.session)
	case history.Runtime:
		o.RuntimeID = r.id
		call.Path = "/runtime/" + r.id
	case history.Batch:
		o.Session, call.Path = "", client.BatchPath(allSessions()...)
	case history.List:
		o.Session, call.Path = "", "/list"
	}
	if err != nil {
		o.Outcome, o.Problem = history.Malformed, err.Error() // our own
		w.recorder.Add(history.Entry{Op: &o})
		return o
	}
	api := client.NewAPI(w.http, r.gateway.url, w.keys[r.tenant])
	answer, err := api.Do(ctx, call)
	o.Returned = w.recorder.Now()
	if r.gateway.process() != process {
		// It may be of the process before or of the one after.
		o.Gateway = fmt.Sprintf("%s-or-later/%d", process, o.Returned)
	}
	judge(&o, answer, err)
	if o.Verb == history.Start && o.Outcome == history.OK {
		w.sessions.started(r.tenant, r.session, o.Seen[0].RuntimeID)
	}
	w.recorder.Add(history.Entry{Op: &o})
	return o
}

// startWord names the variable in which a start says which one it is.
const startWord = "STARTED_BY"

func startBody(session, image, word string) (map[string]any, error) {
	body, err := conformance.Body("v1a", session, image)
	if err != nil {
		return nil, err
	}
	environment, ok := body["environment"].(map[string]any)
	if !ok {
		return nil, errors.New("the start body has no environment")
	}
	environment[startWord] = word
	return body, nil
}

func allSessions() (out []string) {
	for i := range perTenant {
		out = append(out, sessionName(i))
	}
	return out
}

// judge reads an answer: what a client may conclude, and what it saw.
func judge(o *history.Op, answer client.Answer, err error) {
	o.HTTP = answer.Status
	switch {
	case err != nil:
		o.Outcome, o.Problem = history.Unknown, err.Error()
		return
	case answer.OK():
		o.Outcome, o.Aged = history.OK, answer.Header.Get(viewAge) != ""
		if o.Seen, err = seen(o, answer.Body); err != nil {
			o.Outcome, o.Problem = history.Malformed, err.Error()
		}
		return
	case answer.Status == http.StatusNotFound && o.Verb != history.Start && o.Session != "":
		o.Outcome = history.Absent
	case answer.Status == http.StatusConflict || answer.Status/100 == 5:
		o.Outcome = history.Unknown
	default:
		o.Outcome = history.Refused
	}
	const most = 200
	o.Problem = string(answer.Body[:min(len(answer.Body), most)])
	if err := answer.Problem(answer.Status); err != nil {
		o.Outcome, o.Problem = history.Malformed, err.Error()
	}
}

// seen are the sandboxes in an answer, as strictly read as the strictest client
// would. No client reads what a stop answers.
func seen(o *history.Op, body []byte) ([]history.Seen, error) {
	switch o.Verb {
	case history.Stop:
		return nil, nil
	case history.List:
		return listed(body)
	case history.Batch:
		return batched(body)
	}
	r, err := client.DecodeRuntime(body)
	if err != nil {
		return nil, err
	}
	if r.SessionID != o.Session || o.RuntimeID != "" && r.RuntimeID != o.RuntimeID {
		return nil, fmt.Errorf("it is of session %q, %s", r.SessionID, r.RuntimeID)
	}
	return []history.Seen{one(r)}, nil
}

func one(r client.Runtime) history.Seen {
	return history.Seen{Session: r.SessionID, RuntimeID: r.RuntimeID, Status: r.Status, PodStatus: r.PodStatus, Detail: r.StatusDetail}
}

func listed(body []byte) (out []history.Seen, err error) {
	all, err := client.DecodeList(body)
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, r := range all {
		if there[r.SessionID] {
			return nil, fmt.Errorf("session %q is listed twice", r.SessionID)
		}
		there[r.SessionID] = true
		out = append(out, one(r))
	}
	for _, s := range allSessions() {
		if !there[s] {
			out = append(out, history.Seen{Session: s, Absent: true})
		}
	}
	return out, nil
}

func batched(body []byte) (out []history.Seen, err error) {
	all, err := client.DecodeBatch(body)
	if err != nil {
		return nil, err
	}
	if len(all) != perTenant {
		return nil, fmt.Errorf("%d elements, want %d", len(all), perTenant)
	}
	for i, s := range allSessions() {
		switch {
		case all[i] == nil:
			out = append(out, history.Seen{Session: s, Absent: true})
		case all[i].SessionID != s:
			return nil, fmt.Errorf("element %d is session %q, want %q", i, all[i].SessionID, s)
		default:
			out = append(out, one(*all[i]))
		}
	}
	return out, nil
}
