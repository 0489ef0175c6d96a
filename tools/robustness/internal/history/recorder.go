package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Entry is one line of a history file; one of its members is there.
type Entry struct {
	Op    *Op    `json:"op,omitempty"`
	Pod   *Pod   `json:"pod,omitempty"`
	Event *Event `json:"event,omitempty"`
	View  *View  `json:"view,omitempty"`
	Fault *Fault `json:"fault,omitempty"`
	Pulse *Pulse `json:"pulse,omitempty"`
	End   *End   `json:"end,omitempty"`
	Left  *Left  `json:"left,omitempty"`

	Sample *Sample `json:"sample,omitempty"`
}

// Recorder collects a history and writes each entry as a line of JSON. Many may
// record at once.
type Recorder struct {
	begin time.Time

	mu  sync.Mutex
	out *json.Encoder
	err error // of the first line that could not be written
	all History
}

// NewRecorder returns a recorder whose clock begins now.
func NewRecorder(out io.Writer) *Recorder {
	return &Recorder{begin: time.Now(), out: json.NewEncoder(out)}
}

// Now is the time of the run. It is monotonic.
func (r *Recorder) Now() time.Duration { return time.Since(r.begin) }

// Add records one entry.
func (r *Recorder) Add(e Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all.Add(e)
	if err := r.out.Encode(e); err != nil && r.err == nil {
		r.err = fmt.Errorf("write the history: %w", err)
	}
}

// History is all that was recorded. Nobody may record any more.
func (r *Recorder) History() (*History, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &r.all, r.err
}

// Add puts an entry where it belongs.
func (h *History) Add(e Entry) {
	switch {
	case e.Op != nil:
		h.Ops = append(h.Ops, *e.Op)
	case e.Pod != nil:
		h.Pods = append(h.Pods, *e.Pod)
	case e.Event != nil:
		h.Events = append(h.Events, *e.Event)
	case e.View != nil:
		h.Views = append(h.Views, *e.View)
	case e.Fault != nil:
		h.Faults = append(h.Faults, *e.Fault)
	case e.Pulse != nil:
		h.Pulses = append(h.Pulses, *e.Pulse)
	case e.End != nil:
		h.Ends = append(h.Ends, *e.End)
	case e.Sample != nil:
		h.Samples = append(h.Samples, *e.Sample)
	case e.Left != nil:
		h.Left = append(h.Left, *e.Left)
	}
}

// Read reads what a Recorder wrote.
func Read(in io.Reader) (*History, error) {
	var h History
	for lines := json.NewDecoder(in); ; {
		var e Entry
		if err := lines.Decode(&e); errors.Is(err, io.EOF) {
			return &h, nil
		} else if err != nil {
			return nil, fmt.Errorf("read the history: %w", err)
		}
		h.Add(e)
	}
}
