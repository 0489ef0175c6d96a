// Package process starts the cluster's programs so that they outlive the tool,
// and finds and ends exactly those again.
package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Identity is a process that cannot be mistaken for another: the kernel gives a
// pid out again, but not with the same start time (clock ticks since boot).
type Identity struct {
	Pid   int
	Start uint64
}

// ErrGone says that the process has ended, or that its pid now belongs to another.
var ErrGone = errors.New("process is gone")

// Of is the identity of a running process. A zombie counts as gone: it only
// waits for its parent.
func Of(pid int) (Identity, error) {
	id, state, err := stat(pid)
	if err == nil && (state == "Z" || state == "X") {
		return Identity{}, ErrGone
	}
	return id, err
}

// stat reads a process, whatever its state.
func stat(pid int) (id Identity, state string, err error) {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return Identity{}, "", ErrGone
	}
	// The program's name stands in parentheses and may hold anything, so fields
	// count from the last one: state is the first after it, start time the 20th.
	end := bytes.LastIndexByte(raw, ')')
	fields := strings.Fields(string(raw[end+1:]))
	if end < 0 || len(fields) < 20 {
		return Identity{}, "", fmt.Errorf("pid %d: unexpected stat %q", pid, raw)
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return Identity{}, "", fmt.Errorf("pid %d: start time: %w", pid, err)
	}
	return Identity{Pid: pid, Start: start}, fields[0], nil
}

// Alive reports whether this very process still runs.
func (id Identity) Alive() bool {
	now, err := Of(id.Pid)
	return err == nil && now == id
}

// Signal sends a signal to this process and to no other: the identity is
// checked after the pidfd pins the process.
func (id Identity) Signal(s unix.Signal) error {
	fd, err := unix.PidfdOpen(id.Pid, 0)
	if err != nil {
		return ErrGone
	}
	defer unix.Close(fd)
	if !id.Alive() {
		return ErrGone
	}
	if err := unix.PidfdSendSignal(fd, s, nil, 0); err != nil {
		return fmt.Errorf("signal %v to pid %d: %w", s, id.Pid, err)
	}
	return nil
}

// WaitGone waits until the process has ended, all its threads included, and
// reports whether it has. A process whose first thread has ended looks like a
// zombie while others still hold its sockets; the pidfd tells the whole's end.
func (id Identity) WaitGone(limit time.Duration) bool {
	fd, err := unix.PidfdOpen(id.Pid, 0)
	if err != nil {
		return !id.Alive()
	}
	defer unix.Close(fd)
	if now, _, err := stat(id.Pid); err != nil || now != id {
		return true // its pid is another's now, or nobody's
	}
	deadline := time.Now().Add(limit)
	for {
		left := max(time.Until(deadline), 0)
		// Readable when the process ends; a signal to us only ends one round.
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		switch {
		case n > 0:
			return true
		case left == 0:
			return false
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return !id.Alive()
		}
	}
}

// ReadFile reads a pid file. A missing one is fs.ErrNotExist.
func ReadFile(path string) (Identity, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Identity{}, fmt.Errorf("pid file: %w", err)
	}
	var id Identity
	if _, err := fmt.Sscanf(string(raw), "%d %d", &id.Pid, &id.Start); err != nil || id.Pid <= 1 {
		return Identity{}, fmt.Errorf("pid file %s: not a pid and a start time: %q", path, raw)
	}
	return id, nil
}

// WriteFile writes a pid file, whole or not at all.
func (id Identity) WriteFile(path string) error {
	next := path + ".new"
	if err := os.WriteFile(next, fmt.Appendf(nil, "%d %d\n", id.Pid, id.Start), 0o644); err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	return nil
}
