package natsperm_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	userLine    = regexp.MustCompile(`^\s*user: (\w+)$`)
	subjectLine = regexp.MustCompile(`^\s*"([^"]+)"$`)
)

// Without any one line of a user's permissions, that user's work fails: none
// has more than it needs.
func TestEveryPermissionIsNeeded(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile(confFile)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(body), "\n")
	user, found := "", 0
	for i, line := range lines {
		if m := userLine.FindStringSubmatch(line); m != nil {
			user = m[1]
		}
		m := subjectLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		found++
		owner := user
		t.Run(owner+" "+m[1], func(t *testing.T) {
			t.Parallel()
			without := slices.Concat(lines[:i], lines[i+1:])
			err := runDay(t, write(t, strings.Join(without, "\n")))
			var v violation
			if !errors.As(err, &v) {
				t.Fatalf("the work goes on as before without this line: %v", err)
			}
			if v.user != owner {
				t.Fatalf("it is %v", v)
			}
		})
	}
	// So that a change of the file's form does not make the test empty.
	if found < 60 {
		t.Fatalf("only %d lines of permissions were found", found)
	}
}

func write(t *testing.T, conf string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
