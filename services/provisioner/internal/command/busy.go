package command

import (
	"errors"
	"fmt"
	"time"

	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
)

// Busy is the error of an attempt that ended because Kubernetes had no time, and
// of which nothing is left: no record and no place was written, or may yet be.
// Of attempts before it, it says nothing.
type Busy struct {
	After time.Duration // try again
	Err   error
}

func (b *Busy) Error() string { return fmt.Sprintf("nothing was begun: %v", b.Err) }
func (b *Busy) Unwrap() error { return b.Err }

// RetryAfter is how long Kubernetes wants not to be asked again; 0: it did not
// say.
func RetryAfter(err error) time.Duration {
	var b *cluster.Busy
	if errors.As(err, &b) {
		return b.After
	}
	return 0
}

// undone: the request that failed was certainly not carried out.
func undone(err error) bool {
	var b *cluster.Busy
	return errors.As(err, &b) && b.Undone
}
