// Package checks holds the house rules that a machine can see. Its tests apply
// them to this repository; `go test ./checks` in tools says what breaks them.
package checks

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// Ours is the path that all modules of the repository begin with.
const Ours = "github.com/sandbar-io/sandbar/"

// Module is one go.mod file.
type Module struct {
	Dir      string // relative to the repository, with slashes
	File     *modfile.File
	InWork   bool // in go.work
	HasGo    bool // has a Go file of its own
	repoRoot string
}

// Name is the module's path without the part that all of ours share.
func (m Module) Name() string { return strings.TrimPrefix(m.File.Module.Mod.Path, Ours) }

// Path is the module's folder on this machine.
func (m Module) Path() string { return filepath.Join(m.repoRoot, filepath.FromSlash(m.Dir)) }

// Service reports whether the module is one of services/.
func (m Module) Service() bool { return strings.HasPrefix(m.Dir, "services/") }

// Load reads go.work and every go.mod below root.
func Load(root string) (modules []Module, goVersion string, err error) {
	text, err := os.ReadFile(filepath.Join(root, "go.work"))
	if err != nil {
		return nil, "", fmt.Errorf("go.work: %w", err)
	}
	work, err := modfile.ParseWork("go.work", text, nil)
	if err != nil {
		return nil, "", fmt.Errorf("go.work: %w", err)
	}
	var used []string
	for _, use := range work.Use {
		used = append(used, filepath.ToSlash(filepath.Clean(use.Path)))
	}
	err = Walk(root, func(path string) error {
		if filepath.Base(path) != "go.mod" {
			return nil
		}
		m, err := load(root, path)
		if err != nil {
			return err
		}
		m.InWork = slices.Contains(used, m.Dir)
		modules = append(modules, m)
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	for _, dir := range used {
		if !slices.ContainsFunc(modules, func(m Module) bool { return m.Dir == dir }) {
			return nil, "", fmt.Errorf("go.work uses %s, which has no go.mod", dir)
		}
	}
	return modules, work.Go.Version, nil
}

func load(root, path string) (Module, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Module{}, fmt.Errorf("read: %w", err)
	}
	file, err := modfile.Parse(path, text, nil)
	if err != nil {
		return Module{}, fmt.Errorf("parse: %w", err)
	}
	dir, err := filepath.Rel(root, filepath.Dir(path))
	if err != nil {
		return Module{}, fmt.Errorf("path: %w", err)
	}
	m := Module{Dir: filepath.ToSlash(dir), File: file, repoRoot: root}
	m.HasGo, err = hasGo(filepath.Dir(path))
	return m, err
}

func hasGo(dir string) (bool, error) {
	found := false
	err := Walk(dir, func(path string) error {
		found = found || strings.HasSuffix(path, ".go")
		return nil
	})
	return found, err
}

// Walk visits the files below root that are the project's: not what tools keep
// in hidden folders, nor what tests use as data.
func Walk(root string, visit func(path string) error) error {
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		return visit(path)
	})
	if err != nil {
		return fmt.Errorf("walk %s: %w", root, err)
	}
	return nil
}
