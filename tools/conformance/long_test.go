//go:build system

package conformance_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// longer than the timeouts that a request could meet by mistake: the router's
// 10 s for a header, servers' usual 5 s of silence. Its own tests let an hour
// pass on a clock that jumps.
const longer = 15 * time.Second

// An upload by drops takes 64 s: Traefik, unless it is told not to, ends what is
// still being sent after 60.
const (
	drops     = 16
	dropEvery = 4 * time.Second
)

func TestCheck63NothingLongIsCut(t *testing.T) {
	declare(t, realNode, 63)
	t.Parallel()
	byEachWay(t, func(t *testing.T, e entrance) {
		r := e.sharedRunning(t)
		agent := e.agent(r.URL, r)
		atOnce(t,
			long{"upload", agent, slowUpload}, long{"request", agent, slowRequest}, long{"events", agent, slowEvents},
			long{"WebSocket", e.socket(r.URL, r), silentWebSocket})
	})
}

func TestCheck63NothingLongIsCutOverTLS(t *testing.T) {
	declare(t, realNode, 63)
	t.Parallel()
	r := startSecure(t)
	var all []long
	for name, w := range secureWays(t, r) {
		agent := client.NewAgent(w.http, w.base, r.SessionAPIKey)
		all = append(all, long{name + ", request", agent, slowRequest}, long{name + ", events", agent, slowEvents})
		if w.proto == 1 {
			all = append(all, long{name + ", WebSocket", agent, silentWebSocket})
		}
	}
	atOnce(t, all...)
}

// long is what takes long by one way.
type long struct {
	what  string
	agent client.Agent
	do    func(context.Context, client.Agent) error
}

// atOnce takes the place of one test for all of them, as they do nothing but wait.
func atOnce(t *testing.T, all ...long) {
	t.Helper()
	if err := inParallel(len(all), len(all), func(i int) error {
		if err := all[i].do(t.Context(), all[i].agent); err != nil {
			return fmt.Errorf("%s: %w", all[i].what, err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func slowRequest(ctx context.Context, agent client.Agent) error {
	answer, err := agent.Do(ctx, client.Request{Path: fmt.Sprintf("/slow?ms=%d", longer.Milliseconds())})
	if err == nil && (!answer.OK() || answer.Took < longer) {
		err = fmt.Errorf("%s, want it after %s", answer, longer)
	}
	return err
}

func slowUpload(ctx context.Context, agent client.Agent) error {
	tick := time.NewTicker(dropEvery)
	defer tick.Stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Of no size: in chunks each byte goes out at once, else a buffer gathers them.
	return uploaded(ctx, agent, &drip{left: drops, tick: tick.C, end: ctx.Done()}, -1)
}

// drip is so many bytes, each at a tick.
type drip struct {
	left int
	tick <-chan time.Time
	end  <-chan struct{}
}

func (d *drip) Read(b []byte) (int, error) {
	if d.left == 0 {
		return 0, io.EOF
	}
	select {
	case <-d.tick:
	case <-d.end:
		return 0, io.ErrUnexpectedEOF
	}
	d.left--
	b[0] = byte(d.left)
	return 1, nil
}

// silentWebSocket says nothing for long, and is still there.
func silentWebSocket(ctx context.Context, agent client.Agent) error {
	//nolint:bodyclose // the library closes it, and says that nobody else has to
	conn, _, err := websocket.Dial(ctx, agent.Base+"/sockets/events/1", &websocket.DialOptions{HTTPClient: agent.HTTP, HTTPHeader: agent.Header})
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseNow() }()
	for _, text := range []string{"before", "after"} {
		if err := conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
		_, back, err := conn.Read(ctx)
		if err == nil && string(back) != text {
			err = fmt.Errorf("%q came back", back)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
		if text == "before" {
			<-time.After(longer)
		}
	}
	return nil
}

// slowEvents come one by one, each when it is sent.
func slowEvents(ctx context.Context, agent client.Agent) error {
	const count = 4
	apart := longer / (count - 1)
	path := fmt.Sprintf("/sse?count=%d&interval_ms=%d", count, apart.Milliseconds())
	res, err := send(ctx, agent, http.MethodGet, path, nil, 0)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewScanner(res.Body)
	var came []time.Time
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "data:") {
			came = append(came, time.Now())
		}
	}
	if len(came) != count {
		return errors.Join(fmt.Errorf("%s, %d events of %d", res.Status, len(came), count), lines.Err())
	}
	for i := 1; i < count; i++ {
		if gap := came[i].Sub(came[i-1]); gap < apart/2 {
			return fmt.Errorf("event %d came %s after the one before: they were held back", i, gap)
		}
	}
	return lines.Err()
}

const gibibyte = 1 << 30

// What passes is not held: half of what deploy/ grants the router is enough.
const routerMemory = 256 << 20

func TestCheck63GibibytesPass(t *testing.T) {
	declare(t, realNode, 63)
	t.Parallel()
	r := startSecure(t)
	watch, cancel := context.WithCancel(t.Context())
	defer cancel()
	peak := make(chan uint64, 1)
	go func() { peak <- memoryOf(watch, suite.TLS.RouterMetrics) }()
	for name, http1 := range map[string]bool{"HTTP 2": false, "HTTP 1.1": true} {
		agent := client.NewAgent(secureHTTP(t, http1), r.URL, r.SessionAPIKey)
		begin := time.Now()
		if err := uploaded(t.Context(), agent, io.LimitReader(newPattern(), gibibyte), gibibyte); err != nil {
			t.Errorf("%s, upload: %v", name, err)
		}
		t.Logf("%s: 1 GiB up in %s", name, time.Since(begin).Round(time.Millisecond))
		begin = time.Now()
		if err := downloaded(t.Context(), agent, gibibyte); err != nil {
			t.Errorf("%s, download: %v", name, err)
		}
		t.Logf("%s: 1 GiB down in %s", name, time.Since(begin).Round(time.Millisecond))
	}
	cancel()
	most := <-peak
	t.Logf("the router held at most %d MiB", most>>20)
	if most == 0 || most > routerMemory {
		t.Errorf("the router held %d MiB, want at most %d", most>>20, routerMemory>>20)
	}
}

// pattern is what the stub's /big sends: byte i of every 64 KiB is i modulo 251.
type pattern struct {
	block [64 << 10]byte
	at    int
}

func newPattern() *pattern {
	p := &pattern{}
	for i := range p.block {
		p.block[i] = byte(i % 251)
	}
	return p
}

func (p *pattern) Read(b []byte) (int, error) {
	n := copy(b, p.block[p.at:])
	p.at = (p.at + n) % len(p.block)
	return n, nil
}

func send(ctx context.Context, agent client.Agent, method, path string, body io.Reader, size int64) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, agent.Base+path, body)
	if err != nil {
		return nil, err
	}
	request.Header, request.ContentLength = agent.Header.Clone(), size
	return agent.HTTP.Do(request)
}

// uploaded sends a body, and compares what arrived. Its size is -1 where the
// sandbox is not to know it before.
func uploaded(ctx context.Context, agent client.Agent, body io.Reader, size int64) error {
	sum := sha256.New()
	res, err := send(ctx, agent, http.MethodPost, "/upload", io.TeeReader(body, sum), size)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", res.Status)
	}
	var got struct {
		Bytes  int64  `json:"bytes"`
		SHA256 string `json:"sha256"`
	}
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil {
		return err
	}
	if want := hex.EncodeToString(sum.Sum(nil)); got.SHA256 != want {
		return fmt.Errorf("%d bytes with the sum %s arrived, want %d with %s", got.Bytes, got.SHA256, size, want)
	}
	return nil
}

func downloaded(ctx context.Context, agent client.Agent, size int64) error {
	res, err := send(ctx, agent, http.MethodGet, fmt.Sprint("/big?bytes=", size), nil, 0)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	want, got, piece := newPattern(), make([]byte, 64<<10), make([]byte, 64<<10)
	var n int64
	for {
		k, err := io.ReadFull(res.Body, got)
		_, _ = want.Read(piece[:k])
		if !bytes.Equal(got[:k], piece[:k]) {
			return fmt.Errorf("it differs within 64 KiB of byte %d", n)
		}
		if n += int64(k); err != nil {
			break
		}
	}
	if n != size || res.ContentLength != size {
		return fmt.Errorf("%d bytes came of %d", n, size)
	}
	return nil
}

// memoryOf is the most resident memory that a process tells of until ctx ends.
func memoryOf(ctx context.Context, metrics string) (most uint64) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		if answer, err := (client.Caller{Base: metrics, HTTP: suite.http}).Do(ctx, client.Request{}); err == nil {
			for line := range strings.Lines(string(answer.Body)) {
				if value, ok := strings.CutPrefix(line, "process_resident_memory_bytes "); ok {
					if bytes, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil {
						most = max(most, uint64(bytes))
					}
				}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return most
		}
	}
}
