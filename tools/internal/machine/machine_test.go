package machine_test

import (
	"os"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/internal/machine"
)

// More threads than cores, for a while: they wait for each other.
func TestWaitingIsTold(t *testing.T) { // alone: it changes the process
	before := runtime.GOMAXPROCS(4 * runtime.NumCPU())
	defer runtime.GOMAXPROCS(before)
	m := machine.Now()
	var wg sync.WaitGroup
	for range 4 * runtime.NumCPU() {
		wg.Go(func() {
			for begin := time.Now(); time.Since(begin) < 500*time.Millisecond; { //nolint:revive // busy
			}
		})
	}
	wg.Wait()
	said := m.Since()
	found := regexp.MustCompile(`^(\d+) % of the time a task waited for a core, \d+ % for the disk; \d+ % of the cores were stolen$`).FindStringSubmatch(said)
	if _, err := os.Stat("/proc/pressure/cpu"); err != nil {
		if said != "" {
			t.Errorf("%q, where Linux does not tell", said)
		}
		return
	}
	if found == nil {
		t.Fatalf("%q", said)
	}
	if waited, _ := strconv.Atoi(found[1]); waited == 0 || waited > 110 {
		t.Errorf("%q of tasks that waited", said)
	}
}
