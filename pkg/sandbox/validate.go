package sandbox

import (
	"path"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Limits of a spec. The kernel takes environment strings of at most 128 KiB; a
// Secret and a message on the bus hold 1 MiB.
const (
	MaxVariable       = 100 << 10 // name and value of one variable, bytes
	MaxEnvironment    = 384 << 10 // all of them
	MaxVariables      = 1024
	MaxCommandArgs    = 256
	MaxCommandBytes   = 64 << 10
	MaxResourceFactor = 64
	maxID             = 1<<31 - 1 // Kubernetes' limit for user and group ids
)

var (
	envNamePattern = regexp.MustCompile(`^[A-Za-z_.-][A-Za-z0-9_.-]*$`)
	imagePattern   = regexp.MustCompile(`^[a-z0-9]([a-z0-9._:/-]*[a-z0-9])?(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[a-f0-9]{64})?$`)
	classPattern   = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
)

// Validate says what is wrong with a spec, naming the field, or returns nil. The
// gateway asks before it publishes, the provisioner again: it trusts nothing on
// the bus.
func (s *Spec) Validate() error {
	if err := validImage(s.Image); err != nil {
		return err
	}
	if err := validCommand(s.Command); err != nil {
		return err
	}
	if s.WorkingDir != "" {
		if !path.IsAbs(s.WorkingDir) || !printable(s.WorkingDir) || len(s.WorkingDir) > 4096 {
			return Errorf(CodeInvalid, "working_dir must be an absolute path")
		}
	}
	if err := validEnvironment(s.Environment); err != nil {
		return err
	}
	if s.ResourceFactor < 1 || s.ResourceFactor > MaxResourceFactor {
		return Errorf(CodeInvalid, "resource_factor must be between 1 and %d", MaxResourceFactor)
	}
	if s.RuntimeClass != "" && !classPattern.MatchString(s.RuntimeClass) {
		return Errorf(CodeInvalid, "runtime_class %.64q is not a class name", s.RuntimeClass)
	}
	for _, id := range []struct {
		name  string
		value *int64
	}{{"run_as_user", s.RunAsUser}, {"run_as_group", s.RunAsGroup}, {"fs_group", s.FSGroup}} {
		if id.value != nil && (*id.value < 0 || *id.value > maxID) {
			return Errorf(CodeInvalid, "%s must be between 0 and %d", id.name, maxID)
		}
	}
	switch s.ImagePullPolicy {
	case "", "Always", "IfNotPresent", "Never":
	default:
		return Errorf(CodeInvalid, "image_pull_policy must be Always, IfNotPresent or Never")
	}
	return s.Lifecycle.Validate()
}

func validImage(image string) error {
	switch {
	case image == "":
		return Errorf(CodeInvalid, "image is required")
	case len(image) > 512 || !imagePattern.MatchString(image) || strings.Contains(image, "//") || strings.Contains(image, ".."):
		return Errorf(CodeInvalid, "image %.128q is not an image reference", image)
	}
	return nil
}

func validCommand(command []string) error {
	total := 0
	for i, arg := range command {
		total += len(arg)
		if strings.ContainsRune(arg, 0) || !utf8.ValidString(arg) {
			return Errorf(CodeInvalid, "command: argument %d holds a NUL or invalid UTF-8", i)
		}
	}
	if len(command) > MaxCommandArgs || total > MaxCommandBytes {
		return Errorf(CodeTooLarge, "command has %d arguments of %d bytes, at most %d and %d are allowed",
			len(command), total, MaxCommandArgs, MaxCommandBytes)
	}
	if len(command) > 0 && command[0] == "" {
		return Errorf(CodeInvalid, "command: the program is empty")
	}
	return nil
}

func validEnvironment(env map[string]string) error {
	if len(env) > MaxVariables {
		return Errorf(CodeTooLarge, "environment has %d variables, at most %d are allowed", len(env), MaxVariables)
	}
	total := 0
	for name, value := range env {
		total += len(name) + len(value) + 2
		switch {
		case !envNamePattern.MatchString(name) || len(name) > 256:
			return Errorf(CodeInvalid, "environment: %.64q is not a variable name", name)
		case len(name)+len(value) > MaxVariable:
			return Errorf(CodeTooLarge, "environment: %s has %d bytes, at most %d are allowed", name, len(value), MaxVariable)
		case strings.ContainsRune(value, 0) || !utf8.ValidString(value):
			return Errorf(CodeInvalid, "environment: the value of %s holds a NUL or invalid UTF-8", name)
		}
	}
	if total > MaxEnvironment {
		return Errorf(CodeTooLarge, "environment has %d bytes, at most %d are allowed", total, MaxEnvironment)
	}
	return nil
}

func printable(s string) bool {
	for _, r := range s {
		if r < 0x20 || r == 0x7f || r == utf8.RuneError {
			return false
		}
	}
	return true
}
