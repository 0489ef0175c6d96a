// Package conformance judges which checks of the HTTP contract (contract.md
// 11) were proved by the tests that ran. A test declares a check with
//
//	t.Attr("conformance", "7 real node")
//
// its number and where it ran: real node, simulated, API server or unit; real
// and apiserver do for the long names.
package conformance

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sandbar-io/sandbar/tools/testrun/internal/gotest"
)

// Key of the attribute.
const Key = "conformance"

var places = map[string]string{
	"real": "real node", "real node": "real node", "simulated": "simulated",
	"apiserver": "API server", "API server": "API server", "unit": "unit",
}

// Row is one test of one check.
type Row struct {
	Check   int
	Where   string
	ID      gotest.ID
	Outcome gotest.Outcome
}

// Problem is one line that names its check.
type Problem struct {
	Text string
	// Cause is the outcome of the test that is to blame; Running where no test is.
	Cause gotest.Outcome
}

// Verdict is the table, and what is wrong with it.
type Verdict struct {
	Rows     []Row
	Problems []Problem
}

// Judge builds the table. Each check of required wants a test that passed and
// none that failed; a declaration that cannot be read is a problem always.
func Judge(results *gotest.Results, required []int) Verdict {
	var v Verdict
	for _, a := range results.Attrs() {
		if a.Key != Key {
			continue
		}
		check, where, err := parse(a.Value)
		if err != nil {
			v.Problems = append(v.Problems, Problem{Text: fmt.Sprintf("%s: %s", a.ID, err)})
			continue
		}
		row := Row{Check: check, Where: where, ID: a.ID, Outcome: results.Outcome(a.ID)}
		if !slices.Contains(v.Rows, row) { // a test may run in two phases
			v.Rows = append(v.Rows, row)
		}
	}
	slices.SortStableFunc(v.Rows, func(a, b Row) int { return a.Check - b.Check })
	for _, check := range required {
		if problem := judgeOne(check, v.Rows); problem != nil {
			v.Problems = append(v.Problems, *problem)
		}
	}
	return v
}

func judgeOne(check int, rows []Row) *Problem {
	passed, skipped := false, ""
	for _, r := range rows {
		if r.Check != check {
			continue
		}
		switch r.Outcome {
		case gotest.Passed:
			passed = true
		case gotest.Skipped:
			skipped = r.ID.String()
		default:
			return &Problem{fmt.Sprintf("conformance check %d failed: %s", check, r.ID), gotest.Failed}
		}
	}
	switch {
	case passed:
		return nil
	case skipped != "":
		return &Problem{fmt.Sprintf("conformance check %d was skipped: %s", check, skipped), gotest.Skipped}
	}
	return &Problem{Text: fmt.Sprintf("conformance check %d has no test", check)}
}

func parse(value string) (check int, where string, err error) {
	number, place, _ := strings.Cut(value, " ")
	check, err = strconv.Atoi(number)
	if err != nil || check < 1 || check > 70 {
		return 0, "", fmt.Errorf("conformance %q: begin with a number from 1 to 70", value)
	}
	where, ok := places[place]
	if !ok {
		return 0, "", fmt.Errorf("conformance %q: say real node, simulated, API server or unit after the number", value)
	}
	return check, where, nil
}

// Required are the checks that this version of Sandbar has to hold.
func Required() []int {
	var all []int
	for _, span := range [][2]int{{1, 57}, {59, 70}} {
		for n := span[0]; n <= span[1]; n++ {
			all = append(all, n)
		}
	}
	return all
}
