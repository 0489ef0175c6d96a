package contract

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// CloudEvents 1.0 in binary mode: attributes as headers, the data as body.
const (
	HeaderCESpecVersion = "ce-specversion"
	HeaderCEID          = "ce-id"
	HeaderCESource      = "ce-source"
	HeaderCEType        = "ce-type"
	HeaderCETime        = "ce-time"
	HeaderCESubject     = "ce-subject"
	HeaderCESequence    = "ce-sequence" // the sequence extension: the transition's number
	HeaderContentType   = "content-type"

	EventTypePrefix = "io.sandbar.sandbox."
)

// EventData is the body of a lifecycle event: no key, no environment.
type EventData struct {
	Tenant      string            `json:"tenant"`
	SessionID   string            `json:"session_id"`
	RuntimeID   string            `json:"runtime_id"`
	Number      int64             `json:"number"`
	Type        sandbox.EventType `json:"type"`
	Time        time.Time         `json:"time"`
	Reason      string            `json:"reason,omitempty"`
	URL         string            `json:"url,omitempty"`
	Image       string            `json:"image,omitempty"`
	Incarnation int64             `json:"incarnation"`
}

// Event is a lifecycle event, ready to be published.
type Event struct {
	Subject string
	ID      string // runtime_id/number; also its Nats-Msg-Id
	Headers map[string]string
	Body    []byte
}

// EventID is the id of the event of a transition.
func EventID(t sandbox.Transition) string {
	return t.RuntimeID + "/" + strconv.FormatInt(t.Number, 10)
}

// NewEvent makes the event of one transition of a view. A transition of an
// earlier runtime id of the session carries no URL and image: they were
// another's.
func NewEvent(v *sandbox.View, t sandbox.Transition) (Event, error) {
	data := EventData{
		Tenant: v.Tenant, SessionID: v.SessionID, RuntimeID: t.RuntimeID, Number: t.Number,
		Type: t.Type, Time: t.Time, Reason: t.Reason,
	}
	if t.RuntimeID == v.RuntimeID {
		data.URL, data.Image, data.Incarnation = v.Route.URL, v.Image, v.Incarnation
	}
	body, err := json.Marshal(data)
	if err != nil {
		return Event{}, fmt.Errorf("encode event: %w", err)
	}
	return Event{
		Subject: EventSubject(v.Tenant, t.RuntimeID, t.Type), ID: EventID(t), Body: body,
		Headers: map[string]string{
			HeaderCESpecVersion: "1.0", HeaderCEID: EventID(t), HeaderCESource: "/sandbar/" + v.Tenant,
			HeaderCEType: EventTypePrefix + string(t.Type), HeaderCETime: t.Time.UTC().Format(time.RFC3339Nano),
			HeaderCESubject: t.RuntimeID, HeaderCESequence: strconv.FormatInt(t.Number, 10),
			HeaderContentType: "application/json",
		},
	}, nil
}

// DecodeEvent reads the body of an event.
func DecodeEvent(body []byte) (EventData, error) {
	var d EventData
	if err := json.Unmarshal(body, &d); err != nil {
		return EventData{}, fmt.Errorf("decode event: %w", err)
	}
	return d, nil
}
