package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/coder/websocket"
)

// Agent is a sandbox that runs tools/agentstub, as it is reached from outside.
type Agent struct{ Caller }

// NewAgent returns the sandbox behind base, whose requests carry this session
// key.
func NewAgent(h *http.Client, base, key string) Agent {
	return Agent{Caller{Base: base, HTTP: h, Header: http.Header{"X-Session-Api-Key": {key}}}}
}

// Echo is what the stub says about a request that reached it.
type Echo struct {
	Method  string      `json:"method"`
	RawPath string      `json:"raw_path"`
	Query   string      `json:"query"`
	Host    string      `json:"host"`
	Headers http.Header `json:"headers"`
	Body    string      `json:"body"`
	Port    int         `json:"port"`
}

// Identity is who the sandbox's process is.
type Identity struct {
	UID    int   `json:"uid"`
	GID    int   `json:"gid"`
	Groups []int `json:"groups"`
}

// Echo sends a request to a path that only echoes.
func (a Agent) Echo(ctx context.Context, r Request) (Echo, error) {
	var echo Echo
	return echo, a.read(ctx, r, &echo)
}

// WhoAmI asks who the sandbox's process is.
func (a Agent) WhoAmI(ctx context.Context) (Identity, error) {
	var id Identity
	return id, a.read(ctx, Request{Path: "/whoami"}, &id)
}

// Argv asks for the command line of the sandbox's process.
func (a Agent) Argv(ctx context.Context) ([]string, error) {
	var body struct {
		Argv []string `json:"argv"`
	}
	err := a.read(ctx, Request{Path: "/argv"}, &body)
	return body.Argv, err
}

// Variable asks for a variable of the sandbox's environment.
func (a Agent) Variable(ctx context.Context, name string) (value string, set bool, err error) {
	answer, err := a.Do(ctx, Request{Path: "/env?name=" + url.QueryEscape(name)})
	switch {
	case err != nil:
		return "", false, err
	case answer.Status == http.StatusNotFound && strings.Contains(string(answer.Body), "no variable"):
		return "", false, nil // the stub's own 404, not a router's
	case !answer.OK():
		return "", false, &StatusError{answer}
	}
	var body struct {
		Value string `json:"value"`
	}
	return body.Value, true, answer.Decode(&body)
}

// Write makes a file below root in the sandbox.
func (a Agent) Write(ctx context.Context, root, name, content string) error {
	return a.read(ctx, Request{Method: http.MethodPut, Path: filePath(root, name), Body: []byte(content)}, nil)
}

// Read reads a file below root in the sandbox.
func (a Agent) Read(ctx context.Context, root, name string) (string, error) {
	answer, err := a.Do(ctx, Request{Path: filePath(root, name)})
	if err != nil {
		return "", err
	}
	if !answer.OK() {
		return "", &StatusError{answer}
	}
	return string(answer.Body), nil
}

// GroupOf asks which group owns a file below root.
func (a Agent) GroupOf(ctx context.Context, root, name string) (int, error) {
	var body struct {
		GID int `json:"gid"`
	}
	err := a.read(ctx, Request{Path: filePath(root, name) + "&stat=1"}, &body)
	return body.GID, err
}

func filePath(root, name string) string {
	return "/files/" + name + "?root=" + url.QueryEscape(root)
}

// WebSocketEcho opens a WebSocket at path, sends text, and returns what comes
// back.
func (a Agent) WebSocketEcho(ctx context.Context, path, text string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, hangLimit)
	defer cancel()
	//nolint:bodyclose // the library closes it, and says that nobody else has to
	conn, response, err := websocket.Dial(ctx, a.Base+path, &websocket.DialOptions{HTTPClient: a.HTTP, HTTPHeader: a.Header})
	if err != nil {
		if response != nil {
			return "", fmt.Errorf("open WebSocket: %d: %w", response.StatusCode, err)
		}
		return "", fmt.Errorf("open WebSocket: %w", err)
	}
	defer func() { _ = conn.CloseNow() }() // after a proper close there is nothing left to do
	if err := conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		return "", fmt.Errorf("write: %w", err)
	}
	_, back, err := conn.Read(ctx)
	if err != nil {
		return "", fmt.Errorf("read: %w", err)
	}
	return string(back), conn.Close(websocket.StatusNormalClosure, "")
}

func (a Agent) read(ctx context.Context, r Request, into any) error {
	answer, err := a.Do(ctx, r)
	switch {
	case err != nil:
		return err
	case !answer.OK():
		return &StatusError{answer}
	case into == nil:
		return nil
	}
	return answer.Decode(into)
}
