package rootfs

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Lock writes NAME.lock in folder anew from NAME.in: what pip takes today.
func (c Cache) Lock(ctx context.Context, folder, name string) error {
	wanted, err := os.ReadFile(filepath.Join(folder, name+".in"))
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	work, err := os.MkdirTemp("", "lock-")
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	defer os.RemoveAll(work)
	p := split(string(wanted))
	lines, err := c.lockSources(ctx, work, p.sources)
	if err != nil {
		return err
	}
	if _, err := c.buildWheels(ctx, work, p.sources); err != nil {
		return err
	}
	if err := c.takeOlder(ctx, work, p.older); err != nil {
		return err
	}
	list, report := filepath.Join(work, "wanted.txt"), filepath.Join(work, "report.json")
	if err := os.WriteFile(list, []byte(p.wheels+p.sources+p.older), 0o644); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	args := forTheRoot("--dry-run", "--ignore-installed", "--report", report, "--find-links", work, "--target", work, "-r", list)
	if err := c.pip(ctx, args...); err != nil {
		return err
	}
	resolved, err := readReport(report)
	if err != nil {
		return err
	}
	for _, line := range resolved {
		name, _, _ := strings.Cut(line, " ")
		bare, _, _ := strings.Cut(name, "==")
		if slices.Contains(p.without, bare) {
			continue
		}
		if strings.Contains(p.older, name+"\n") {
			line += olderMark
		}
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, name+" ") }) {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return os.WriteFile(filepath.Join(folder, name+".lock"), []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}

// lockSources downloads source packages, for their hashes.
func (c Cache) lockSources(ctx context.Context, work, sources string) ([]string, error) {
	var lines []string
	for line := range strings.Lines(sources) {
		requirement := strings.TrimSpace(line)
		dir, err := os.MkdirTemp(work, "source-")
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		if err := c.pip(ctx, "download", "--no-deps", "--no-binary=:all:", "--only-binary=setuptools,wheel", "-d", dir, requirement); err != nil {
			return nil, err
		}
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(files) != 1 {
			return nil, fmt.Errorf("lock: %s: %d files were downloaded, want its source", requirement, len(files))
		}
		hash, err := hashOf(files[0])
		if err != nil {
			return nil, err
		}
		lines = append(lines, normal(requirement)+" --hash=sha256:"+hash+sourceMark)
	}
	return lines, nil
}

// readReport makes lines of pip's report of what it would install.
func readReport(path string) ([]string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	var report struct {
		Install []struct {
			Metadata struct{ Name, Version string }
			Download struct {
				Archive struct{ Hashes map[string]string } `json:"archive_info"`
			} `json:"download_info"`
		}
	}
	if err := json.Unmarshal(raw, &report); err != nil {
		return nil, fmt.Errorf("lock: pip's report: %w", err)
	}
	var lines []string
	for _, i := range report.Install {
		lines = append(lines, normal(i.Metadata.Name+"=="+i.Metadata.Version)+" --hash=sha256:"+i.Download.Archive.Hashes["sha256"])
	}
	return lines, nil
}

// normal is the one way of writing a package's name.
func normal(requirement string) string {
	name, version, _ := strings.Cut(requirement, "==")
	return strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name)) + "==" + version
}
