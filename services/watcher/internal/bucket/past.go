package bucket

import (
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// errOlder: the bucket came from an older store, and was made anew.
var errOlder = errors.New("the bucket was behind what it was")

// past is how far one creation of the bucket was.
type past struct {
	created time.Time
	last    uint64
	doubts  int
}

// lost reports whether the bucket is behind what it was. Where it is replicated,
// a server that does not lead any more and does not know it yet may have said so:
// it counts at the second look.
func (p *past) lost(info *jetstream.StreamInfo) bool {
	if !info.Created.Equal(p.created) || info.State.LastSeq >= p.last {
		*p = past{created: info.Created, last: info.State.LastSeq}
		return false
	}
	p.doubts++
	return p.doubts > 1 || info.Config.Replicas < 2
}
