// Command mutants is `make mutants`: it puts one bug after the other into the
// product and demands that the tests that are named for it fail. The tree stays as
// it is: a bug is an overlay of the build.
//
//	go run ./mutants [-run regexp] [-layer unit,apiserver,random] [-v]
//	go run ./mutants -list
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sandbar-io/sandbar/tools/internal/repo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second Ctrl-C ends at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	flags.SetOutput(stderr)
	filter := flags.String("run", "", "only bugs whose name matches")
	layers := flags.String("layer", "", "only tests of these layers, by comma; default "+usual+", as each random one takes five minutes")
	list := flags.Bool("list", false, "print the table of docs/testing.md")
	verbose := flags.Bool("v", false, "show what the tests say")
	if flags.Parse(args) != nil || flags.NArg() > 0 {
		return 2
	}
	if *list {
		fmt.Fprint(stdout, table(bugs))
		return 0
	}
	pattern, err := regexp.Compile(*filter)
	if err != nil {
		fmt.Fprintln(stderr, "mutants: -run:", err)
		return 2
	}
	root, err := repo.Root()
	if err != nil {
		fmt.Fprintln(stderr, "mutants:", err)
		return 2
	}
	selected := choose(bugs, pattern, *layers)
	g, err := prepare(ctx, root, selected, stdout)
	if err == nil {
		defer g.end(stderr)
		r := &runner{root: root, env: g.env, out: stdout, verbose: *verbose, sound: map[string]error{}}
		if err = r.all(ctx, selected); err == nil {
			return 0
		}
	}
	fmt.Fprintln(stderr, "mutants:", err)
	return 1
}

// usual are the layers that are run where none is named.
const usual = "unit,apiserver"

// choose takes the bugs that match, and of their tests those of the layers.
func choose(all []bug, pattern *regexp.Regexp, layers string) (out []bug) {
	layers = cmp.Or(layers, usual)
	for _, b := range all {
		if !pattern.MatchString(b.name) {
			continue
		}
		b.caught = slices.DeleteFunc(slices.Clone(b.caught), func(c catch) bool {
			return !slices.Contains(strings.Split(layers, ","), c.layer)
		})
		if len(b.caught) > 0 {
			out = append(out, b)
		}
	}
	return out
}

// table is the list in docs/testing.md.
func table(all []bug) string {
	var b strings.Builder
	b.WriteString("| bug | what it does | caught by |\n|---|---|---|\n")
	for _, bug := range all {
		var by []string
		for _, c := range bug.caught {
			for _, promise := range c.broken {
				by = append(by, "random faults: *"+promise+"*")
			}
			if len(c.broken) > 0 {
				continue
			}
			for _, test := range c.tests {
				by = append(by, "`"+test+"`")
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", bug.name, bug.what, strings.Join(by, ", "))
	}
	return b.String()
}

// took rounds for people.
func took(begin time.Time) time.Duration { return time.Since(begin).Round(100 * time.Millisecond) }
