package checks

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// Versions finds dependencies that the modules of go.work want in different
// versions: the workspace builds with the highest, and what ships does not.
func Versions(modules []Module) []string {
	wanted := map[string]map[string][]string{} // dependency → version → modules
	for _, m := range modules {
		if !m.InWork {
			continue
		}
		for _, r := range m.File.Require {
			if strings.HasPrefix(r.Mod.Path, Ours) {
				continue
			}
			if wanted[r.Mod.Path] == nil {
				wanted[r.Mod.Path] = map[string][]string{}
			}
			wanted[r.Mod.Path][r.Mod.Version] = append(wanted[r.Mod.Path][r.Mod.Version], m.Name())
		}
	}
	var problems []string
	for _, dependency := range slices.Sorted(maps.Keys(wanted)) {
		versions := wanted[dependency]
		if len(versions) < 2 {
			continue
		}
		var parts []string
		for _, version := range slices.Sorted(maps.Keys(versions)) {
			parts = append(parts, version+" in "+strings.Join(versions[version], ", "))
		}
		problems = append(problems, fmt.Sprintf("%s has more than one version: %s; run `go work sync`, then `go mod tidy` in each module",
			dependency, strings.Join(parts, "; ")))
	}
	return problems
}

// GoVersions finds modules of go.work with a go line that differs from its own.
func GoVersions(modules []Module, work string) []string {
	var problems []string
	for _, m := range modules {
		if m.InWork && (m.File.Go == nil || m.File.Go.Version != work) {
			problems = append(problems, fmt.Sprintf("%s/go.mod: its go line is not go.work's, %s", m.Dir, work))
		}
	}
	return problems
}

// Replaces finds requirements of our own modules that would be looked for in
// the world: without a relative replace GOWORK=off, which is what ships, does not build.
func Replaces(modules []Module) []string {
	dirs := map[string]string{}
	for _, m := range modules {
		dirs[m.File.Module.Mod.Path] = m.Dir
	}
	var problems []string
	for _, m := range modules {
		targets := map[string]string{}
		for _, r := range m.File.Replace {
			targets[r.Old.Path] = r.New.Path
		}
		for _, r := range m.File.Require {
			if !strings.HasPrefix(r.Mod.Path, Ours) {
				continue
			}
			target, ok := targets[r.Mod.Path]
			switch {
			case !ok || !strings.HasPrefix(target, "."):
				problems = append(problems, fmt.Sprintf("%s/go.mod: %s wants a relative replace", m.Dir, r.Mod.Path))
			case path.Join(m.Dir, target) != dirs[r.Mod.Path]:
				problems = append(problems, fmt.Sprintf("%s/go.mod: the replace of %s leads to %s, the module is in %s",
					m.Dir, r.Mod.Path, path.Join(m.Dir, target), dirs[r.Mod.Path]))
			case r.Mod.Version != "v0.0.0":
				problems = append(problems, fmt.Sprintf("%s/go.mod: require %s v0.0.0, not %s", m.Dir, r.Mod.Path, r.Mod.Version))
			}
		}
	}
	return problems
}

// Workspace finds modules that are in go.work and should not be, or the other
// way round: the replace directives of the modules that build Kubernetes and
// etcd must not reach the services.
func Workspace(modules []Module) []string {
	var problems []string
	for _, m := range modules {
		wrapper := strings.Contains(m.Dir, "/build/")
		switch {
		case wrapper && m.InWork:
			problems = append(problems, m.Dir+" is in go.work: its replace directives would reach the services")
		case !wrapper && !m.InWork:
			problems = append(problems, m.Dir+" is missing in go.work: nothing would build or test it")
		}
	}
	return problems
}
