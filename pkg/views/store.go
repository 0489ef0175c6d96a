package views

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// casAttempts bounds the retries of one write. Writers of one key are few: the
// provisioner that works on the record, and one or two watchers.
const casAttempts = 16

// stepTimeout bounds one read or write. A request that was under way when the
// connection broke gets no answer ever, and would wait as long as the attempt.
const stepTimeout = 2 * time.Second

// keyTTL is how long the marker of a deleted key stays.
const keyTTL = time.Hour

// ErrMoved says that the record is not any more what the view was made of; look
// again.
var ErrMoved = errors.New("the record moved")

// Present is what the bucket holds under a key: View is nil where it holds
// nothing or a deletion.
type Present struct {
	View     *sandbox.View
	Revision uint64    // for compare-and-swap; 0: never written
	Created  time.Time // the bucket's creation

	lost bool   // it holds what cannot be read
	body []byte // the view as it stands there
}

// Kept is a Present with a view as it is kept for long: in a third of the memory.
type Kept struct {
	Revision uint64
	Created  time.Time
	body     []byte
}

// Keep returns p to be kept. A Present without a view keeps its revision only.
func (p Present) Keep() Kept { return Kept{p.Revision, p.Created, p.body} }

// Store reads and writes views by compare-and-swap.
type Store struct {
	js     jetstream.JetStream
	sealer *contract.Sealer
	omit   sandbox.Omit
	bucket atomic.Pointer[jetstream.KeyValue] // what views are written by
}

// NewStore returns a store; omit is 0 in every service.
func NewStore(js jetstream.JetStream, sealer *contract.Sealer, omit sandbox.Omit) *Store {
	return &Store{js: js, sealer: sealer, omit: omit}
}

// Read returns what the bucket's leader holds under the key now.
func (s *Store) Read(ctx context.Context, key string) (Present, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	stream, err := natsx.Stream(ctx, s.js, contract.ViewStream)
	if err != nil {
		return Present{}, fmt.Errorf("open the bucket: %w", err)
	}
	p := Present{Created: stream.CachedInfo().Created}
	m, err := stream.GetLastMsgForSubject(ctx, "$KV."+contract.ViewBucket+"."+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return p, nil
	}
	if err != nil {
		return Present{}, fmt.Errorf("read view %s: %w", key, err)
	}
	p.Revision = m.Sequence
	if m.Header.Get("KV-Operation") != "" || m.Header.Get(jetstream.MarkerReasonHeader) != "" {
		return p, nil
	}
	s.decode(key, m.Data, &p)
	return p, nil
}

// decode fills in what is there; what cannot be read is lost, and is written over.
func (s *Store) decode(key string, body []byte, p *Present) {
	v, err := contract.DecodeView(key, body)
	if err != nil {
		p.lost = true
		return
	}
	if err := s.sealer.Open(v); err != nil {
		v.SessionKey = "" // differs from any record's, so the view is sealed anew
	}
	p.View, p.body = v, body
}

// Recall returns what was kept of a key, nil where that holds no view.
func (s *Store) Recall(key string, k Kept) *Present {
	p := Present{Revision: k.Revision, Created: k.Created}
	if k.body == nil {
		return nil
	}
	if s.decode(key, k.body, &p); p.View == nil {
		return nil
	}
	return &p
}

// Source makes a view. Live is asked before a key is made that is absent.
type Source struct {
	// Known is what the bucket held when it was last seen, nil where that is not known.
	// A write goes by it and asks for nothing; revisions are never used twice, not even
	// by a bucket that is made anew, so that it fails where something else stands there
	// by now. Where Known holds no view, what Observe goes by was live later than the
	// key was seen absent.
	Known *Present

	// Observe makes the view, given the present one (nil: none).
	Observe func(prev *sandbox.View) sandbox.View
	// Live reports whether the record is still, by a GET at the API server, the
	// one that the view is made of.
	Live func(ctx context.Context) (bool, error)
	// Born is when the sandbox was made. A bucket that is younger was emptied
	// under it.
	Born time.Time
	// Published reports which transitions are out; nil: not known.
	Published func(sandbox.Transition) bool
}

// Put writes the view that src makes, unless the bucket holds a newer one or one
// that readers could not tell from it. It returns what the bucket holds then.
func (s *Store) Put(ctx context.Context, key string, src Source, now time.Time) (Present, error) {
	for attempt := range casAttempts {
		var p Present
		known := attempt == 0 && src.Known != nil
		if known {
			p = *src.Known
		} else {
			var err error
			if p, err = s.Read(ctx, key); err != nil {
				return Present{}, err
			}
		}
		next := src.Observe(p.View)
		if p.View != nil {
			c := sandbox.Newer(&next, p.View)
			if c < 0 || sandbox.SameForReaders(&next, p.View) {
				if known {
					continue // nothing is to be written if that is still there
				}
				return p, nil
			}
		} else if !known && !s.omit.Has(sandbox.OmitLiveKeyCreate) {
			ok, err := src.Live(ctx)
			if err != nil {
				return Present{}, err
			}
			if !ok {
				return Present{}, ErrMoved
			}
		}
		restored := sandbox.Restored{Yes: p.lost || p.Created.After(src.Born), Number: now.Unix()}
		if p.View == nil && restored.Yes {
			sandbox.Trust(&next)
		}
		sandbox.Advance(p.View, &next, restored, now)
		if src.Published != nil {
			sandbox.Trim(&next, src.Published)
		}
		rev, body, err := s.write(ctx, key, &next, p.Revision)
		if err == nil {
			return Present{View: &next, Revision: rev, Created: p.Created, body: body}, nil
		}
		if known && conflict(err) {
			continue
		}
		if !conflict(err) {
			return Present{}, fmt.Errorf("write view %s: %w", key, err)
		}
		if err := pause(ctx, attempt); err != nil {
			return Present{}, err
		}
	}
	return Present{}, fmt.Errorf("write view %s: %d conflicts in a row", key, casAttempts)
}

func (s *Store) write(ctx context.Context, key string, v *sandbox.View, rev uint64) (uint64, []byte, error) {
	s.sealer.Seal(v)
	body, err := contract.EncodeView(v)
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	kv, err := s.writer(ctx)
	if err != nil {
		return 0, nil, err
	}
	now, err := kv.Update(ctx, key, body, rev)
	return now, body, err
}

// writer opens the bucket once: a handle for each write would ask the server as
// often as the write itself. For writing it holds nothing but the subject, so it
// stays good over a bucket that is made anew; whose revision it is, Read tells.
func (s *Store) writer(ctx context.Context) (jetstream.KeyValue, error) {
	if kv := s.bucket.Load(); kv != nil {
		return *kv, nil
	}
	kv, err := s.js.KeyValue(ctx, contract.ViewBucket)
	if err != nil {
		return nil, err
	}
	s.bucket.Store(&kv)
	return kv, nil
}

// conflict: a stale update matches both errors in the client library, a create
// only the second.
func conflict(err error) bool {
	return errors.Is(err, jetstream.ErrKeyRevisionMismatch) || errors.Is(err, jetstream.ErrKeyExists)
}

// pause spreads writers that collide, a second in all: a replicated bucket that has
// lost its leader calls a write a conflict as long as one before it is under way.
func pause(ctx context.Context, attempt int) error {
	const doublings = 5
	t := time.NewTimer(time.Duration(1+rand.IntN(5)) * time.Millisecond << min(attempt, doublings))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Delete removes a key that still stands at the revision. It reports false if it
// does not.
func (s *Store) Delete(ctx context.Context, key string, revision uint64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	kv, err := s.js.KeyValue(ctx, contract.ViewBucket)
	if err != nil {
		return false, fmt.Errorf("open the bucket: %w", err)
	}
	err = kv.Purge(ctx, key, jetstream.LastRevision(revision), jetstream.PurgeTTL(keyTTL))
	switch {
	case err == nil:
		return true, nil
	case conflict(err), isWrongSequence(err):
		return false, nil
	}
	return false, fmt.Errorf("delete view %s: %w", key, err)
}

func isWrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

// Beat writes the heartbeat.
func (s *Store) Beat(ctx context.Context, h contract.Heartbeat) error {
	body, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encode heartbeat: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	kv, err := s.js.KeyValue(ctx, contract.ViewBucket)
	if err != nil {
		return fmt.Errorf("open the bucket: %w", err)
	}
	if _, err := kv.Put(ctx, contract.HeartbeatKey, body); err != nil {
		return fmt.Errorf("write the heartbeat: %w", err)
	}
	return nil
}
