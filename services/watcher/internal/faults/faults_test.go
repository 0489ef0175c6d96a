package faults

import (
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestFaults(t *testing.T) {
	t.Parallel()
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods/log"}, "p", errors.New("cannot get"))
	away := errors.New("connection refused")
	for _, c := range []struct {
		name   string
		note   func(*Faults)
		after  time.Duration
		denied bool
		text   string
	}{
		{"nothing", func(*Faults) {}, 0, false, ""},
		{"a watch", func(f *Faults) { f.Watch("pods", away) }, time.Hour, false, "pods: connection refused"},
		{"a watch that is back", func(f *Faults) { f.Watch("pods", away); f.Watch("pods", nil) }, 0, false, ""},
		{"a watch that is denied", func(f *Faults) { f.Watch("pods", forbidden) }, time.Hour, true, "cannot get"},
		{"a request that failed", func(f *Faults) { f.Request("log", away) }, 0, false, ""},
		{"a request that is denied", func(f *Faults) { f.Request("log", forbidden) }, time.Minute, true, `log: pods/log "p" is forbidden: cannot get`},
		{"long ago", func(f *Faults) { f.Request("log", forbidden) }, time.Hour, false, ""},
		{"and allowed again", func(f *Faults) { f.Request("log", forbidden); f.Request("log", nil) }, 0, false, ""},
		{"two", func(f *Faults) { f.Watch("pods", away); f.Request("log", forbidden) }, 0, true, "\npods"},
	} {
		f := New()
		at := time.Unix(1_700_000_000, 0)
		f.now = func() time.Time { return at }
		c.note(f)
		at = at.Add(c.after)
		denied, err := f.Now()
		if denied != c.denied || (err == nil) != (c.text == "") || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v %v", c.name, denied, err)
		}
	}
}
