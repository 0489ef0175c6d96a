package process_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/internal/process"
)

// leaderEnds makes this test's program one whose first thread has ended while
// another still holds its files, as a killed process is for a moment.
const leaderEnds = "SANDBAR_TEST_LEADER_ENDS"

func init() {
	if os.Getenv(leaderEnds) == "" {
		return
	}
	runtime.LockOSThread() // init runs on the first thread
	up := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		close(up)
		_, _, _ = syscall.RawSyscall(syscall.SYS_PAUSE, 0, 0, 0)
	}()
	<-up
	fmt.Println("up")
	_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0)
}

func TestGoneWithAllItsThreads(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), leaderEnds+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := process.Of(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
		t.Fatal(line, err)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for id.Alive() { // until the first thread is a zombie
		<-tick.C
	}
	if id.WaitGone(50 * time.Millisecond) {
		t.Error("called gone while a thread still runs")
	}
	if err := syscall.Kill(id.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !id.WaitGone(10 * time.Second) {
		t.Error("not gone after SIGKILL")
	}
	_ = cmd.Wait() // killed
}
