package bed_test

import (
	"os"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/bed"
)

func TestCPU(t *testing.T) {
	t.Parallel()
	b := &bed.Bed{Stack: &stack.Stack{}}
	before, err := b.CPU()
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); { // works
		_ = os.Getpid()
	}
	after, err := b.CPU()
	if err != nil {
		t.Fatal(err)
	}
	used := bed.CPU{}
	used.Add(before, after)
	if len(used) != 1 {
		t.Errorf("processes: %v", used)
	}
	for name, d := range used {
		if d <= 0 || d > 10*time.Second {
			t.Errorf("%s used %s", name, d)
		}
	}
	c := bed.CPU{}
	c.Add(bed.CPU{"nats": time.Second}, bed.CPU{"nats": 3 * time.Second, "idle": 0})
	if got := c.Each(1000); got != "2.00 ms of a core each (nats 2.00)" {
		t.Error(got)
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{"http://a.b:80/c": "a.b:80", "http://a.b": "a.b", "": ""} {
		if got := bed.Host(url); got != want {
			t.Errorf("%q: %q", url, got)
		}
	}
}
