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

// part is a module that Traefik's go.mod replaces, put together again from what
// is published and from the files of build/traefik/parts.
type part struct {
	dir     string            // beside go.mod
	module  string            // what it stands for
	version string            // downloaded first; "": the one that go.mod requires
	alone   bool              // nothing is downloaded, there are only our files
	gomod   string            // its go.mod; "": the module's own
	files   map[string]string // in parts → in dir
}

var traefikParts = []part{
	{
		dir: "ext", module: "github.com/traefik/traefik/dynamic/ext", alone: true,
		gomod: "module github.com/traefik/traefik/dynamic/ext\n\ngo 1.22\n",
		files: map[string]string{"ext/ext.go": "ext.go"},
	},
	{ // the last release; it has no go.mod
		dir: "httpauth", module: "github.com/abbot/go-http-auth", version: "v0.4.0",
		gomod: "module github.com/abbot/go-http-auth\n\ngo 1.22\n",
		files: map[string]string{"httpauth/extra.go": "extra.go"},
	},
	{
		dir: "lego", module: "github.com/go-acme/lego/v5",
		files: map[string]string{"lego/providers.go": "providers/dns/zz_gen_dns_providers.go"},
	},
}

// traefikFiles are all that decide what becomes of Traefik.
func traefikFiles() []string {
	files := []string{"go.mod", "go.sum"}
	for _, p := range traefikParts {
		for from := range p.files {
			files = append(files, filepath.Join("parts", from))
		}
	}
	return files
}

// assemble makes the folder that Traefik is built in.
func (c Cache) assemble(ctx context.Context, source string) (string, error) {
	dir := filepath.Join(c.Dir, "traefik.src")
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	for _, p := range traefikParts {
		if err := p.assemble(ctx, source, filepath.Join(dir, p.dir)); err != nil {
			return "", fmt.Errorf("%s: %w", p.dir, err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		if err := copyFile(filepath.Join(source, name), filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	return dir, nil
}

func (p part) assemble(ctx context.Context, source, dir string) error {
	if !p.alone {
		version := p.version
		if version == "" {
			var err error
			if version, err = required(filepath.Join(source, "go.mod"), p.module); err != nil {
				return err
			}
		}
		published, err := download(ctx, p.module+"@"+version)
		if err != nil {
			return err
		}
		if err := os.CopyFS(dir, os.DirFS(published)); err != nil {
			return err
		}
	}
	for from, to := range p.files {
		if err := copyFile(filepath.Join(source, "parts", from), filepath.Join(dir, to)); err != nil {
			return err
		}
	}
	if p.gomod == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, "go.mod"), []byte(p.gomod), 0o644)
}

// download is the folder of a module in Go's cache.
func download(ctx context.Context, module string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	cmd.Dir = os.TempDir() // outside of any module
	raw, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("download %s: %w: %s", module, err, raw)
	}
	var out struct{ Dir string }
	if err := json.Unmarshal(raw, &out); err != nil {
		return "", fmt.Errorf("download %s: %w", module, err)
	}
	return out.Dir, nil
}

func copyFile(from, to string) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, raw, 0o644)
}

// traefikVersion stamps the version, which Traefik otherwise calls "dev".
func traefikVersion(gomod string) (string, error) {
	version, err := required(gomod, traefikModule)
	return " -X " + traefikModule + "/pkg/version.Version=" + strings.TrimPrefix(version, "v"), err
}

// required is the version of a module that a go.mod requires.
func required(gomod, module string) (string, error) {
	file, err := parse(gomod)
	if err != nil {
		return "", fmt.Errorf("version of %s: %w", module, err)
	}
	for _, r := range file.Require {
		if r.Mod.Path == module {
			return r.Mod.Version, nil
		}
	}
	return "", fmt.Errorf("version of %s: %s does not require it", module, gomod)
}

// pinTraefik is pin for Traefik: its parts stand in place of what it replaces,
// and go.sum is written by the build itself, for `go mod tidy` asks for modules
// that no build needs.
func (c Cache) pinTraefik(ctx context.Context, version string) error {
	source := filepath.Join(c.Source, "build", string(Traefik))
	gomod := filepath.Join(source, "go.mod")
	if version == "" {
		var err error
		if version, err = required(gomod, traefikModule); err != nil {
			return err
		}
	}
	published, err := download(ctx, traefikModule+"@"+version)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(filepath.Join(published, "go.mod"))
	if err != nil {
		return err
	}
	next, err := wrapTraefik(content, version)
	if err != nil {
		return err
	}
	if err := os.WriteFile(gomod, next, 0o644); err != nil {
		return err
	}
	if err := copyFile(filepath.Join(published, "go.sum"), filepath.Join(source, "go.sum")); err != nil {
		return err
	}
	dir, err := c.assemble(ctx, source)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // made anew for the next build
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", traefikModule+"/cmd/traefik")
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod", "CGO_ENABLED=0"), os.Stderr
	if _, err := cmd.Output(); err != nil {
		return err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		if err := copyFile(filepath.Join(dir, name), filepath.Join(source, name)); err != nil {
			return err
		}
	}
	return nil
}

func wrapTraefik(content []byte, version string) ([]byte, error) {
	content, err := Wrap(content, "github.com/sandbar-io/sandbar/tools/devcluster/build/traefik", traefikModule, version)
	if err != nil {
		return nil, err
	}
	file, err := modfile.Parse("go.mod", content, nil)
	if err != nil {
		return nil, err
	}
	for _, p := range traefikParts {
		if err := file.AddReplace(p.module, "", "./"+p.dir, ""); err != nil {
			return nil, err
		}
	}
	file.Cleanup()
	return file.Format()
}

const traefikModule = "github.com/traefik/traefik/v3"
