package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sandbar-io/sandbar/tools/internal/process"
)

const cgroupRoot = "/sys/fs/cgroup"

// unified reports whether the machine has cgroup v2 alone.
func unified() bool {
	var fs unix.Statfs_t
	return unix.Statfs(cgroupRoot, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC
}

// hierarchies are the mount points of all cgroup trees.
func hierarchies() []string {
	var found []string
	for _, m := range mounts() {
		if m.kind == "cgroup" || m.kind == "cgroup2" {
			found = append(found, m.path)
		}
	}
	return found
}

// makeCgroups makes a node's own root cgroup in every tree. The kubelet wants
// it there, and on v1 a cpuset without CPUs and memory nodes takes no process.
func makeCgroups(name string) error {
	for _, tree := range hierarchies() {
		dir := filepath.Join(tree, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(tree, file))
			if err != nil {
				continue // not the cpuset tree, or v2, where children inherit
			}
			if err := os.WriteFile(filepath.Join(dir, file), value, 0o644); err != nil {
				return fmt.Errorf("cgroup: %w", err)
			}
		}
	}
	if !unified() {
		return nil
	}
	for _, dir := range []string{cgroupRoot, filepath.Join(cgroupRoot, name)} {
		for _, controller := range []string{"+cpu", "+cpuset", "+memory", "+pids", "+io"} {
			err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte(controller), 0o644)
			if err != nil {
				return fmt.Errorf("cgroup v2: %s in %s: %w", controller, dir, err)
			}
		}
	}
	return nil
}

// ourCgroups finds the root cgroups of an instance's nodes.
func ourCgroups(l layout) []string {
	var found []string
	for _, tree := range hierarchies() {
		match, _ := filepath.Glob(filepath.Join(tree, l.bridge()+"-node*"))
		found = append(found, match...)
	}
	return found
}

// contained finds all processes within the nodes' cgroups: those of containers,
// which carry no mark.
func contained(l layout) []process.Identity {
	seen := map[int]bool{}
	var found []process.Identity
	for _, root := range ourCgroups(l) {
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return nil // a cgroup that went away meanwhile
			}
			// A frozen process does not even die.
			_ = os.WriteFile(filepath.Join(path, "freezer.state"), []byte("THAWED"), 0o644)
			raw, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			for _, field := range strings.Fields(string(raw)) {
				pid, err := strconv.Atoi(field)
				if err != nil || seen[pid] {
					continue
				}
				seen[pid] = true
				if id, err := process.Of(pid); err == nil {
					found = append(found, id)
				}
			}
			return nil
		})
	}
	return found
}

// removeCgroups removes them from the leaves up; a cgroup is removed by rmdir
// alone, its files go with it.
func removeCgroups(l layout) error {
	var wrong []error
	for _, root := range ourCgroups(l) {
		var dirs []string
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		sort.Sort(sort.Reverse(sort.StringSlice(dirs)))
		for _, dir := range dirs {
			if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
				wrong = append(wrong, fmt.Errorf("cgroup %s: %w", dir, err))
			}
		}
	}
	return errors.Join(wrong...)
}
