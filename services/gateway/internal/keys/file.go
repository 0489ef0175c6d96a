package keys

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"

	"go.yaml.in/yaml/v3"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// MaxFile is the largest keys file that is read, in bytes: about 5,000 keys.
const MaxFile = 1 << 20

type file struct {
	Keys []fileKey `yaml:"keys"`
}

type fileKey struct {
	Name           string `yaml:"name"`
	SHA256         string `yaml:"sha256"`
	Tenant         string `yaml:"tenant"`
	RotateOnResume bool   `yaml:"rotate_on_resume"`
	ResumeActive   int    `yaml:"resume_active"`

	Limits *fileLimits `yaml:"limits"`
}

// quoted is where the YAML library cites a value, which may be a key that was
// put in the wrong place.
var quoted = regexp.MustCompile("`[^`]*`")

// parse reads a keys file and says all that is wrong with it, without citing a
// value of it.
func parse(body []byte) ([]entry, error) {
	if len(body) > MaxFile {
		return nil, fmt.Errorf("the file has %d bytes, at most %d are read", len(body), MaxFile)
	}
	var f file
	d := yaml.NewDecoder(bytes.NewReader(body))
	d.KnownFields(true) // a misspelt option must not be silently off
	if err := d.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.New(quoted.ReplaceAllString(err.Error(), "…"))
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
