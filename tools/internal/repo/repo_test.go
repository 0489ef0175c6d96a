package repo_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sandbar-io/sandbar/tools/internal/repo"
)

func TestRoot(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(top, "a", "b")
	if err := os.MkdirAll(below, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(below)
	if root, err := repo.Root(); err == nil {
		t.Errorf("outside of a project: %s", root)
	}
	if err := os.WriteFile(filepath.Join(top, "go.work"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if root, err := repo.Root(); err != nil || root != top {
		t.Errorf("%s, %v; want %s", root, err, top)
	}
}
