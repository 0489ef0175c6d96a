// Package faults collects what is wrong with the API server, for readiness.
package faults

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// keep is how long a missing right is told of after it was last noticed. Some
// are used so rarely that nobody would hear of their return.
const keep = 3 * time.Minute

type fault struct {
	err error
	at  time.Time // zero: stands until the next success
}

// Faults are the present ones, by what was tried.
type Faults struct {
	mu  sync.Mutex
	all map[string]fault
	now func() time.Time
}

// New returns none.
func New() *Faults { return &Faults{all: map[string]fault{}, now: time.Now} }

// Watch notes how it went to follow something; it is tried until it succeeds.
func (f *Faults) Watch(what string, err error) { f.set(what, fault{err: err}) }

// Request notes how a single request went. Only a missing right is kept of it:
// whoever made the request tells of all else.
func (f *Faults) Request(what string, err error) {
	if !Denied(err) {
		err = nil
	}
	f.set(what, fault{err, f.now()})
}

func (f *Faults) set(what string, x fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if x.err == nil {
		delete(f.all, what)
		return
	}
	f.all[what] = x
}

// Now is what is wrong now, or nil, and whether a right is missing.
func (f *Faults) Now() (denied bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(f.all)) {
		x := f.all[what]
		if !x.at.IsZero() && f.now().Sub(x.at) > keep {
			delete(f.all, what)
			continue
		}
		denied = denied || Denied(x.err)
		err = errors.Join(err, fmt.Errorf("%s: %w", what, x.err))
	}
	return denied, err
}

// Denied reports whether the API server refused for want of a right.
func Denied(err error) bool { return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) }
