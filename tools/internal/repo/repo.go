// Package repo finds the project that a tool works on.
package repo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Root is the folder of go.work, from the working directory upwards.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("working directory: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("not inside the project: no go.work here or above")
		}
		dir = parent
	}
}
