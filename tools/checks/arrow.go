package checks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// Package is a package as `go list` tells of it.
type Package struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

// Graph is what packages import, all the way down.
type Graph map[string]Package

// Arrow is a rule about what may not be reached from packages.
type Arrow struct {
	From   []string // import paths; all of them where it ends in "/..."
	Never  func(Package) bool
	Reason string
}

// List asks the go command for the packages that patterns name in the module
// at dir and for all that they import. It asks as what ships is built, with
// GOWORK=off. Tests are not followed: they may link what a binary may not.
func List(ctx context.Context, dir string, patterns ...string) (Graph, error) {
	args := append([]string{"list", "-deps", "-json=ImportPath,Standard,Imports"}, patterns...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list in %s: %w\n%s", dir, err, problems.String())
	}
	graph := Graph{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p Package
		switch err := decoder.Decode(&p); {
		case errors.Is(err, io.EOF):
			return graph, nil
		case err != nil:
			return nil, fmt.Errorf("go list: %w", err)
		}
		graph[p.ImportPath] = p
	}
}

// Check returns one line for every package that an arrow starts from and that
// reaches what it must not, with the shortest way there.
func (g Graph) Check(a Arrow) []string {
	var problems []string
	for path := range g {
		if !matches(a.From, path) {
			continue
		}
		if way := g.way(path, a.Never); way != nil {
			problems = append(problems, strings.Join(short(way), " → ")+": "+a.Reason)
		}
	}
	return problems
}

// way is the shortest chain of imports from a package to one that never names.
func (g Graph) way(from string, never func(Package) bool) []string {
	before := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		path := queue[0]
		p, known := g[path]
		if !known {
			p = Package{ImportPath: path, Standard: path == "C" || path == "unsafe"}
		}
		if path != from && never(p) {
			var way []string
			for ; path != ""; path = before[path] {
				way = append([]string{path}, way...)
			}
			return way
		}
		if p.Standard {
			continue // nothing of ours lies behind it
		}
		for _, next := range p.Imports {
			if _, seen := before[next]; !seen {
				before[next] = path
				queue = append(queue, next)
			}
		}
	}
	return nil
}

func short(way []string) []string {
	out := make([]string, 0, len(way))
	for _, path := range way {
		out = append(out, strings.TrimPrefix(path, Ours))
	}
	return out
}

func matches(patterns []string, path string) bool {
	for _, pattern := range patterns {
		tree, all := strings.CutSuffix(pattern, "/...")
		if path == pattern || all && (path == tree || strings.HasPrefix(path, tree+"/")) {
			return true
		}
	}
	return false
}

// Under makes a rule that a package lies under one of prefixes.
func Under(prefixes ...string) func(Package) bool {
	return func(p Package) bool {
		for _, prefix := range prefixes {
			if p.ImportPath == strings.TrimSuffix(prefix, "/") || strings.HasPrefix(p.ImportPath, prefix) {
				return true
			}
		}
		return false
	}
}
