package sandbox_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

func seconds(n int64) *int64 { return &n }

func TestLifecycleValidate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		l    *sandbox.Lifecycle
		want string // "": fine
	}{
		"none":                              {nil, ""},
		"empty":                             {&sandbox.Lifecycle{}, ""},
		"never":                             {&sandbox.Lifecycle{Idle: seconds(0), MaxAge: seconds(0)}, ""},
		"the longest":                       {&sandbox.Lifecycle{Retention: seconds(sandbox.MaxLifecycle)}, ""},
		"negative":                          {&sandbox.Lifecycle{Idle: seconds(-1)}, "idle_seconds"},
		"too long":                          {&sandbox.Lifecycle{MaxAge: seconds(sandbox.MaxLifecycle + 1)}, "max_age_seconds"},
		"idle longer than activity is kept": {&sandbox.Lifecycle{Idle: seconds(sandbox.MaxIdle + 1)}, "idle_seconds"},
		"pending":                           {&sandbox.Lifecycle{Pending: seconds(-5)}, "pending_seconds"},
		"unclaimed":                         {&sandbox.Lifecycle{Unclaimed: seconds(1 << 62)}, "unclaimed_seconds"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			switch err := c.l.Validate(); {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v does not name %s", err, c.want)
			}
		})
	}
}

func TestLifecycleOr(t *testing.T) {
	t.Parallel()
	request := &sandbox.Lifecycle{Idle: seconds(0), Pending: seconds(7)}
	key := &sandbox.Lifecycle{Idle: seconds(60), MaxAge: seconds(600)}
	want := &sandbox.Lifecycle{Idle: seconds(0), MaxAge: seconds(600), Pending: seconds(7)}
	got := request.Or(key)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	*got.MaxAge, *got.Idle = 1, 1
	if *key.MaxAge != 600 || *request.Idle != 0 {
		t.Error("the result shares its values")
	}
	if got := (*sandbox.Lifecycle)(nil).Or(key); !reflect.DeepEqual(got, key) || got == key {
		t.Errorf("of nil: %+v", got)
	}
	if got := (*sandbox.Lifecycle)(nil).Or(nil); got != nil {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestSeconds(t *testing.T) {
	t.Parallel()
	if got := sandbox.Seconds(nil, time.Minute); got != time.Minute {
		t.Error(got)
	}
	if got := sandbox.Seconds(seconds(0), time.Minute); got != 0 {
		t.Error(got)
	}
	if got := sandbox.Seconds(seconds(1<<62), time.Minute); got != sandbox.MaxLifecycle*time.Second {
		t.Error(got) // a record may hold anything
	}
}
