package httpapi

import (
	"bytes"
	"encoding/json"
	"strconv"
	"sync"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
)

// Most answers are read far more often than sandboxes change. So the object of a
// sandbox is encoded once for each view, and answers are put together from these.

// shown is an answer that is made of objects that are encoded already.
type shown interface {
	appendTo(b *bytes.Buffer)
}

// seen is the answer about one sandbox.
type seen struct{ *views.Seen }

func (s seen) appendTo(b *bytes.Buffer) { b.Write(s.Answer(encodeView)) }

// batch answers by position; nil for what is not there.
type batch []*views.Seen

func (l batch) appendTo(b *bytes.Buffer) {
	b.WriteByte('[')
	for i, s := range l {
		if i > 0 {
			b.WriteByte(',')
		}
		if s == nil {
			b.WriteString("null")
			continue
		}
		b.Write(s.Answer(encodeView))
	}
	b.WriteByte(']')
}

// list is the answer of /list.
type list []*views.Seen

func (l list) appendTo(b *bytes.Buffer) {
	b.WriteString(`{"runtimes":`)
	batch(l).appendTo(b)
	b.WriteString(`,"total":`)
	b.WriteString(strconv.Itoa(len(l)))
	b.WriteByte('}')
}

// encodeView never fails: the object has nothing that JSON cannot hold.
func encodeView(v *sandbox.View) []byte {
	var b bytes.Buffer
	if err := encodeJSON(&b, object(v)); err != nil {
		panic(err)
	}
	return bytes.Clone(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func encode(b *bytes.Buffer, body any) error {
	if s, ok := body.(shown); ok {
		s.appendTo(b)
		return b.WriteByte('\n')
	}
	return encodeJSON(b, body)
}

func encodeJSON(b *bytes.Buffer, body any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false) // URLs and logs stay readable
	return e.Encode(body)
}

// maxKept is the largest buffer that is used again, in bytes: a list of some
// 30,000 sandboxes.
const maxKept = 32 << 20

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func giveBack(b *bytes.Buffer) {
	if b.Cap() <= maxKept {
		b.Reset()
		buffers.Put(b)
	}
}
