// Package binaries builds Kubernetes, etcd, kwok and Traefik from their Go modules, into
// a cache outside the clone, and builds them again only when a pin changes.
package binaries

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/sys/unix"
)

// Name of a program that can be built.
type Name string

// The programs. Kubernetes is all of its programs in one binary.
const (
	Kubernetes Name = "kubernetes"
	Etcd       Name = "etcd"
	Kwok       Name = "kwok"
	Pause      Name = "pause"
	Traefik    Name = "traefik"
)

// Cache is where built programs lie.
type Cache struct {
	Dir    string // …/sandbar/bin
	Source string // tools/devcluster in a clone
	Log    func(format string, a ...any)
}

// CacheDir is sandbar/bin in $SANDBAR_CACHE or else in the user's cache folder.
func CacheDir() (string, error) {
	if dir := os.Getenv("SANDBAR_CACHE"); dir != "" {
		return filepath.Join(dir, "sandbar", "bin"), nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place for built programs; set SANDBAR_CACHE: %w", err)
	}
	return filepath.Join(dir, "sandbar", "bin"), nil
}

// FindSource finds tools/devcluster: $SANDBAR_SOURCE is a clone, else the one
// this program was built from, else the one around the working folder.
func FindSource() (string, error) {
	var tried []string
	if clone := os.Getenv("SANDBAR_SOURCE"); clone != "" {
		tried = append(tried, filepath.Join(clone, "tools", "devcluster"))
	}
	if _, file, _, ok := runtime.Caller(0); ok {
		tried = append(tried, filepath.Join(filepath.Dir(file), "..", ".."))
	}
	if dir, err := os.Getwd(); err == nil {
		for ; ; dir = filepath.Dir(dir) {
			tried = append(tried, filepath.Join(dir, "tools", "devcluster"))
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	for _, dir := range tried {
		if _, err := os.Stat(filepath.Join(dir, "build", "kubernetes", "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("the sources of devcluster are not found: run inside the clone, or set SANDBAR_SOURCE to it")
}

// Path is where a program lies once it is built.
func (c Cache) Path(n Name) string { return filepath.Join(c.Dir, string(n)) }

// Missing lists those of the programs that must be built first.
func (c Cache) Missing(names ...Name) ([]Name, error) {
	var missing []Name
	for _, n := range names {
		r, err := c.recipe(n)
		if err != nil {
			return nil, err
		}
		if !c.current(n, r) {
			missing = append(missing, n)
		}
	}
	return missing, nil
}

// Ensure builds what is missing. Two callers at the same time build once.
func (c Cache) Ensure(ctx context.Context, names ...Name) error {
	missing, err := c.Missing(names...)
	if err != nil || len(missing) == 0 {
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return fmt.Errorf("cache of programs: %w", err)
	}
	lock, err := os.Open(c.Dir)
	if err != nil {
		return fmt.Errorf("cache of programs: %w", err)
	}
	defer lock.Close()
	if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		c.Log("another devcluster builds into %s; waiting for it", c.Dir)
		if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
			return fmt.Errorf("cache of programs: %w", err)
		}
	}
	for _, n := range missing {
		r, err := c.recipe(n)
		if err != nil {
			return err
		}
		if c.current(n, r) {
			continue // the other one built it meanwhile
		}
		if err := c.build(ctx, n, r); err != nil {
			return fmt.Errorf("build %s: %w", n, err)
		}
	}
	return nil
}

// recipe is all that decides what a program becomes.
type recipe struct {
	dir     string
	files   []string // whose content matters
	target  string   // package or file
	ldflags string
	env     []string
	// assemble makes the folder to build in, where dir is not it.
	assemble func(ctx context.Context, source string) (string, error)
}

func (c Cache) recipe(n Name) (recipe, error) {
	r := recipe{dir: filepath.Join(c.Source, "build", string(n)), target: ".", ldflags: "-s -w"}
	r.files = []string{"go.mod", "go.sum", "main.go"}
	// The wrapper modules stand outside go.work.
	r.env = []string{"CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-buildvcs=false"}
	switch n {
	case Pause:
		r.dir = filepath.Join(c.Source, "pause")
		r.files, r.target = []string{"main.go"}, "main.go"
		// Standard library only: it builds whatever state the modules are in.
		r.env = append(r.env, "GO111MODULE=off")
	case Traefik:
		flags, err := traefikVersion(filepath.Join(r.dir, "go.mod"))
		if err != nil {
			return recipe{}, err
		}
		r.files, r.target, r.assemble = traefikFiles(), traefikModule+"/cmd/traefik", c.assemble
		r.ldflags += flags
	case Kubernetes:
		flags, err := versionFlags(filepath.Join(r.dir, "go.mod"))
		if err != nil {
			return recipe{}, err
		}
		r.ldflags += flags
	}
	return r, nil
}

// versionFlags stamps Kubernetes' version. Without them its programs call
// themselves v0.0.0-master, and the kubelet reports that as its node's version.
func versionFlags(gomod string) (string, error) {
	raw, err := os.ReadFile(gomod)
	if err != nil {
		return "", fmt.Errorf("version of Kubernetes: %w", err)
	}
	file, err := modfile.ParseLax(gomod, raw, nil)
	if err != nil {
		return "", fmt.Errorf("version of Kubernetes: %w", err)
	}
	for _, require := range file.Require {
		if require.Mod.Path != "k8s.io/kubernetes" {
			continue
		}
		version := require.Mod.Version
		parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
		if len(parts) != 3 {
			return "", fmt.Errorf("version of Kubernetes: %q is none", version)
		}
		var flags strings.Builder
		for _, p := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
			fmt.Fprintf(&flags, " -X %s.gitVersion=%s -X %s.gitMajor=%s -X %s.gitMinor=%s", p, version, p, parts[0], p, parts[1])
			// Fixed values, so that the same pin gives the same binary.
			fmt.Fprintf(&flags, " -X %s.gitTreeState=clean -X %s.gitCommit=%040d -X %s.buildDate=2026-01-01T00:00:00Z", p, p, 0, p)
		}
		return flags.String(), nil
	}
	return "", fmt.Errorf("version of Kubernetes: %s does not require k8s.io/kubernetes", gomod)
}

// stamp identifies what a recipe builds.
func (r recipe) stamp() (string, error) {
	h := sha256.New()
	for _, f := range slices.Sorted(slices.Values(r.files)) {
		file, err := os.Open(filepath.Join(r.dir, f))
		if err != nil {
			return "", fmt.Errorf("sources of a program: %w", err)
		}
		_, err = io.Copy(h, file)
		file.Close()
		if err != nil {
			return "", fmt.Errorf("sources of a program: %w", err)
		}
	}
	fmt.Fprintln(h, r.ldflags, runtime.GOOS, runtime.GOARCH)
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (c Cache) current(n Name, r recipe) bool {
	want, err := r.stamp()
	if err != nil {
		return false
	}
	have, err := os.ReadFile(c.Path(n) + ".stamp")
	if err != nil || strings.TrimSpace(string(have)) != want {
		return false
	}
	_, err = os.Stat(c.Path(n))
	return err == nil
}
