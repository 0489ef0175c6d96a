package warm

import (
	"errors"
	"fmt"
	"regexp"

	"go.yaml.in/yaml/v3"

	"github.com/sandbar-io/sandbar/pkg/filewatch"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// A name stands in clients' settings and in their URLs.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

type file struct {
	Configs []fileConfig `yaml:"configs"`
}

type fileConfig struct {
	Name        string               `yaml:"name"`
	Image       string               `yaml:"image"`
	Command     []yaml.Node          `yaml:"command"`
	Environment map[string]yaml.Node `yaml:"environment"`
	WorkingDir  string               `yaml:"working_dir"`
	RunAsUser   *int64               `yaml:"run_as_user"`
	RunAsGroup  *int64               `yaml:"run_as_group"`
	FSGroup     *int64               `yaml:"fs_group"`
}

func (s *Set) take(files []filewatch.File) error {
	if len(files) != 1 {
		return errors.New("it is no file")
	}
	configs, err := parse(files[0].Body)
	if err == nil {
		s.configs.Store(&configs)
	}
	return err
}

// parse reads a file and says all that is wrong with it, without citing the
// value of a variable.
func parse(body []byte) ([]Config, error) {
	var f file
	if err := filewatch.DecodeYAML(body, &f); err != nil {
		return nil, err
	}
	configs := make([]Config, len(f.Configs))
	names := map[string]bool{}
	var errs []error
	for i, fc := range f.Configs {
		c, err := fc.config()
		if names[fc.Name] {
			err = errors.Join(err, errors.New("name: another config has the same"))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("configs[%d]: %w", i, err))
		}
		names[fc.Name] = true
		configs[i] = c
	}
	return configs, errors.Join(errs...)
}

// config is checked as a start of it would be.
func (fc fileConfig) config() (Config, error) {
	c := Config{
		Name: fc.Name, Image: fc.Image, WorkingDir: fc.WorkingDir, Environment: map[string]string{},
		RunAsUser: fc.RunAsUser, RunAsGroup: fc.RunAsGroup, FSGroup: fc.FSGroup, Source: "file",
	}
	var errs []error
	if !namePattern.MatchString(fc.Name) {
		errs = append(errs, errors.New("name: must be 1 to 63 letters, digits, dots, dashes and underscores"))
	}
	if fc.WorkingDir == "" {
		errs = append(errs, errors.New("working_dir is required"))
	}
	for i, arg := range fc.Command {
		text, ok := text(arg)
		if !ok {
			errs = append(errs, fmt.Errorf("command: argument %d must be a string, in quotes where it looks like something else", i))
		}
		c.Command = append(c.Command, text)
	}
	for name, value := range fc.Environment {
		text, ok := text(value)
		if !ok {
			errs = append(errs, fmt.Errorf("environment: the value of %.64q must be a string, in quotes where it looks like something else", name))
		}
		c.Environment[name] = text
	}
	err := (&sandbox.Spec{
		Image: c.Image, Command: c.Command, WorkingDir: c.WorkingDir, Environment: c.Environment, ResourceFactor: 1,
		RunAsUser: c.RunAsUser, RunAsGroup: c.RunAsGroup, FSGroup: c.FSGroup,
	}).Validate()
	if err != nil {
		errs = append(errs, errors.New(sandbox.MessageOf(err)))
	}
	return c, errors.Join(errs...)
}

// text is the node's string. A number or true is none: YAML would have changed
// how it is written.
func text(n yaml.Node) (string, bool) {
	if n.Kind == yaml.AliasNode {
		n = *n.Alias
	}
	return n.Value, n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str"
}
