package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Headers of a command, beside Nats-Msg-Id, which is the command id.
const (
	HeaderReplyTo   = "Sandbar-Reply-To"   // ReplySubject; absent where nobody waits
	HeaderRequestID = "Sandbar-Request-Id" // for the logs
	HeaderTrace     = "traceparent"        // W3C trace context, passed on as it came
)

// MaxMessage is the largest command, in bytes, that is decoded. A request body
// is at most half of that.
const MaxMessage = 1 << 20

// Command is a command on the wire, version 1. Fields may be added; a reader
// ignores those that it does not know.
type Command struct {
	ID         string          `json:"id"`
	Verb       sandbox.Verb    `json:"verb"`
	Tenant     string          `json:"tenant"`
	SessionID  string          `json:"session_id"`
	RuntimeID  string          `json:"runtime_id,omitempty"`
	Deadline   time.Time       `json:"deadline,omitzero"`
	Spec       *sandbox.Spec   `json:"spec,omitempty"`
	Limits     *sandbox.Limits `json:"limits,omitempty"`
	RotateKey  bool            `json:"rotate_key,omitempty"`
	Fresh      bool            `json:"fresh,omitempty"`
	Generation int64           `json:"generation,omitempty"`
	RecordUID  string          `json:"record_uid,omitempty"`
	PodUID     string          `json:"pod_uid,omitempty"`
	Fence      uint64          `json:"fence,omitempty"`
	Reason     string          `json:"reason,omitempty"`
}

// EncodeCommand returns the subject and the body of a command.
func EncodeCommand(c sandbox.Command) (subject string, body []byte, err error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // it makes six bytes of each <, > and &
	if err := enc.Encode(Command(c)); err != nil {
		return "", nil, fmt.Errorf("encode command: %w", err)
	}
	body = bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(body) > MaxMessage-4096 { // room for subject and headers
		return "", nil, sandbox.Errorf(sandbox.CodeTooLarge, "the request has %d bytes on the bus, too many", len(body))
	}
	return CommandSubject(c.Verb, c.Tenant, sandbox.RecordName(c.Tenant, c.SessionID)), body, nil
}

// DecodeCommand reads a command and checks that the body agrees with the subject
// that it came by: a sender's permissions are on subjects.
func DecodeCommand(subject string, body []byte) (sandbox.Command, error) {
	verb, tenant, record, err := ParseCommandSubject(subject)
	if err != nil {
		return sandbox.Command{}, err
	}
	if len(body) > MaxMessage {
		return sandbox.Command{}, fmt.Errorf("command of %d bytes, at most %d are read", len(body), MaxMessage)
	}
	var w Command
	if err := json.Unmarshal(body, &w); err != nil {
		return sandbox.Command{}, fmt.Errorf("decode command: %w", err)
	}
	switch {
	case w.Verb != verb:
		return sandbox.Command{}, fmt.Errorf("verb %.32q in the body, %q in the subject", w.Verb, verb)
	case w.Tenant != tenant:
		return sandbox.Command{}, fmt.Errorf("another tenant in the body than in the subject")
	case sandbox.RecordName(w.Tenant, w.SessionID) != record:
		return sandbox.Command{}, fmt.Errorf("another session in the body than in the subject")
	case !validToken(w.ID):
		return sandbox.Command{}, fmt.Errorf("command id %.64q is malformed", w.ID)
	case verb != sandbox.Start && !sandbox.ValidRuntimeID(w.RuntimeID):
		return sandbox.Command{}, fmt.Errorf("runtime id %.64q is malformed", w.RuntimeID)
	case verb == sandbox.Start && w.Spec == nil:
		return sandbox.Command{}, fmt.Errorf("start without a spec")
	case len(w.Reason) > sandbox.MaxReason:
		return sandbox.Command{}, fmt.Errorf("reason of %d bytes, at most %d are read", len(w.Reason), sandbox.MaxReason)
	case (verb == sandbox.Reconcile || verb == sandbox.Purge) && w.Generation == 0:
		return sandbox.Command{}, fmt.Errorf("%s without a generation", verb)
	}
	if err := sandbox.ValidSessionID(w.SessionID); err != nil {
		return sandbox.Command{}, err
	}
	if err := w.Limits.Validate(); err != nil {
		return sandbox.Command{}, err
	}
	if w.Spec != nil {
		if err := w.Spec.Validate(); err != nil {
			return sandbox.Command{}, err
		}
	}
	return sandbox.Command(w), nil
}

// Reply answers a command.
type Reply struct {
	CommandID string        `json:"command_id"`
	Code      sandbox.Code  `json:"code,omitempty"` // "": accepted, View is set
	Message   string        `json:"message,omitempty"`
	View      *sandbox.View `json:"view,omitempty"`
	Revision  uint64        `json:"revision,omitempty"` // of the view in its bucket

	Resource          sandbox.Resource `json:"resource,omitempty"`            // what is full
	RetryAfterSeconds int              `json:"retry_after_seconds,omitempty"` // rounded up
}

// Refuse puts into a reply what the sender is told of an error.
func (r *Reply) Refuse(err error) {
	r.View, r.Code, r.Message = nil, sandbox.CodeOf(err), sandbox.MessageOf(err)
	var e *sandbox.Error
	if errors.As(err, &e) {
		r.Resource, r.RetryAfterSeconds = e.Resource, e.RetrySeconds()
	}
}

// Refusal is the error that a reply tells, nil if it tells none.
func (r *Reply) Refusal() error {
	if r.Code == "" {
		return nil
	}
	return &sandbox.Error{
		Code: r.Code, Message: r.Message, Resource: r.Resource, RetryAfter: time.Duration(r.RetryAfterSeconds) * time.Second,
	}
}

// DeadLetter says which command was given up, and why; never its spec.
type DeadLetter struct {
	CommandID string       `json:"command_id"`
	Verb      sandbox.Verb `json:"verb"`
	Tenant    string       `json:"tenant"`
	Record    string       `json:"record"`
	RuntimeID string       `json:"runtime_id,omitempty"`
	Sequence  uint64       `json:"sequence"`
	Delivered uint64       `json:"delivered"`
	Error     string       `json:"error"`
	Time      time.Time    `json:"time"`
}
