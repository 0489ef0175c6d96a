package binaries

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// often is how often a long build says how far it is.
const often = 15 * time.Second

func (c Cache) build(ctx context.Context, n Name, r recipe) error {
	stamp, err := r.stamp()
	if err != nil {
		return err
	}
	began := time.Now()
	next := c.Path(n) + ".new"
	if r.assemble != nil {
		if r.dir, err = r.assemble(ctx, r.dir); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(r.dir) }() // made anew for the next build
	}
	goCommand := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir, cmd.Env = r.dir, append(os.Environ(), r.env...)
		return cmd
	}
	c.Log("building %s", n)
	watch := &progress{name: n, began: began, log: c.Log}
	cmd := goCommand("build", "-v", "-trimpath", "-ldflags", r.ldflags, "-o", next, r.target)
	output, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { watch.count(goCommand("list", "-deps", r.target)) })
	all.Go(func() { watch.report(stop) })
	watch.read(output)
	err = cmd.Wait()
	close(stop)
	all.Wait()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, watch.tail())
	}
	// The program first: a stamp without its program would be worse than none.
	if err := os.Rename(next, c.Path(n)); err != nil {
		return err
	}
	if err := os.WriteFile(c.Path(n)+".stamp", []byte(stamp+"\n"), 0o644); err != nil {
		return err
	}
	c.Log("built %s in %s: %s", n, time.Since(began).Round(time.Second), filepath.Clean(c.Path(n)))
	return nil
}

// progress follows `go build -v`, which names each package as it is compiled.
type progress struct {
	name  Name
	began time.Time
	log   func(string, ...any)

	mu       sync.Mutex
	compiled int
	total    int
	last     string
	lines    []string // the last few that are not package names
}

func (p *progress) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		p.mu.Lock()
		if isPackage(line) {
			p.compiled++
		} else {
			const keep = 20 // lines of a compiler's complaint
			p.lines = append(p.lines, line)
			p.lines = p.lines[max(0, len(p.lines)-keep):]
		}
		p.last = line
		p.mu.Unlock()
	}
}

func isPackage(line string) bool {
	return line != "" && !strings.ContainsAny(line, " :#\t")
}

// count asks for the number of packages in all; those in Go's build cache are
// among them and never named by the build, so it is an upper limit.
func (p *progress) count(list *exec.Cmd) {
	out, err := list.Output()
	if err != nil {
		return // only the progress lines lack it
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total = strings.Count(string(out), "\n")
}

func (p *progress) report(stop <-chan struct{}) {
	tick := time.NewTicker(often)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			p.mu.Lock()
			of := ""
			if p.total > 0 {
				of = fmt.Sprintf(" of at most %d", p.total)
			}
			p.log("building %s: %s, %d%s packages compiled, now %s",
				p.name, time.Since(p.began).Round(time.Second), p.compiled, of, p.last)
			p.mu.Unlock()
		}
	}
}

func (p *progress) tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// Tool builds devcluster itself, in its clone's workspace; Go's build cache
// makes that a second when nothing changed.
func (c Cache) Tool(ctx context.Context) (string, error) {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return "", fmt.Errorf("build devcluster: %w", err)
	}
	path := c.Path("devcluster")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path+".new", ".")
	cmd.Dir, cmd.Env = c.Source, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build devcluster: %w\n%s", err, out)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return "", fmt.Errorf("build devcluster: %w", err)
	}
	return path, nil
}
