// Package keys knows the API keys: by their SHA-256 only.
package keys

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

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
	path  string // "": none
	fixed []entry
	log   *zap.Logger

	mu   sync.Mutex // one reload at a time
	read *string    // what the file held, valid or not, when it was last read

	entries atomic.Pointer[[]entry]
}

// New returns the ring of apiKey, which belongs to the default tenant and has
// these limits, and of the keys file; either may be "". A file that cannot be used is an error here,
// and only logged later.
func New(apiKey string, limits *sandbox.Limits, path string, log *zap.Logger) (*Ring, error) {
	r := &Ring{path: path, log: log}
	if apiKey != "" {
		r.fixed = []entry{{sum: sha256.Sum256([]byte(apiKey)), key: Key{Name: apiKeyName, Tenant: sandbox.DefaultTenant, Limits: limits}}}
	}
	r.entries.Store(&r.fixed)
	if path == "" {
		return r, nil
	}
	if _, err := r.reload(); err != nil {
		return nil, fmt.Errorf("API_KEYS_FILE %s: %w", path, err)
	}
	return r, nil
}

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

// reload reads the file and, if it holds something else than the last time and
// that is valid, takes it. It reports whether it did.
func (r *Ring) reload() (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	body, err := os.ReadFile(r.path)
	if err != nil {
		body = []byte(err.Error()) // told once, as a broken content is
	}
	text := string(body)
	if r.read != nil && *r.read == text {
		return false, nil
	}
	r.read = &text
	if err != nil {
		return false, fmt.Errorf("read the keys: %w", err)
	}
	entries, err := parse(body)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		for _, f := range r.fixed {
			if e.sum == f.sum {
				return false, errors.New("the key of API_KEY stands in the file too")
			}
			if e.key.Name == f.key.Name && e.key.Tenant == f.key.Tenant {
				return false, errors.New("a key of the file has the name and tenant of API_KEY: both would be counted as one")
			}
		}
	}
	entries = append(entries, r.fixed...)
	r.entries.Store(&entries)
	return true, nil
}
