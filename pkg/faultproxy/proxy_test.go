package faultproxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sandbar-io/sandbar/pkg/faultproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers each line by itself until the test's end.
func echo(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-ended })
	return l.Addr().String()
}

type line struct {
	net.Conn
	in *bufio.Reader
}

func through(t *testing.T, p *faultproxy.Proxy) line {
	t.Helper()
	c, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return line{c, bufio.NewReader(c)}
}

// ask sends a line and waits for it to come back.
func (l line) ask(text string, wait time.Duration) error {
	if _, err := fmt.Fprintln(l, text); err != nil {
		return err
	}
	_ = l.SetReadDeadline(time.Now().Add(wait))
	got, err := l.in.ReadString('\n')
	if err == nil && got != text+"\n" {
		err = fmt.Errorf("%q came back, want %q", got, text)
	}
	return err
}

func listen(t *testing.T) *faultproxy.Proxy {
	t.Helper()
	p, err := faultproxy.Listen(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

const soon, never = 10 * time.Second, 200 * time.Millisecond

func TestPassAndCut(t *testing.T) {
	t.Parallel()
	p := listen(t)
	l := through(t, p)
	if err := l.ask("hello", soon); err != nil {
		t.Fatal(err)
	}
	p.Set(faultproxy.Cut)
	if err := l.ask("lost", soon); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("through a connection that was cut: %v", err)
	}
	if err := through(t, p).ask("lost", soon); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("through a new connection while all are cut: %v", err)
	}
	p.Set(faultproxy.Pass)
	if err := through(t, p).ask("again", soon); err != nil {
		t.Error(err)
	}
}

func TestSlow(t *testing.T) {
	t.Parallel()
	p := listen(t)
	l := through(t, p)
	p.Set(faultproxy.Slow)
	begin := time.Now()
	if err := l.ask("late", soon); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 250*time.Millisecond {
		t.Errorf("an answer came after %s", took)
	}
}

func TestNothingArrivesAndNothingIsClosed(t *testing.T) {
	t.Parallel()
	for _, mode := range []faultproxy.Mode{faultproxy.HalfOpen, faultproxy.Deaf} {
		p := listen(t)
		l := through(t, p)
		if err := l.ask("hello", soon); err != nil {
			t.Fatal(err)
		}
		p.Set(mode)
		if err := l.ask("lost", never); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("mode %d: %v, want no answer and no end", mode, err)
		}
		p.Set(faultproxy.Pass) // what was lost leaves the connection useless
		if err := l.ask("again", soon); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("mode %d: the old connection lives: %v", mode, err)
		}
		if err := through(t, p).ask("again", soon); err != nil {
			t.Error(err)
		}
	}
}
