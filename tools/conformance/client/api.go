package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// answerLimit is what every call must answer within: V1 gives up after 15 s.
const answerLimit = 10 * time.Second

// API is a gateway as one tenant's client uses it. Whatever comes back with a
// 2xx is checked as strictly as the strictest client would.
type API struct{ Caller }

// NewAPI returns the API behind base for this key.
func NewAPI(h *http.Client, base, key string) API {
	return API{Caller{Base: base, HTTP: h, Header: http.Header{"X-Api-Key": {key}}}}
}

// StatusError is an answer that is not 2xx.
type StatusError struct{ Answer Answer }

func (e *StatusError) Error() string { return "refused: " + e.Answer.String() }

// StatusOf is the HTTP status of a refusal, 0 for any other error and for nil.
func StatusOf(err error) int {
	var refused *StatusError
	if errors.As(err, &refused) {
		return refused.Answer.Status
	}
	return 0
}

// Start posts body to /start.
func (a API) Start(ctx context.Context, body map[string]any) (Runtime, error) {
	r, err := a.runtime(ctx, Request{Method: http.MethodPost, Path: "/start", Body: body})
	if err == nil && r.SessionID != body["session_id"] {
		err = fmt.Errorf("start: session_id %q, want %q", r.SessionID, body["session_id"])
	}
	return r, err
}

// Pause posts to /pause.
func (a API) Pause(ctx context.Context, runtimeID string) (Runtime, error) {
	return a.change(ctx, "/pause", runtimeID)
}

// Resume posts to /resume.
func (a API) Resume(ctx context.Context, runtimeID string) (Runtime, error) {
	return a.change(ctx, "/resume", runtimeID)
}

// Stop posts to /stop. No client reads what it answers.
func (a API) Stop(ctx context.Context, runtimeID string) error {
	_, err := a.ok(ctx, Request{Method: http.MethodPost, Path: "/stop", Body: ByID(runtimeID)})
	return err
}

// ByID is the body of /pause, /resume and /stop.
func ByID(runtimeID string) map[string]any { return map[string]any{"runtime_id": runtimeID} }

// SessionPath is the path of a session, whatever is in its id.
func SessionPath(session string) string { return "/sessions/" + url.PathEscape(session) }

// BatchPath is the path of a batch, with the ids as clients repeat them.
func BatchPath(sessions ...string) string {
	return "/sessions/batch?" + url.Values{"ids": sessions}.Encode()
}

// Session reads /sessions/{session}.
func (a API) Session(ctx context.Context, session string) (Runtime, error) {
	r, err := a.runtime(ctx, Request{Path: SessionPath(session)})
	if err == nil && r.SessionID != session {
		err = fmt.Errorf("session: session_id %q, want %q", r.SessionID, session)
	}
	return r, err
}

// Runtime reads /runtime/{id}.
func (a API) Runtime(ctx context.Context, runtimeID string) (Runtime, error) {
	r, err := a.runtime(ctx, Request{Path: "/runtime/" + runtimeID})
	if err == nil && r.RuntimeID != runtimeID {
		err = fmt.Errorf("runtime: runtime_id %q, want %q", r.RuntimeID, runtimeID)
	}
	return r, err
}

// Batch reads /sessions/batch: one element for each session, nil where there is
// none.
func (a API) Batch(ctx context.Context, sessions ...string) ([]*Runtime, error) {
	answer, err := a.ok(ctx, Request{Path: BatchPath(sessions...)})
	if err != nil {
		return nil, err
	}
	all, err := DecodeBatch(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", answer.To, err)
	}
	if len(all) != len(sessions) {
		return nil, fmt.Errorf("%s: %d elements, want %d", answer, len(all), len(sessions))
	}
	for i, r := range all {
		if r != nil && r.SessionID != sessions[i] {
			return nil, fmt.Errorf("batch element %d is session %q, want %q", i, r.SessionID, sessions[i])
		}
	}
	return all, nil
}

// List reads /list, by session.
func (a API) List(ctx context.Context) (map[string]Runtime, error) {
	answer, err := a.ok(ctx, Request{Path: "/list"})
	if err != nil {
		return nil, err
	}
	all, err := DecodeList(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", answer.To, err)
	}
	bySession := make(map[string]Runtime, len(all))
	for _, r := range all {
		if other, twice := bySession[r.SessionID]; twice {
			return nil, fmt.Errorf("list: session %q is %s and %s", r.SessionID, r.RuntimeID, other.RuntimeID)
		}
		bySession[r.SessionID] = r
	}
	return bySession, nil
}

func (a API) change(ctx context.Context, path, runtimeID string) (Runtime, error) {
	r, err := a.runtime(ctx, Request{Method: http.MethodPost, Path: path, Body: ByID(runtimeID)})
	if err == nil && r.RuntimeID != runtimeID {
		err = fmt.Errorf("%s: runtime_id %q, want %q", strings.TrimPrefix(path, "/"), r.RuntimeID, runtimeID)
	}
	return r, err
}

func (a API) runtime(ctx context.Context, request Request) (Runtime, error) {
	answer, err := a.ok(ctx, request)
	if err != nil {
		return Runtime{}, err
	}
	r, err := DecodeRuntime(answer.Body)
	if err != nil {
		return Runtime{}, fmt.Errorf("%s: %w", answer.To, err)
	}
	return r, nil
}

// ok is Do for calls that must succeed: an answer that is late is an error too,
// and a refusal must be one that every client can read.
func (a API) ok(ctx context.Context, request Request) (Answer, error) {
	answer, err := a.Do(ctx, request)
	switch {
	case err != nil:
		return Answer{}, err
	case !answer.OK():
		return Answer{}, errors.Join(&StatusError{answer}, answer.Problem(answer.Status))
	case answer.Took > answerLimit:
		return Answer{}, fmt.Errorf("late: %s", answer)
	}
	return answer, nil
}
