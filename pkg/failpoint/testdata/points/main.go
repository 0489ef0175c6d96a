// Command points hits the points that its arguments name, each after a side effect
// that succeeds, and says so. One that ends in ! is no more than hit, and one that
// ends in ? follows a side effect that failed.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/sandbar-io/sandbar/pkg/failpoint"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if d, err := time.ParseDuration(os.Getenv("ENDS_AFTER")); err == nil {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, d)
		defer stop()
	}
	for _, point := range os.Args[1:] {
		if name, ok := strings.CutSuffix(point, "!"); ok {
			failpoint.Hit(ctx, name)
			fmt.Println(name)
			continue
		}
		name, fails := strings.CutSuffix(point, "?")
		var effect error
		if fails {
			effect = errors.New("failed")
		}
		switch err := failpoint.After(ctx, name, effect); {
		case errors.Is(err, context.DeadlineExceeded):
			fmt.Println(name + ":ended")
		case err != nil && errors.Is(err, effect):
			fmt.Println(name + ":failed")
		case err != nil:
			fmt.Println(name + ":lost")
		default:
			fmt.Println(name)
		}
	}
}
