package rootfs

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

const (
	suite  = "trixie" // its Python is 3.13
	python = "3.13"
)

// include is what the agent server needs beside Python: its terminal is tmux, its
// changes are git's.
var include = []string{"ca-certificates", "curl", "git", "procps", "python3", "tmux"}

// UserID is who sandboxes run as: the clients send it.
const UserID = 10001

// home of that user.
const home = "/home/openhands"

// Where the packages of a set are laid, as in the published image of the agent
// server: clients start its Python, or its launcher.
const (
	venv     = "/agent-server/.venv"
	Packages = venv + "/lib/python" + python + "/site-packages"
	Python   = venv + "/bin/python"
	Launcher = "/usr/local/bin/openhands-agent-server"
)

//go:embed debian.go
var debianSource string

func rootKey() string { return keyOf(debianSource, runtime.GOARCH) }

// Root is the folder of Debian, with nothing of OpenHands in it but its user and
// the places for its packages.
func (c Cache) Root(ctx context.Context) (string, error) {
	return c.ensure(ctx, "root", rootKey(), c.buildRoot)
}

func (c Cache) buildRoot(ctx context.Context, dir string) error {
	if os.Geteuid() != 0 {
		return errors.New("debootstrap needs root")
	}
	if err := c.install(ctx, "debootstrap", "debootstrap"); err != nil {
		return err
	}
	mirror, err := mirror(ctx)
	if err != nil {
		return err
	}
	c.Log("making a root folder of Debian %s, once for this machine: about 2 minutes", suite)
	// In a mount namespace of its own: what a killed debootstrap leaves mounted goes with it.
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "debootstrap", "--variant=minbase",
		"--include="+strings.Join(include, ","), suite, dir, mirror)
	if err := run(cmd); err != nil {
		return fmt.Errorf("%w\n(the mirror is the one of this machine's apt; DEBIAN_MIRROR names another)", err)
	}
	for _, step := range []func(string) error{prune, addUser, layOut} {
		if err := step(dir); err != nil {
			return err
		}
	}
	return compile(ctx, Chroot{Root: dir, writable: true}, "/usr/lib/python"+python)
}

// mirror is where this machine itself gets Debian from.
func mirror(ctx context.Context) (string, error) {
	if m := os.Getenv("DEBIAN_MIRROR"); m != "" {
		return m, nil
	}
	cmd := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)",
		"Created-By: Packages", "Label: Debian", "Component: main")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("apt-get indextargets: %w", err)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if first == "" {
		return "", errors.New("the sources of this machine's apt name no mirror of Debian's main; set DEBIAN_MIRROR to one")
	}
	return first, nil
}

// install gets a missing program of this machine from Debian.
func (c Cache) install(ctx context.Context, program, pkg string) error {
	if _, err := exec.LookPath(program); err == nil {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("%s is missing, and there is no apt-get to install it", program)
	}
	c.Log("installing %s with apt-get", pkg)
	for _, args := range [][]string{{"update"}, {"install", "-y", "--no-install-recommends", pkg}} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if err := run(cmd); err != nil {
			return err
		}
	}
	return nil
}

// prune removes what neither a sandbox nor a client reads.
func prune(root string) error {
	for _, pattern := range []string{
		"var/cache/apt/*", "var/lib/apt/lists/*", "var/log/*", "usr/share/doc/*", "usr/share/man/*",
		"usr/share/locale/*", "dev/*", "tmp/*",
	} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		for _, path := range found {
			if err := os.RemoveAll(path); err != nil {
				return fmt.Errorf("prune: %w", err)
			}
		}
	}
	return nil
}

func addUser(root string) error {
	for file, line := range map[string]string{
		"etc/passwd": fmt.Sprintf("openhands:x:%[1]d:%[1]d::%s:/bin/bash\n", UserID, home),
		"etc/group":  fmt.Sprintf("openhands:x:%d:\n", UserID),
		"etc/shadow": "openhands:*:1::::::\n", // su takes nobody who is not in it
	} {
		f, err := os.OpenFile(filepath.Join(root, file), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("add the user: %w", err)
		}
		_, err = f.WriteString(line)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("add the user: %w", err)
		}
	}
	dir := filepath.Join(root, home)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("add the user: %w", err)
	}
	return os.Chown(dir, UserID, UserID)
}

// layOut makes what stands still in the image: a virtual environment without its
// packages, the launcher, and folders to mount on.
func layOut(root string) error {
	for _, dir := range []string{Packages, filepath.Dir(Python), "/workspace", Scripts} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return fmt.Errorf("lay out: %w", err)
		}
	}
	if err := os.Symlink("/usr/bin/python"+python, filepath.Join(root, Python)); err != nil {
		return fmt.Errorf("lay out: %w", err)
	}
	config := "home = /usr/bin\ninclude-system-site-packages = false\nversion = " + python + "\n"
	if err := os.WriteFile(filepath.Join(root, venv, "pyvenv.cfg"), []byte(config), 0o644); err != nil {
		return fmt.Errorf("lay out: %w", err)
	}
	launcher := "#!/bin/sh\nexec " + Python + " -m openhands.agent_server \"$@\"\n"
	if err := os.WriteFile(filepath.Join(root, Launcher), []byte(launcher), 0o755); err != nil {
		return fmt.Errorf("lay out: %w", err)
	}
	// debootstrap copies this machine's; in a pod and in a Chroot it is mounted over.
	return os.WriteFile(filepath.Join(root, "etc", "resolv.conf"), nil, 0o644)
}
