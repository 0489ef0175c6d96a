package rootfs

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// requirements holds two files for each set of packages: NAME.in says what is wanted,
// NAME.lock is all of it with versions and hashes, as Lock wrote it. In both, a line
// that ends in sourceMark is of a package that is published as source only, and one that
// ends in olderMark of one whose wheels name an older Python, though they hold no
// machine code. In NAME.in a line of "!" and a name leaves a package out of the lock: one
// that is large, and that nothing imports which runs here.
//
//go:embed requirements
var requirements embed.FS

const (
	sourceMark = "  # source"
	olderMark  = "  # python " + older
	older      = "3.12"
)

//go:embed packages.go
var packagesSource string

// Packages is the folder of a set of Python packages.
func (c Cache) Packages(ctx context.Context, name string) (string, error) {
	locked, err := requirements.ReadFile("requirements/" + name + ".lock")
	if err != nil {
		return "", fmt.Errorf("no set of packages %q; there are %s", name, strings.Join(Sets(), ", "))
	}
	root, err := c.Root(ctx) // its Python compiles them
	if err != nil {
		return "", err
	}
	return c.ensure(ctx, "packages-"+name, keyOf(string(locked), packagesSource, rootKey()), func(ctx context.Context, dir string) error {
		c.Log("installing the Python packages of %s", name)
		if err := c.installPackages(ctx, string(locked), dir); err != nil {
			return err
		}
		return compile(ctx, Chroot{Root: root, Packages: dir, writable: true}, Packages)
	})
}

// Sets are the names of all sets of packages.
func Sets() []string {
	var names []string
	locks, _ := fs.Glob(requirements, "requirements/*.lock") // the pattern is good
	for _, l := range locks {
		names = append(names, strings.TrimSuffix(path.Base(l), ".lock"))
	}
	return names
}

// installPackages runs pip outside the folder, for the folder's Python.
func (c Cache) installPackages(ctx context.Context, locked, dir string) error {
	work, err := os.MkdirTemp(c.Dir, ".wheels-")
	if err != nil {
		return fmt.Errorf("packages: %w", err)
	}
	defer os.RemoveAll(work)
	p := split(locked)
	built, err := c.buildWheels(ctx, work, p.sources)
	if err != nil {
		return err
	}
	if err := c.takeOlder(ctx, work, p.older); err != nil {
		return err
	}
	list := filepath.Join(work, "requirements.txt")
	if err := os.WriteFile(list, []byte(p.wheels+built+p.older), 0o644); err != nil {
		return fmt.Errorf("packages: %w", err)
	}
	return c.pip(ctx, append(forTheRoot("--find-links", work, "--target", dir, "-r", list), "--no-deps", "--no-compile", "--require-hashes")...)
}

// forTheRoot are the arguments of a pip install for the folder's Python, not for the one
// that pip runs on.
func forTheRoot(more ...string) []string {
	return append([]string{"install", "--python-version", python, "--only-binary=:all:"}, more...)
}

// parts are the lines of a list of requirements by how they are installed.
type parts struct {
	wheels, sources, older string
	without                []string
}

func split(list string) (p parts) {
	for line := range strings.Lines(list) {
		text := strings.TrimSuffix(line, "\n")
		if source, ok := strings.CutSuffix(text, sourceMark); ok {
			p.sources += source + "\n"
		} else if wheel, ok := strings.CutSuffix(text, olderMark); ok {
			p.older += wheel + "\n"
		} else if name, ok := strings.CutPrefix(text, "!"); ok {
			p.without = append(p.without, name)
		} else {
			p.wheels += text + "\n"
		}
	}
	return p
}

// takeOlder downloads wheels of an older Python into dir under the names of wheels of any:
// their content, and so their hash, stays what was published.
func (c Cache) takeOlder(ctx context.Context, dir, lines string) error {
	if lines == "" {
		return nil
	}
	from := filepath.Join(dir, "older")
	list := filepath.Join(dir, "older.txt")
	if err := os.WriteFile(list, []byte(lines), 0o644); err != nil {
		return fmt.Errorf("packages: %w", err)
	}
	args := []string{
		"download", "--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", older,
		"--abi", "cp" + strings.ReplaceAll(older, ".", ""), "-d", from, "-r", list,
	}
	if strings.Contains(lines, "--hash=") {
		args = append(args, "--require-hashes")
	}
	if err := c.pip(ctx, args...); err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(from, "*.whl"))
	if err != nil {
		return err
	}
	for _, wheel := range found {
		parts := strings.SplitN(filepath.Base(wheel), "-", 3)
		if err := os.Rename(wheel, filepath.Join(dir, parts[0]+"-"+parts[1]+anyPython)); err != nil {
			return fmt.Errorf("packages: %w", err)
		}
	}
	return nil
}

// anyPython is how the name of a wheel ends that holds no machine code.
const anyPython = "-py3-none-any.whl"

// buildWheels makes wheels of the packages that are published as source only. They
// must be pure Python: this machine's Python is another than the folder's. It returns the
// lines by which pip finds them.
func (c Cache) buildWheels(ctx context.Context, dir, sources string) (string, error) {
	if sources == "" {
		return "", nil
	}
	list, with := filepath.Join(dir, "sources.txt"), filepath.Join(dir, "build.txt")
	if err := os.WriteFile(list, []byte(sources), 0o644); err != nil {
		return "", fmt.Errorf("packages: %w", err)
	}
	if err := os.WriteFile(with, []byte(buildTools), 0o644); err != nil {
		return "", fmt.Errorf("packages: %w", err)
	}
	args := []string{"wheel", "--no-deps", "--no-binary=:all:", "--only-binary=setuptools,wheel"}
	if strings.Contains(sources, "--hash=") {
		args = append(args, "--require-hashes")
	}
	if err := c.pip(ctx, append(args, "--build-constraint", with, "-w", dir, "-r", list)...); err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(dir, "*"+anyPython))
	if err != nil {
		return "", err
	}
	var lines strings.Builder
	for _, wheel := range found {
		hash, err := hashOf(wheel)
		if err != nil {
			return "", err
		}
		parts := strings.SplitN(filepath.Base(wheel), "-", 3)
		fmt.Fprintf(&lines, "%s==%s --hash=sha256:%s\n", parts[0], parts[1], hash)
	}
	if want := strings.Count(sources, "\n"); len(found) != want {
		return "", fmt.Errorf("of %d packages that are published as source only, %d are pure Python:\n%s", want, len(found), lines.String())
	}
	return lines.String(), nil
}

func hashOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("hash of %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// buildTools are what setup.py of a source package runs on.
const buildTools = "setuptools==80.9.0\nwheel==0.45.1\n"

// pipPin is the pip that is used, whatever this machine has: older ones cannot
// resolve for another Python.
const pipPin = "pip==26.3 --hash=sha256:f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13\n"

// pip runs pip on this machine's Python.
func (c Cache) pip(ctx context.Context, args ...string) error {
	dir, err := c.ensure(ctx, "pip", keyOf(pipPin), func(ctx context.Context, dir string) error {
		if exec.CommandContext(ctx, "python3", "-m", "pip", "--version").Run() != nil {
			if err := c.install(ctx, "pip3", "python3-pip"); err != nil {
				return err
			}
		}
		list := filepath.Join(dir, "pip.txt")
		if err := os.WriteFile(list, []byte(pipPin), 0o644); err != nil {
			return err
		}
		return run(exec.CommandContext(ctx, "python3", "-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "--require-hashes",
			"--only-binary=:all:", "--target", dir, "-r", list))
	})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "python3", append([]string{"-m", "pip", "--disable-pip-version-check", "--no-input"}, args...)...)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+dir)
	return run(cmd)
}
