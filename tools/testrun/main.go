// Command testrun is `make test`: it runs the phases of phases.go, shows how
// they go, and ends with the line `N passed, N failed`.
//
//	go run ./tools/testrun [-phase unit,apiserver] [-run regexp] [-v]
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sandbar-io/sandbar/tools/internal/repo"
	"github.com/sandbar-io/sandbar/tools/testrun/internal/conformance"
	"github.com/sandbar-io/sandbar/tools/testrun/internal/gotest"
	"github.com/sandbar-io/sandbar/tools/testrun/internal/phase"
	"github.com/sandbar-io/sandbar/tools/testrun/internal/report"
)

const ourPackages = "github.com/sandbar-io/sandbar/"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second Ctrl-C ends at once
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("testrun", flag.ContinueOnError)
	flags.SetOutput(stderr)
	names := flags.String("phase", "", "phases to run, by comma; default all of "+strings.Join(phaseNames(phases()), ","))
	filter := flags.String("run", "", "run only tests that match, as go test -run")
	verbose := flags.Bool("v", false, "show the output of passing tests too")
	if flags.Parse(args) != nil || flags.NArg() > 0 {
		return 2
	}
	selected, err := choose(phases(), *names)
	if err != nil {
		fmt.Fprintln(stderr, "testrun:", err)
		return 2
	}
	root, err := repo.Root()
	if err != nil {
		fmt.Fprintln(stderr, "testrun:", err)
		return 2
	}
	results := &gotest.Results{}
	runner := phase.Runner{
		Root: root, Logs: filepath.Join(root, ".sandbar", "logs", "test"), Go: "go", Filter: *filter,
		Results: results, Progress: report.NewLive(stdout, ourPackages, *verbose, time.Now),
	}
	times := runner.Run(ctx, selected)
	judged := *filter == "" && len(selected) == len(phases())
	var required []int
	if judged {
		required = conformance.Required()
	}
	closing := report.Closing{
		Results: results, Verdict: conformance.Judge(results, required), Judged: judged,
		Times: times, Strip: ourPackages, CI: getenv("CI") == "true",
	}
	if !closing.Print(stdout) {
		return 1
	}
	return 0
}

// choose takes the named phases, in the order of the table.
func choose(all []phase.Phase, names string) ([]phase.Phase, error) {
	if names == "" {
		return all, nil
	}
	wanted := strings.Split(names, ",")
	for _, name := range wanted {
		if !slices.Contains(phaseNames(all), name) {
			return nil, fmt.Errorf("no phase %q; there are %s", name, strings.Join(phaseNames(all), ", "))
		}
	}
	return slices.DeleteFunc(all, func(p phase.Phase) bool { return !slices.Contains(wanted, p.Name) }), nil
}

func phaseNames(all []phase.Phase) []string {
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	return names
}
