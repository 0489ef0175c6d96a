// Package overlay makes another version of the source for one build, by `go build
// -overlay`: the tree itself stays as it is.
package overlay

import (
	"encoding/json"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"strings"
)

// Change replaces a text of a file, which must stand there exactly once.
type Change struct {
	File string // from the root of the repository
	Old  string
	New  string
}

// Write makes the changes to copies in dir and returns the file that -overlay
// takes. Several changes of one file are made one after the other. That a text is
// not there says that the source moved on.
func Write(root, dir string, changes []Change) (path string, err error) {
	texts := map[string]string{}
	for _, c := range changes {
		text, begun := texts[c.File]
		if !begun {
			raw, err := os.ReadFile(filepath.Join(root, c.File))
			if err != nil {
				return "", fmt.Errorf("the source moved: %w", err)
			}
			text = string(raw)
		}
		if n := strings.Count(text, c.Old); n != 1 {
			return "", fmt.Errorf("the source moved: %s holds this %d times, want once:\n%s", c.File, n, c.Old)
		}
		texts[c.File] = strings.Replace(text, c.Old, c.New, 1)
	}
	replace := map[string]string{}
	for file, text := range texts {
		if _, err := format.Source([]byte(text)); err != nil {
			return "", fmt.Errorf("%s is no Go any more: %w", file, err)
		}
		name := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return "", fmt.Errorf("overlay: %w", err)
		}
		replace[filepath.Join(root, file)] = name
	}
	body, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("overlay: %w", err)
	}
	path = filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, body, 0o644); err != nil {
		return "", fmt.Errorf("overlay: %w", err)
	}
	return path, nil
}
