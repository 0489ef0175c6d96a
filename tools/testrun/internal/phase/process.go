package phase

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// grace is what a process gets between the request to stop and the kill, if nothing
// else is said. A test that runs real processes needs it to take them down.
const grace = 15 * time.Second

// process makes a command in a process group of its own: a Ctrl-C at the
// terminal reaches testrun only, which then ends the groups in order.
func process(ctx context.Context, dir string, env, args []string, stdout, stderr io.Writer) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return signalGroup(cmd, syscall.SIGINT) }
	cmd.WaitDelay = grace
	return cmd
}

// runProcess waits for cmd. What is left of the group of a cancelled one is
// killed; a daemon that a good one left behind is left alone.
func runProcess(ctx context.Context, cmd *exec.Cmd) error {
	err := cmd.Run()
	if ctx.Err() != nil {
		_ = signalGroup(cmd, syscall.SIGKILL) // usually nobody is left
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%s: not done in time: %w", cmd.Args[0], context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("%s: %w", cmd.Args[0], err)
	}
	return nil
}

func signalGroup(cmd *exec.Cmd, sig syscall.Signal) error {
	if cmd.Process == nil {
		return nil
	}
	if err := syscall.Kill(-cmd.Process.Pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal: %w", err)
	}
	return nil
}

// lines hands on what is written to it line by line, without the line's end.
type lines struct {
	take func(string)
	rest strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	text := string(p)
	for {
		line, rest, ok := strings.Cut(text, "\n")
		l.rest.WriteString(line)
		if !ok {
			return len(p), nil
		}
		whole := l.rest.String()
		l.rest.Reset()
		l.take(whole)
		text = rest
	}
}

// flush hands on a last line that has no end.
func (l *lines) flush() {
	if l.rest.Len() > 0 {
		l.take(l.rest.String())
		l.rest.Reset()
	}
}
