package keys

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/settings"
)

// fileLimits are a key's limits as a keys file has them. What is left out is not
// bounded; 0 would be read either way, and is refused.
type fileLimits struct {
	Sandboxes       *int    `yaml:"sandboxes"`
	CPU             *string `yaml:"cpu"`
	Memory          *string `yaml:"memory"`
	StartsPerMinute *int    `yaml:"starts_per_minute"`
}

// limits are nil where none is set. Errors name what is wrong, and cite nothing.
func (f *fileLimits) limits(key string) (*sandbox.Limits, error) {
	if f == nil || *f == (fileLimits{}) {
		return nil, nil
	}
	var errs []error
	count := func(n *int, what sandbox.Resource, most int) int {
		if n == nil {
			return 0
		}
		if *n < 1 || *n > most {
			errs = append(errs, fmt.Errorf("limits: %s: must be 1 to %d; leave it out for no limit", what, most))
		}
		return *n
	}
	amount := func(s *string, what sandbox.Resource, unit int64, example string) int64 {
		if s == nil {
			return 0
		}
		n, err := quantity(*s, unit)
		if err != nil || n < 1 || n > sandbox.MaxAmount {
			errs = append(errs, fmt.Errorf("limits: %s: must be a quantity above 0, such as %s; leave it out for no limit", what, example))
		}
		return n
	}
	out := &sandbox.Limits{
		Key:             key,
		Sandboxes:       count(f.Sandboxes, sandbox.ResourceSandboxes, sandbox.MaxHeld),
		CPU:             amount(f.CPU, sandbox.ResourceCPU, 1000, "8 or 500m"),
		Memory:          amount(f.Memory, sandbox.ResourceMemory, 1, "16Gi or 512Mi"),
		StartsPerMinute: count(f.StartsPerMinute, sandbox.ResourceStarts, sandbox.MaxStarts),
	}
	return out, errors.Join(errs...)
}

// ParseLimits reads the limits of API_KEY: "sandboxes=10,cpu=8,memory=16Gi,starts_per_minute=30",
// of which any may be left out. nil: none.
func ParseLimits(s string) (*sandbox.Limits, error) {
	pairs, err := settings.Pairs(s)
	if err != nil {
		return nil, errors.New("must be a list of name=value")
	}
	var f fileLimits
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		value := pairs[name]
		number := func(into **int) {
			n, err := strconv.Atoi(value)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: must be a whole number", name))
			}
			*into = &n
		}
		switch sandbox.Resource(name) {
		case sandbox.ResourceSandboxes:
			number(&f.Sandboxes)
		case sandbox.ResourceStarts:
			number(&f.StartsPerMinute)
		case sandbox.ResourceCPU:
			f.CPU = &value
		case sandbox.ResourceMemory:
			f.Memory = &value
		default:
			errs = append(errs, errors.New("knows sandboxes, cpu, memory and starts_per_minute, and no other name"))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return f.limits(apiKeyName)
}
