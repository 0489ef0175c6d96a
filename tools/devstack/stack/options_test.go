package stack_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// The services run in another folder: paths of the caller's are made whole, and
// what is no setting of theirs is left out.
func TestSettingsFrom(t *testing.T) {
	t.Parallel()
	repo := t.TempDir()
	example := "# FILE of keys\nKEYS_FILE=\nAUTH_FILES=\n#COMMENTED=1\nPLAIN=a\n"
	if err := os.WriteFile(filepath.Join(repo, ".env.example"), []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	got, err := stack.SettingsFrom(repo, []string{"KEYS_FILE=keys.yaml", "AUTH_FILES=a, /b", "COMMENTED=2", "PLAIN=x=y", "HOME=/root", "KEYS_FILE="})
	want := []string{"KEYS_FILE=" + filepath.Join(here, "keys.yaml"), "AUTH_FILES=" + filepath.Join(here, "a") + ",/b", "COMMENTED=2", "PLAIN=x=y", "KEYS_FILE="}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("SettingsFrom = %q, %v; want %q", got, err, want)
	}
}
