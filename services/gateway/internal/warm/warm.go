// Package warm knows the warm-runtime configs: what app servers offer to start,
// by name.
package warm

import (
	"context"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/filewatch"
)

// Config is one of them, as clients read it.
type Config struct {
	Name        string            `json:"name"`
	Image       string            `json:"image"`
	Command     []string          `json:"command"` // null: the image's own; clients want the key
	Environment map[string]string `json:"environment"`
	WorkingDir  string            `json:"working_dir"`
	RunAsUser   *int64            `json:"run_as_user,omitempty"`
	RunAsGroup  *int64            `json:"run_as_group,omitempty"`
	FSGroup     *int64            `json:"fs_group,omitempty"`
	Source      string            `json:"source"` // who keeps it; administrators' clients show it
}

// Set is the configs that are valid now, in the file's order: clients take the
// first where none has the name that they look for.
type Set struct {
	file    *filewatch.Watch
	configs atomic.Pointer[[]Config]
}

// New reads the file, "" for none. A file that cannot be used is an error here,
// and only logged later.
func New(path string, log *zap.Logger) (*Set, error) {
	s := &Set{}
	s.configs.Store(&[]Config{})
	var paths []string
	if path != "" {
		paths = []string{path}
	}
	var err error
	s.file, err = filewatch.New("WARM_RUNTIME_CONFIGS_FILE", paths, s.take, log)
	return s, err
}

// Watch reads the file again when it changes, until ctx ends.
func (s *Set) Watch(ctx context.Context) error { return s.file.Run(ctx) }

// Configs returns all; they are not to be changed.
func (s *Set) Configs() []Config { return *s.configs.Load() }
