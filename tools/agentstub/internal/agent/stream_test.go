package agent_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

func TestPacedAnswers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		target string
		took   time.Duration
		body   string
	}{
		"sse":  {"/sse?count=3&interval_ms=500", time.Second, "id: 0\ndata: {\"n\":0}\n\nid: 1\ndata: {\"n\":1}\n\nid: 2\ndata: {\"n\":2}\n\n"},
		"drip": {"/drip?bytes=11&ms=100", time.Second, "..........."},
		"slow": {"/slow?ms=3600000", time.Hour, "{\"slept_ms\":3600000}\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newAgent(t).Handler()
				begin := time.Now()
				w := request(t, h, "GET", tt.target, nil)
				if took := time.Since(begin); took != tt.took {
					t.Errorf("took %s, want %s", took, tt.took)
				}
				if w.Code != 200 || w.Body.String() != tt.body {
					t.Errorf("%d, %q", w.Code, w.Body)
				}
			})
		})
	}
}

func TestBadNumbers(t *testing.T) {
	t.Parallel()
	h := newAgent(t).Handler()
	for _, target := range []string{"/sse?count=x", "/sse?interval_ms=-1", "/drip?bytes=x", "/slow?ms=x", "/big?bytes=-1", "/idle?seconds=x"} {
		if w := request(t, h, "GET", target, nil); w.Code != 400 {
			t.Errorf("%s: %d, want 400", target, w.Code)
		}
	}
}

// TestEventsAreFlushed reads the first event while the second is an hour away.
func TestEventsAreFlushed(t *testing.T) {
	t.Parallel()
	server := serve(t, newAgent(t).Worker(12000))
	r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/sse?count=2&interval_ms=3600000", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	line, err := bufio.NewReader(res.Body).ReadString('\n')
	if err != nil || line != "id: 0\n" {
		t.Errorf("%q, %v", line, err)
	}
}

func TestBigAndUpload(t *testing.T) {
	t.Parallel()
	server := serve(t, newAgent(t).Worker(12000))
	const size = 3<<20 + 17
	res, err := server.Client().Get(server.URL + "/big?bytes=3145745")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || len(body) != size || res.ContentLength != size {
		t.Fatalf("%d bytes, length %d, %v", len(body), res.ContentLength, err)
	}
	for _, i := range []int{0, 250, 251, 64<<10 - 1, 64 << 10, size - 1} {
		if want := byte(i % (64 << 10) % 251); body[i] != want {
			t.Errorf("byte %d = %d, want %d", i, body[i], want)
		}
	}
	res, err = server.Client().Post(server.URL+"/upload", "", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got := decode[struct {
		Bytes  int    `json:"bytes"`
		SHA256 string `json:"sha256"`
	}](t, res.Body)
	if got.Bytes != size || len(got.SHA256) != 64 {
		t.Errorf("upload = %+v", got)
	}
}

func dial(t *testing.T, url string, header http.Header, protocols ...string) *websocket.Conn {
	t.Helper()
	conn, res, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPHeader: header, Subprotocols: protocols})
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	_ = res
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

func TestWebSocketEcho(t *testing.T) {
	t.Parallel()
	server := serve(t, newAgent(t).Handler())
	conn := dial(t, server.URL+"/ws", http.Header{"X-Session-Api-Key": {key}, "Origin": {"https://app.example"}}, "v1", "v2")
	if conn.Subprotocol() != "v1" {
		t.Errorf("subprotocol = %q", conn.Subprotocol())
	}
	conn.SetReadLimit(-1)
	for _, kind := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
		sent := strings.Repeat("message ", 20_000)
		if err := conn.Write(t.Context(), kind, []byte(sent)); err != nil {
			t.Fatal(err)
		}
		gotKind, got, err := conn.Read(t.Context())
		if err != nil || gotKind != kind || string(got) != sent {
			t.Errorf("%s came back as %s, %d bytes, %v", kind, gotKind, len(got), err)
		}
	}
	if err := conn.Close(4002, "mine"); err != nil { // an answer with another code is an error
		t.Errorf("close from here: %v", err)
	}
}

func TestWebSocketClosesAsAsked(t *testing.T) {
	t.Parallel()
	server := serve(t, newAgent(t).Handler())
	conn := dial(t, server.URL+"/sockets/events/abc?session_api_key="+key, nil)
	if err := conn.Write(t.Context(), websocket.MessageText, []byte("close 4001 good bye")); err != nil {
		t.Fatal(err)
	}
	_, _, err := conn.Read(t.Context())
	var closed websocket.CloseError
	if !asClose(err, &closed) || closed.Code != 4001 || closed.Reason != "good bye" {
		t.Errorf("read: %v", err)
	}
}

func TestWebSocketWantsTheKey(t *testing.T) {
	t.Parallel()
	server := serve(t, newAgent(t).Handler())
	_, res, err := websocket.Dial(t.Context(), server.URL+"/ws", nil)
	if err == nil || res.StatusCode != 401 {
		t.Errorf("dial without key: %v", err)
	}
}
