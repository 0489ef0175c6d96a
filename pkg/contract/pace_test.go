package contract_test

import (
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/contract"
)

func fullPace() contract.Pace {
	return contract.Pace{Gateway: "gateway-0", Tenant: "acme", Waits: true, Went: 7, Runs: 2, Probes: true, Places: .5}
}

// What a gateway tells is read back as it was, with what a newer one adds, and nothing
// that is none is believed.
func TestPace(t *testing.T) {
	t.Parallel()
	body, err := contract.EncodePace(fullPace())
	if err != nil {
		t.Fatal(err)
	}
	newer := strings.Replace(string(body), "{", `{"added_later":{"x":[1]},`, 1)
	for _, b := range []string{string(body), newer} {
		if got, err := contract.DecodePace([]byte(b)); err != nil || got != fullPace() {
			t.Errorf("%s: %+v, %v", b, got, err)
		}
	}
	for name, b := range map[string]string{
		"empty":               ``,
		"no object":           `[]`,
		"no gateway":          `{"tenant":"acme"}`,
		"a gateway's name":    `{"gateway":"a.b","tenant":"acme"}`,
		"a long name":         `{"gateway":"` + strings.Repeat("a", 65) + `","tenant":"acme"}`,
		"no tenant":           `{"gateway":"a"}`,
		"a tenant's name":     `{"gateway":"a","tenant":"A"}`,
		"less than none":      `{"gateway":"a","tenant":"acme","runs":-1}`,
		"more than there are": `{"gateway":"a","tenant":"acme","runs":9223372036854775807}`,
		"a long number":       `{"gateway":"a","tenant":"acme","places":` + strings.Repeat("1", 2000) + `}`,
		"a long wrong number": `{"gateway":"a","tenant":"acme","went":` + strings.Repeat("1", 900) + `}`,
		"no number of places": `{"gateway":"a","tenant":"acme","places":-0.5}`,
		"more than a number":  `{"gateway":"a","tenant":"acme","places":1e999}`,
	} {
		if got, err := contract.DecodePace([]byte(b)); err == nil {
			t.Errorf("%s: %+v", name, got)
		} else if len(err.Error()) > 1200 {
			t.Errorf("%s: an error of %d characters", name, len(err.Error()))
		}
	}
}
