// Package keys knows the API keys: by their SHA-256 only.
package keys

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/filewatch"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Key is what a request is allowed to by the key that it carries.
type Key struct {
	Name           string // for the logs
	Tenant         string
	RotateOnResume bool // a resumed sandbox gets a new session key
	// ResumeActive is the status that answers a resume of what runs already,
	// 200 or 409; 0: the server's default.
	ResumeActive int
	Limits       *sandbox.Limits // nil: none
	// Lifecycle is of its sandboxes where a request asks for nothing else. With
	// LifecycleFixed, what a request asks for is passed over.
	Lifecycle      *sandbox.Lifecycle
	LifecycleFixed bool
}

// LifecycleOf is the lifecycle of a start that asks for one, or for none.
func (k Key) LifecycleOf(asked *sandbox.Lifecycle) *sandbox.Lifecycle {
	if k.LifecycleFixed {
		asked = nil
	}
	return asked.Or(k.Lifecycle)
}

// apiKeyName is the name of the key in API_KEY.
const apiKeyName = "API_KEY"

// ValidResumeActive reports whether a resume of what runs may be answered so.
func ValidResumeActive(status int) bool { return status == 200 || status == 409 }

type entry struct {
	sum [sha256.Size]byte
	key Key
}

// Ring is the set of keys that are valid now.
type Ring struct {
	fixed   []entry
	file    *filewatch.Watch
	entries atomic.Pointer[[]entry]
}

// New returns the ring of apiKey, which belongs to the default tenant and has
// these limits, and of the keys file; either may be "". A file that cannot be used
// is an error here, and only logged later.
func New(apiKey string, limits *sandbox.Limits, path string, log *zap.Logger) (*Ring, error) {
	r := &Ring{}
	if apiKey != "" {
		r.fixed = []entry{{sum: sha256.Sum256([]byte(apiKey)), key: Key{Name: apiKeyName, Tenant: sandbox.DefaultTenant, Limits: limits}}}
	}
	r.entries.Store(&r.fixed)
	var paths []string
	if path != "" {
		paths = []string{path}
	}
	var err error
	if r.file, err = filewatch.New("API_KEYS_FILE", paths, r.take, log); err != nil {
		return nil, err
	}
	return r, nil
}

// Watch reads the file again when it changes, until ctx ends.
func (r *Ring) Watch(ctx context.Context) error { return r.file.Run(ctx) }

// Find returns the key that was presented. It compares with all entries, in
// constant time, whichever matches.
func (r *Ring) Find(presented string) (Key, bool) {
	if presented == "" {
		return Key{}, false
	}
	sum := sha256.Sum256([]byte(presented))
	entries := *r.entries.Load()
	found := -1
	for i := range entries {
		same := subtle.ConstantTimeCompare(sum[:], entries[i].sum[:])
		found = subtle.ConstantTimeSelect(same, i, found)
	}
	if found < 0 {
		return Key{}, false
	}
	return entries[found].key, true
}

func (r *Ring) take(files []filewatch.File) error {
	if len(files) != 1 {
		return errors.New("it is no file")
	}
	entries, err := parse(files[0].Body)
	if err != nil {
		return err
	}
	for _, e := range entries {
		for _, f := range r.fixed {
			if e.sum == f.sum {
				return errors.New("the key of API_KEY stands in the file too")
			}
			if e.key.Name == f.key.Name && e.key.Tenant == f.key.Tenant {
				return errors.New("a key of the file has the name and tenant of API_KEY: both would be counted as one")
			}
		}
	}
	entries = append(entries, r.fixed...)
	r.entries.Store(&entries)
	return nil
}
