package client_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

func TestPoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin, looks := time.Now(), 0
		err := client.Poll(t.Context(), time.Second, time.Minute, func(context.Context) (string, bool) {
			looks++
			return "", looks == 3
		})
		if err != nil || looks != 3 || time.Since(begin) != 2*time.Second {
			t.Errorf("%d looks in %s: %v", looks, time.Since(begin), err)
		}
	})
}

func TestPollTellsWhatItSawLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		err := client.Poll(t.Context(), time.Second, 10*time.Second, func(ctx context.Context) (string, bool) {
			if ctx.Err() != nil {
				return "only the end", false
			}
			return "still starting", false
		})
		if err == nil || !strings.Contains(err.Error(), "not within 10s") || !strings.Contains(err.Error(), "still starting") {
			t.Errorf("error %v", err)
		}
	})
}
