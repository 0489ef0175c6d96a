package keys

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/sandbar-io/sandbar/pkg/filewatch"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

type file struct {
	Keys []fileKey `yaml:"keys"`
}

type fileKey struct {
	Name           string `yaml:"name"`
	SHA256         string `yaml:"sha256"`
	Tenant         string `yaml:"tenant"`
	RotateOnResume bool   `yaml:"rotate_on_resume"`
	ResumeActive   int    `yaml:"resume_active"`

	Lifecycle      *fileLifecycle `yaml:"lifecycle"`
	LifecycleFixed bool           `yaml:"lifecycle_fixed"`
	Limits         *fileLimits    `yaml:"limits"`
}

// fileLifecycle is sandbox.Lifecycle by the names that it has on the wire.
type fileLifecycle struct {
	Idle      *int64 `yaml:"idle_seconds"`
	MaxAge    *int64 `yaml:"max_age_seconds"`
	Retention *int64 `yaml:"retention_seconds"`
	Pending   *int64 `yaml:"pending_seconds"`
	Unclaimed *int64 `yaml:"unclaimed_seconds"`
}

func (f *fileLifecycle) lifecycle() *sandbox.Lifecycle {
	if f == nil {
		return nil
	}
	return &sandbox.Lifecycle{Idle: f.Idle, MaxAge: f.MaxAge, Retention: f.Retention, Pending: f.Pending, Unclaimed: f.Unclaimed}
}

// parse reads a keys file and says all that is wrong with it, without citing a
// value of it.
func parse(body []byte) ([]entry, error) {
	var f file
	if err := filewatch.DecodeYAML(body, &f); err != nil {
		return nil, err
	}
	if len(f.Keys) == 0 {
		return nil, errors.New("the file holds no keys")
	}
	entries := make([]entry, 0, len(f.Keys))
	names := map[string]bool{}
	var errs []error
	for i, k := range f.Keys {
		e, err := k.entry()
		if names[k.Name] {
			err = errors.Join(err, errors.New("name: another key has the same"))
		}
		for _, other := range entries {
			if other.sum == e.sum {
				err = errors.Join(err, fmt.Errorf("sha256: the same as that of %q", other.key.Name))
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("keys[%d]: %w", i, err))
			continue
		}
		names[k.Name] = true
		entries = append(entries, e)
	}
	return entries, errors.Join(errs...)
}

func (k fileKey) entry() (entry, error) {
	var errs []error
	if k.Name == "" || len(k.Name) > 64 {
		errs = append(errs, errors.New("name: must have 1 to 64 bytes"))
	}
	if !sandbox.ValidTenant(k.Tenant) {
		errs = append(errs, errors.New("tenant: must be 1 to 32 of a-z, 0-9 and -"))
	}
	if k.ResumeActive != 0 && !ValidResumeActive(k.ResumeActive) {
		errs = append(errs, errors.New("resume_active: must be 200 or 409"))
	}
	e := entry{key: Key{Name: k.Name, Tenant: k.Tenant, RotateOnResume: k.RotateOnResume, ResumeActive: k.ResumeActive}}
	e.key.Lifecycle, e.key.LifecycleFixed = k.Lifecycle.lifecycle(), k.LifecycleFixed
	if err := e.key.Lifecycle.Validate(); err != nil {
		errs = append(errs, errors.New(sandbox.MessageOf(err)))
	}
	limits, err := k.Limits.limits(k.Name)
	if err != nil {
		errs = append(errs, err)
	}
	e.key.Limits = limits
	sum, err := hex.DecodeString(k.SHA256)
	if err != nil || len(sum) != len(e.sum) {
		errs = append(errs, errors.New("sha256: must be the key's SHA-256 in 64 hex digits"))
	}
	copy(e.sum[:], sum)
	return e, errors.Join(errs...)
}
