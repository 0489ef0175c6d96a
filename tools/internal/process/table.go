package process

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// markVariable stands in the environment of all that a table starts, and of
// what those start in turn (containerd's shims), so that a process is found
// even when its pid file is lost.
const markVariable = "SANDBAR_DEVCLUSTER"

// Table is the programs of one cluster: a pid file and a log for each.
type Table struct {
	Pids string // folder of the pid files
	Logs string // folder of the logs
	Mark string // the cluster's own word, found again in /proc/*/environ
}

// Command is a program to start.
type Command struct {
	Name string // names the pid file and the log
	Path string
	Argv []string // without the program's own name
	// Argv0 is what the program believes to be called; empty means Path.
	Argv0 string
	Env   []string // on top of PATH, HOME and the mark
	Netns string   // path of the network namespace to run in; empty means ours
}

// Command is how a process that a table started was started; the name and the
// network namespace are for the caller to say.
func (id Identity) Command() (Command, error) {
	proc := fmt.Sprintf("/proc/%d/", id.Pid)
	exe, failed := os.Readlink(proc + "exe")
	argv, err := os.ReadFile(proc + "cmdline")
	failed = errors.Join(failed, err)
	env, err := os.ReadFile(proc + "environ")
	if err := errors.Join(failed, err); err != nil {
		return Command{}, err
	}
	if !id.Alive() {
		return Command{}, ErrGone
	}
	words := strings.Split(strings.TrimSuffix(string(argv), "\x00"), "\x00")
	c := Command{Path: exe, Argv0: words[0], Argv: words[1:]}
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(env), "\x00"), "\x00") {
		switch name, _, _ := strings.Cut(entry, "="); name {
		case "PATH", "HOME", markVariable: // Start sets them
		default:
			c.Env = append(c.Env, entry)
		}
	}
	return c, nil
}

// Process is a program that this tool started and still is the parent of.
type Process struct {
	Identity
	Name string
	Log  string

	done chan struct{}
	err  error
}

// Start starts a program in a session of its own, so that neither the end of
// the tool nor a Ctrl-C in its terminal reaches it.
func (t Table) Start(c Command) (*Process, error) {
	path := t.LogPath(c.Name)
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", c.Name, err)
	}
	defer log.Close()

	cmd := exec.Command(c.Path, c.Argv...)
	if c.Argv0 != "" {
		cmd.Args[0] = c.Argv0
	}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + os.Getenv("HOME"),
		markVariable + "=" + t.Mark,
	}, c.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := startIn(c.Netns, cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}

	p := &Process{Name: c.Name, Log: path, done: make(chan struct{})}
	p.Identity, err = Of(cmd.Process.Pid)
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
	}()
	if err != nil {
		<-p.done
		return nil, p.Failure()
	}
	if err := p.WriteFile(t.pidPath(c.Name)); err != nil {
		return nil, err
	}
	return p, nil
}

// startIn starts a command in a network namespace. A child takes over the
// namespace of the thread that forks it; that thread is spoilt for other work,
// so its goroutine keeps it locked and lets it end.
func startIn(path string, cmd *exec.Cmd) error {
	if path == "" {
		return cmd.Start()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- func() error {
			ns, err := netns.GetFromPath(path)
			if err != nil {
				return fmt.Errorf("network namespace %s: %w", path, err)
			}
			defer ns.Close()
			if err := netns.Set(ns); err != nil {
				return fmt.Errorf("enter network namespace %s: %w", path, err)
			}
			return cmd.Start()
		}()
	}()
	return <-done
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Failure is one line that says why the process ended. Call it after Done.
func (p *Process) Failure() error {
	state := "exit status 0"
	if p.err != nil {
		state = p.err.Error()
	}
	return fmt.Errorf("%s ended (%s), its log: %s: %s", p.Name, state, p.Log, LastLine(p.Log))
}

// LogPath is where the program of that name logs to.
func (t Table) LogPath(name string) string { return filepath.Join(t.Logs, name+".log") }

func (t Table) pidPath(name string) string { return filepath.Join(t.Pids, name+".pid") }

// Find is the running program of that name; ErrGone when it does not run.
func (t Table) Find(name string) (Identity, error) {
	id, err := ReadFile(t.pidPath(name))
	if errors.Is(err, os.ErrNotExist) {
		return Identity{}, fmt.Errorf("%s: %w", name, ErrGone)
	}
	if err != nil {
		return Identity{}, err
	}
	if !id.Alive() {
		return Identity{}, fmt.Errorf("%s: %w", name, ErrGone)
	}
	return id, nil
}

// Names lists the programs that have a pid file, running or not.
func (t Table) Names() []string {
	files, _ := filepath.Glob(filepath.Join(t.Pids, "*.pid"))
	names := make([]string, 0, len(files))
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".pid"))
	}
	sort.Strings(names)
	return names
}

// Marked finds every process that carries the table's mark, the caller excepted.
func (t Table) Marked() []Identity {
	mark := []byte(markVariable + "=" + t.Mark)
	return scan(func(pid int) bool {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			return false
		}
		for entry := range bytes.SplitSeq(env, []byte{0}) {
			if bytes.Equal(entry, mark) {
				return true
			}
		}
		return false
	})
}

func scan(match func(pid int) bool) []Identity {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []Identity
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || !match(pid) {
			continue
		}
		if id, err := Of(pid); err == nil {
			found = append(found, id)
		}
	}
	return found
}

// Kill ends processes without ceremony and waits until they are gone. It
// returns those that did not go.
func Kill(ids []Identity, limit time.Duration) []Identity {
	for _, id := range ids {
		_ = id.Signal(unix.SIGKILL) // a process that is gone already is what we want
	}
	deadline := time.Now().Add(limit)
	var left []Identity
	for _, id := range ids {
		if !id.WaitGone(time.Until(deadline)) {
			left = append(left, id)
		}
	}
	return left
}

// Describe names a process for a message.
func (id Identity) Describe() string {
	cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", id.Pid))
	words := strings.TrimSpace(strings.ReplaceAll(string(cmdline), "\x00", " "))
	const enough = 100 // characters that still fit a line
	if len(words) > enough {
		words = words[:enough] + "…"
	}
	return fmt.Sprintf("pid %d (%s)", id.Pid, words)
}

// LastLine is the last line of a log that is not empty.
func LastLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	const tail = 8 << 10 // a log line is rarely longer
	if info, err := f.Stat(); err == nil && info.Size() > tail {
		_, _ = f.Seek(-tail, 2)
	}
	last := ""
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 0, tail), 2*tail)
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" {
			last = line
		}
	}
	return last
}
