package figure_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/loadgen/internal/figure"
)

func sample(ms float64) figure.Sample {
	return figure.Sample{Values: map[string]float64{figure.P50: ms}}
}

func TestAlternateTakesTurns(t *testing.T) {
	t.Parallel()
	var order strings.Builder
	n := 0.0
	ours := func(context.Context) (figure.Sample, error) { order.WriteByte('A'); n++; return sample(n), nil }
	limit := func(context.Context) (figure.Sample, error) { order.WriteByte('B'); return sample(1), nil }
	rounds, err := figure.Alternate(t.Context(), 3, ours, limit)
	if err != nil || order.String() != "ABABABAB" || len(rounds) != 3 || rounds[0].Ours.Values[figure.P50] != 2 {
		t.Errorf("%s, %v, %v", order.String(), rounds, err)
	}
	broken := func(context.Context) (figure.Sample, error) { return figure.Sample{}, errors.New("down") }
	if _, err := figure.Alternate(t.Context(), 3, ours, broken); err == nil || err.Error() != "the limit: down" {
		t.Errorf("a limit that cannot be measured: %v", err)
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	// The machine was three times slower in the second round; the ratio was not.
	rounds := []figure.Round{
		{Ours: sample(2), Limit: sample(1)},
		{Ours: sample(6), Limit: sample(3)},
		{Ours: sample(5), Limit: sample(1)},
	}
	broken := []figure.Round{{Ours: sample(1), Limit: sample(1)}}
	broken[0].Ours.Failed, broken[0].Ours.Failure = 1, "503"
	for name, c := range map[string]struct {
		figure.Case
		ratio   float64
		reached bool
	}{
		"at most, reached":    {figure.Case{Bounds: []figure.Bound{{Value: figure.P50, AtMost: 2}}, Rounds: rounds}, 2, true},
		"at most, missed":     {figure.Case{Bounds: []figure.Bound{{Value: figure.P50, AtMost: 1.9}}, Rounds: rounds}, 2, false},
		"at least, reached":   {figure.Case{Bounds: []figure.Bound{{Value: figure.P50, AtLeast: 2}}, Rounds: rounds}, 2, true},
		"at least, missed":    {figure.Case{Bounds: []figure.Bound{{Value: figure.P50, AtLeast: 2.1}}, Rounds: rounds}, 2, false},
		"failures are a miss": {figure.Case{Bounds: []figure.Bound{{Value: figure.P50, AtMost: 2}}, Rounds: broken}, 1, false},
		"no round is a miss":  {figure.Case{Bounds: []figure.Bound{{Value: figure.P50, AtMost: 2}}}, 0, false},
		"a limit of nothing": {figure.Case{
			Bounds: []figure.Bound{{Value: figure.P50, AtMost: 2}}, Rounds: []figure.Round{{Ours: sample(1), Limit: sample(0)}},
		}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := c.Verdicts()[0]
			if v.Ratio != c.ratio || v.Reached != c.reached {
				t.Errorf("ratio %v, reached %v", v.Ratio, v.Reached)
			}
		})
	}
}
