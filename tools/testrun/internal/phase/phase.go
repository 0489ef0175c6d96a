// Package phase runs the parts of a test run: what must be there before, the
// tests, and what must be gone after.
package phase

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// Phase is one part of a run. All paths are relative to the repository.
type Phase struct {
	Name string
	What string // one line for the reader of the log

	Setup    []Command // in order; the first that fails ends the phase
	Tests    []Tests
	Teardown []Command // all of them, whatever happened before

	// Given names a variable of the environment. Where it is set, somebody has
	// set up already, and Setup, Teardown, EnvFile and Env are left out.
	Given string
	// EnvFile holds KEY=value lines that Setup wrote; they reach the tests.
	EnvFile string
	// Env is KEY=value for the tests; ${NAME} stands for a variable of EnvFile
	// or of the environment, ${REPO} for the repository's folder.
	Env []string
}

// Command is a step of setup or teardown. Its output goes to a log.
type Command struct {
	Name    string
	Dir     string
	Args    []string
	Env     []string
	Timeout time.Duration
}

// Tests is one `go test`.
type Tests struct {
	Module   string   // folder of go.mod
	Packages []string // default ./...
	// Tags are build tags. With any, only packages run that have test files
	// under them: the others ran in a phase without.
	Tags    string
	Flags   []string // before the packages
	Env     []string
	Timeout time.Duration // of the whole; each package has it too
	Grace   time.Duration // between a request to stop and the kill, default 15 s
}

// readEnvFile reads KEY=value lines. A value may stand in quotes.
func readEnvFile(path string) (env []string, err error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: the setup did not write it", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if !ok {
			return nil, fmt.Errorf("%s: %q is not KEY=value", path, line)
		}
		env = append(env, key+"="+unquote(value))
	}
	return env, lines.Err()
}

func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}

// expand replaces ${NAME} in pairs by what env, and after it the process's
// environment, say.
func expand(pairs, env []string) []string {
	lookup := func(name string) string {
		for i := len(env) - 1; i >= 0; i-- {
			if value, ok := strings.CutPrefix(env[i], name+"="); ok {
				return value
			}
		}
		return os.Getenv(name)
	}
	out := make([]string, 0, len(pairs))
	for _, pair := range pairs {
		out = append(out, os.Expand(pair, lookup))
	}
	return out
}
