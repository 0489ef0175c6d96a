package proxy

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Answer is what the router itself says to a client, always as a JSON object:
// clients read detail as a string.
type Answer struct {
	Status     int
	Code       sandbox.Code
	Detail     string
	RetryAfter int // seconds; 0: not told
}

// The answers, and the only table from what happened to HTTP. A client that
// keeps its sandbox alive resumes it on 503, and gives up on 404, 502 and 504.
var (
	answerUnknown = &Answer{Status: http.StatusNotFound, Code: sandbox.CodeNotFound, Detail: "there is no such sandbox"}
	answerStopped = &Answer{Status: http.StatusNotFound, Code: sandbox.CodeNotFound, Detail: "the sandbox is stopped"}
	// A browser sends over an HTTP/2 connection what is for any host of its
	// certificate, if the address is the same; told so, it opens another one.
	answerMisdirected = &Answer{Status: http.StatusMisdirectedRequest, Code: sandbox.CodeNotFound, Detail: "this host is not served here"}
	answerConnect     = &Answer{Status: http.StatusMethodNotAllowed, Code: sandbox.CodeMethod, Detail: "CONNECT is not offered"}
	answerBadTarget   = &Answer{Status: http.StatusBadRequest, Code: sandbox.CodeInvalid, Detail: "the request target is neither a path nor an http URL"}
	answerBadRequest  = &Answer{Status: http.StatusBadRequest, Code: sandbox.CodeInvalid, Detail: "the request is malformed or ended early"}
	answerUnconfirmed = unavailable("the state of sandboxes cannot be confirmed now, try again", 1)
	answerStarting    = unavailable("the sandbox is starting", 1)
	answerMoved       = unavailable("the sandbox was just started anew, try again", 1)
	answerPaused      = unavailable("the sandbox is paused", 5)
	answerError       = unavailable("the sandbox has failed", 5)
	answerUnreachable = &Answer{Status: http.StatusBadGateway, Code: sandbox.CodeUnavailable, Detail: "nothing answers on this port of the sandbox"}
	answerBroken      = &Answer{Status: http.StatusBadGateway, Code: sandbox.CodeUnavailable, Detail: "the sandbox ended the connection without an answer"}
	answerTimeout     = &Answer{Status: http.StatusGatewayTimeout, Code: sandbox.CodeTimeout, Detail: "the sandbox does not answer"}
)

func unavailable(detail string, retryAfter int) *Answer {
	return &Answer{Status: http.StatusServiceUnavailable, Code: sandbox.CodeUnavailable, Detail: detail, RetryAfter: retryAfter}
}

func (a *Answer) write(w http.ResponseWriter) {
	body, _ := json.Marshal(struct { // two strings always encode
		Detail string       `json:"detail"`
		Error  sandbox.Code `json:"error"`
	}{a.Detail, a.Code})
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	if a.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(a.RetryAfter))
	}
	if a.Status == http.StatusMethodNotAllowed {
		h.Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write(body) // the client may be gone
}
