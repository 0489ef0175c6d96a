package agent

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/coder/websocket"
)

// websocket echoes every message in its own type. The text "close CODE REASON"
// makes the stub close with these, so that a test sees whether a proxy passes
// them on; a close from the client is answered with the client's own code.
func (a *Agent) websocket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // the origin is the app's, never the sandbox's own host
		Subprotocols:       offered(r),
	})
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }() // no-op after a proper close
	conn.SetReadLimit(-1)                  // a test sends what it likes
	for {
		if err := a.echoMessage(r.Context(), conn); err != nil {
			return
		}
	}
}

var errClosed = errors.New("closed as asked")

func (a *Agent) echoMessage(ctx context.Context, conn *websocket.Conn) error {
	kind, message, err := conn.Read(ctx)
	if err != nil {
		return err
	}
	a.touch(0)
	if code, reason, ok := closeRequest(kind, string(message)); ok {
		_ = conn.Close(code, reason)
		return errClosed
	}
	out, err := conn.Writer(ctx, kind)
	if err != nil {
		return err
	}
	if _, err := out.Write(message); err != nil {
		return err
	}
	return out.Close()
}

func closeRequest(kind websocket.MessageType, text string) (websocket.StatusCode, string, bool) {
	rest, ok := strings.CutPrefix(text, "close ")
	if !ok || kind != websocket.MessageText {
		return 0, "", false
	}
	number, reason, _ := strings.Cut(rest, " ")
	code, err := strconv.Atoi(number)
	return websocket.StatusCode(code), reason, err == nil
}

// offered makes the stub accept the first subprotocol that the client names.
func offered(r *http.Request) []string {
	var all []string
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(line, ",") {
			all = append(all, strings.TrimSpace(name))
		}
	}
	return all
}
