package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/services/router/internal/proxy"
)

// Each event is asked for only after the one before arrived, so none can have
// waited in a buffer for more.
func TestEventsComeAtOnce(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, newWorld newWorldFunc) {
		next := make(chan string)
		w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			flush := http.NewResponseController(w).Flush
			_ = flush()
			for e := range next {
				_, _ = io.WriteString(w, "data: "+e+"\n\n")
				_ = flush()
			}
		}), nil)
		res, err := w.client.Do(w.request("GET", agentURL("/events"), nil)) // returns with the headers
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		r := bufio.NewReader(res.Body)
		for i := range 5 {
			next <- fmt.Sprint(i)
			line, err := r.ReadString('\n')
			if want := fmt.Sprintf("data: %d\n", i); line != want || err != nil {
				t.Fatalf("%q %v", line, err)
			}
			_, _ = r.ReadString('\n')
		}
		close(next)
		if _, err := r.ReadString('\n'); err != io.EOF {
			t.Error(err)
		}
	})
}

// The same without the type of an event stream, with a length, and both ways at
// once: each byte of the answer is made of one that was sent.
func TestBothWaysAtOnce(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, newWorld newWorldFunc) {
		w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c := http.NewResponseController(w)
			_ = c.EnableFullDuplex()
			w.Header().Set("Content-Length", "5")
			buf := make([]byte, 1)
			for {
				if _, err := io.ReadFull(r.Body, buf); err != nil {
					return
				}
				_, _ = w.Write(bytes.ToUpper(buf))
				_ = c.Flush()
			}
		}), nil)
		body, send := io.Pipe()
		go func() { _, _ = send.Write([]byte("h")) }()
		res, err := w.client.Do(w.request("POST", agentURL("/"), body))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		got := make([]byte, 1)
		for i, c := range "HELLO" {
			if _, err := io.ReadFull(res.Body, got); err != nil || got[0] != byte(c) {
				t.Fatal(i, got, err)
			}
			if i < 4 {
				_, _ = send.Write([]byte("hello"[i+1 : i+2]))
			}
		}
		_ = send.Close()
	})
}

const big = 8 << 20 // more than all buffers on the way

// The sandbox reads the upload's first half before the client has the second.
func TestUploadsAreStreamed(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, newWorld newWorldFunc) {
		half := make(chan struct{})
		w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sum := sha256.New()
			_, _ = io.CopyN(sum, r.Body, big/2)
			close(half)
			n, _ := io.Copy(sum, r.Body)
			_, _ = fmt.Fprintf(w, "%d %x %d", n, sum.Sum(nil), r.ContentLength)
		}), nil)
		data := make([]byte, big)
		_, _ = rand.Read(data)
		body, send := io.Pipe()
		go func() {
			_, _ = send.Write(data[:big/2])
			<-half
			_, _ = send.Write(data[big/2:])
			_ = send.Close()
		}()
		r := w.request("PUT", agentURL("/"), body)
		r.ContentLength = big
		_, got := w.do(r)
		if want := fmt.Sprintf("%d %x %d", big/2, sha256.Sum256(data), big); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

func TestDownloadsAreStreamed(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, newWorld newWorldFunc) {
		data := make([]byte, big)
		_, _ = rand.Read(data)
		half := make(chan struct{})
		w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(big))
			_, _ = w.Write(data[:big/2])
			_ = http.NewResponseController(w).Flush()
			<-half
			_, _ = w.Write(data[big/2:])
		}), nil)
		res, err := w.client.Do(w.request("GET", agentURL("/"), nil))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		got := make([]byte, big)
		_, err = io.ReadFull(res.Body, got[:big/2])
		close(half)
		if err == nil {
			_, err = io.ReadFull(res.Body, got[big/2:])
		}
		if err != nil || !bytes.Equal(got, data) {
			t.Error(err)
		}
	})
}

// A client that only announces its body gets the sandbox's word on it.
func TestContinue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			http.Error(w, "too big", http.StatusRequestEntityTooLarge)
			return
		}
		body, _ := io.ReadAll(r.Body) // makes net/http say 100
		_, _ = w.Write(body)
	}), nil)
	conn, err := net.Dial("tcp", w.front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	r := bufio.NewReader(conn)
	head := func(path string) {
		_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s.%s\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", path, label, base)
	}
	head("/accept")
	if line, err := r.ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatal(line, err)
	}
	_, _ = r.ReadString('\n')
	_, _ = io.WriteString(conn, "body")
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(res.Body); string(body) != "body" || res.StatusCode != 200 {
		t.Errorf("%s %q", res.Status, body)
	}
	_ = res.Body.Close()
	head("/refuse")
	res, err = http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Fatal(res, err)
	}
	_ = res.Body.Close()
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	peers := map[string]bool{}
	w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		peers[r.RemoteAddr] = true
		mu.Unlock()
		_, _ = io.Copy(w, r.Body)
	}), nil)
	for range 20 {
		w.do(w.request("POST", agentURL("/"), strings.NewReader("x")))
	}
	if len(peers) != 1 {
		t.Errorf("%d connections for 20 requests", len(peers))
	}
}

// Many at once have a connection each, and so many again have the same ones: who is under
// load has no time to make new ones.
func TestConnectionsOfManyAreUsedAgain(t *testing.T) {
	t.Parallel()
	const many = 200
	var mu sync.Mutex
	peers := map[string]bool{}
	here := 0
	full := make(chan struct{}) // all of them are here: before that none is answered
	w := newWorld(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		peers[r.RemoteAddr] = true
		wait := full
		if here++; here == many {
			close(full)
		}
		mu.Unlock()
		select {
		case <-wait:
		case <-time.After(20 * time.Second):
			t.Error("not all came")
		}
	}), func(c *proxy.Config) { c.UpstreamIdle = time.Minute })
	for range 2 {
		mu.Lock()
		here, full = 0, make(chan struct{})
		mu.Unlock()
		var all sync.WaitGroup
		for range many {
			r := w.request("GET", agentURL("/"), nil)
			all.Go(func() {
				res, err := w.client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			})
		}
		all.Wait()
	}
	if len(peers) > many+many/4 { // an answer may be there before its connection is free
		t.Errorf("%d connections for %d requests at a time", len(peers), many)
	}
}
