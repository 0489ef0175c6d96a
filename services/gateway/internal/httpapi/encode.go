package httpapi

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"sync"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
)

// Most answers are read far more often than sandboxes change. So the object of a
// sandbox is encoded once for each view, and answers are put together from these.

// shown is an answer that is made of parts that are encoded already.
type shown interface {
	parts(yield func([]byte) bool)
}

// seen is the answer about one sandbox.
type seen struct{ *views.Seen }

func (s seen) parts(yield func([]byte) bool) { _ = yield(s.Answer(encodeView)) && yield(newline) }

// batch answers by position; nil for what is not there.
type batch []*views.Seen

func (l batch) parts(yield func([]byte) bool) {
	_ = yield([]byte("[")) && answers(l, yield) && yield([]byte("]\n"))
}

var (
	newline = []byte("\n")
	comma   = []byte(",")
	null    = []byte("null")
)

// answers yields the objects of sandboxes and the commas between them, null for what is
// not there, and reports false where yield wanted no more.
func answers(all []*views.Seen, yield func([]byte) bool) bool {
	for i, s := range all {
		part := null
		if s != nil {
			part = s.Answer(encodeView)
		}
		if i > 0 && !yield(comma) || !yield(part) {
			return false
		}
	}
	return true
}

// pieces is an answer whose parts are made.
type pieces [][]byte

func (l pieces) parts(yield func([]byte) bool) { slices.Values(l)(yield) }

// list is the answer of /list. What is stopped or paused is shown only where all is
// asked for; that is joined anew each time.
func list(shelves []*views.Shelf, all bool) pieces {
	out := pieces{[]byte(`{"runtimes":[`)}
	total := 0
	for _, s := range shelves {
		var body []byte
		var n int
		if all {
			body, n = joined(s.Seen)
		} else {
			body, n = s.Answer(joinActive)
		}
		if n == 0 {
			continue
		}
		if total > 0 {
			out = append(out, comma)
		}
		out = append(out, body)
		total += n
	}
	return append(out, []byte(`],"total":`+strconv.Itoa(total)+"}\n"))
}

// joinActive joins the objects of what runs or is about to.
func joinActive(all []*views.Seen) ([]byte, int) {
	shown := make([]*views.Seen, 0, len(all))
	for _, s := range all {
		if active(s.View) {
			shown = append(shown, s)
		}
	}
	return joined(shown)
}

func joined(all []*views.Seen) ([]byte, int) {
	size := 0
	answers(all, func(part []byte) bool { size += len(part); return true })
	out := make([]byte, 0, size)
	answers(all, func(part []byte) bool { out = append(out, part...); return true })
	return out, len(all)
}

// encodeView never fails: the object has nothing that JSON cannot hold.
func encodeView(v *sandbox.View) []byte {
	var b bytes.Buffer
	if err := encodeJSON(&b, object(v)); err != nil {
		panic(err)
	}
	return bytes.Clone(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func encodeJSON(b *bytes.Buffer, body any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false) // URLs and logs stay readable
	return e.Encode(body)
}

// chunk is how much of an answer is written at once, in bytes. A list of ten thousand
// sandboxes is 6 MB, of which nobody makes one piece.
const chunk = 512 << 10

var chunks = sync.Pool{New: func() any { return bytes.NewBuffer(make([]byte, 0, chunk)) }}

// sizeOf is an answer's length.
func sizeOf(s shown) (n int) {
	for part := range s.parts {
		n += len(part)
	}
	return n
}

// writeParts writes an answer. The client may be gone.
func writeParts(w io.Writer, s shown) {
	b := chunks.Get().(*bytes.Buffer)
	defer func() {
		b.Reset()
		chunks.Put(b)
	}()
	for part := range s.parts {
		if b.Len()+len(part) > chunk {
			if _, err := w.Write(b.Bytes()); err != nil {
				return
			}
			b.Reset()
		}
		if len(part) > chunk {
			if _, err := w.Write(part); err != nil {
				return
			}
			continue
		}
		b.Write(part)
	}
	_, _ = w.Write(b.Bytes())
}
