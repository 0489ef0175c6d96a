package settings_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/settings"
)

func TestClocks(t *testing.T) {
	t.Parallel()
	got := settings.Clocks{Idle: settings.Idle{Seconds: 1}, MaxAge: 2, Retention: 3, Pending: 4, Unclaimed: 0}.Clocks()
	if got != (sandbox.Clocks{Idle: time.Second, MaxAge: 2 * time.Second, Retention: 3 * time.Second, Pending: 4 * time.Second}) {
		t.Errorf("%+v", got)
	}
}

func TestClocksValidate(t *testing.T) {
	t.Parallel()
	fine := settings.Clocks{Idle: settings.Idle{Seconds: sandbox.MaxIdle}, MaxAge: sandbox.MaxLifecycle}
	if err := fine.Validate(); err != nil {
		t.Error(err)
	}
	err := settings.Clocks{Idle: settings.Idle{Seconds: sandbox.MaxIdle + 1}, MaxAge: -1, Retention: -1, Pending: sandbox.MaxLifecycle + 1, Unclaimed: -1}.Validate()
	for _, name := range []string{"IDLE", "MAX", "DEAD", "PENDING", "UNCLAIMED"} {
		if err == nil || !strings.Contains(err.Error(), "RUNTIME_"+name+"_SECONDS") {
			t.Errorf("%v does not name RUNTIME_%s_SECONDS", err, name)
		}
	}
}
