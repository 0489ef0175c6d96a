package binaries

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
)

// upstream is a module that a wrapper module builds programs of. Its go.mod is
// copied, because a module's replace directives and its choice of versions
// count only where it is the main module.
type upstream struct {
	name Name
	path string
}

var upstreams = []upstream{
	{Kubernetes, "k8s.io/kubernetes"},
	{Etcd, "go.etcd.io/etcd/server/v3"},
	{Kwok, "sigs.k8s.io/kwok"},
}

// Pin writes go.mod and go.sum of a wrapper module anew, for a version of its
// upstream. An empty version keeps the present one.
func (c Cache) Pin(ctx context.Context, n Name, version string) error {
	if n == Traefik {
		if err := c.pinTraefik(ctx, version); err != nil {
			return fmt.Errorf("pin %s: %w", n, err)
		}
		return nil
	}
	for _, u := range upstreams {
		if u.name == n {
			if err := c.pin(ctx, u, version); err != nil {
				return fmt.Errorf("pin %s: %w", n, err)
			}
			return nil
		}
	}
	return fmt.Errorf("pin %s: no such wrapper module", n)
}

func (c Cache) pin(ctx context.Context, u upstream, version string) error {
	dir := filepath.Join(c.Source, "build", string(u.name))
	if version == "" {
		old, err := parse(filepath.Join(dir, "go.mod"))
		if err != nil {
			return err
		}
		for _, r := range old.Require {
			if r.Mod.Path == u.path {
				version = r.Mod.Version
			}
		}
	}
	tool := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod"), os.Stderr
		return cmd.Output()
	}
	raw, err := tool("mod", "download", "-json", u.path+"@"+version)
	if err != nil {
		return err
	}
	var download struct{ Dir, GoMod string }
	if err := json.Unmarshal(raw, &download); err != nil {
		return err
	}
	content, err := os.ReadFile(download.GoMod)
	if err != nil {
		return err
	}
	next, err := Wrap(content, "github.com/sandbar-io/sandbar/tools/devcluster/build/"+string(u.name), u.path, version)
	if err != nil {
		return err
	}
	sums, err := os.ReadFile(filepath.Join(download.Dir, "go.sum"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), next, 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o644); err != nil {
		return err
	}
	_, err = tool("mod", "tidy")
	return err
}

// Wrap turns upstream's go.mod into the wrapper module's: another name, upstream
// itself required, and staging folders replaced by the published modules.
func Wrap(content []byte, module, path, version string) ([]byte, error) {
	file, err := modfile.Parse("go.mod", content, nil)
	if err != nil {
		return nil, err
	}
	if err := file.AddModuleStmt(module); err != nil {
		return nil, err
	}
	// The Go that is installed builds it; a toolchain line could fetch another.
	file.DropToolchainStmt()
	// Kubernetes v1.X.Y publishes its staging modules as v0.X.Y.
	staging := "v0" + strings.TrimPrefix(version, "v1")
	for _, r := range file.Replace {
		if !strings.HasPrefix(r.New.Path, "./staging/src/") {
			continue
		}
		if err := file.AddReplace(r.Old.Path, r.Old.Version, r.Old.Path, staging); err != nil {
			return nil, err
		}
	}
	// Sibling modules in upstream's own repository are published too.
	for _, r := range append([]*modfile.Replace(nil), file.Replace...) {
		if strings.HasPrefix(r.New.Path, "../") {
			if err := file.DropReplace(r.Old.Path, r.Old.Version); err != nil {
				return nil, err
			}
		}
	}
	if err := file.AddRequire(path, version); err != nil {
		return nil, err
	}
	file.Cleanup()
	return file.Format()
}

func parse(path string) (*modfile.File, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return modfile.ParseLax(path, raw, nil)
}
