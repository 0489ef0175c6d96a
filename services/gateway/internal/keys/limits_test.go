package keys_test

import (
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/keys"
)

func TestParseLimits(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]sandbox.Limits{
		"sandboxes=10,cpu=8,memory=16Gi,starts_per_minute=30": {Sandboxes: 10, CPU: 8000, Memory: 16 << 30, StartsPerMinute: 30},
		"sandboxes=1":                     {Sandboxes: 1},
		"cpu=500m":                        {CPU: 500},
		"cpu=1.5":                         {CPU: 1500},
		"cpu=0.001":                       {CPU: 1},
		"cpu=2k":                          {CPU: 2_000_000},
		"memory=1":                        {Memory: 1},
		"memory=1000m":                    {Memory: 1},
		"memory=0.5Ki":                    {Memory: 512},
		"memory=1.5G":                     {Memory: 1_500_000_000},
		"memory=2M":                       {Memory: 2_000_000},
		"memory=1Ti":                      {Memory: 1 << 40},
		"memory=1Pi":                      {Memory: 1 << 50},
		" " + `{"memory": "512Mi"}` + " ": {Memory: 512 << 20},
		"starts_per_minute=2000":          {StartsPerMinute: 2000},
	} {
		want.Key = "API_KEY"
		if got, err := keys.ParseLimits(text); err != nil || got == nil || *got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "  "} {
		if got, err := keys.ParseLimits(text); err != nil || got != nil {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"sandboxes":              "name=value",
		"pods=1":                 "no other name",
		"sandboxes=x":            "sandboxes: must be a whole number",
		"sandboxes=0":            "sandboxes: must be 1 to 2000",
		"sandboxes=-1":           "sandboxes: must be 1 to",
		"sandboxes=2001":         "sandboxes: must be 1 to",
		"starts_per_minute=0":    "starts_per_minute: must be 1 to",
		"cpu=":                   "cpu: must be a quantity",
		"cpu=0":                  "cpu: must be a quantity",
		"cpu=-1":                 "cpu: must be a quantity",
		"cpu=0.0001":             "cpu: must be a quantity",
		"cpu=1e3":                "cpu: must be a quantity",
		"cpu=1_000":              "cpu: must be a quantity",
		"cpu=1/3":                "cpu: must be a quantity",
		"cpu=0x10":               "cpu: must be a quantity",
		"cpu=999999999999999999": "cpu: must be a quantity",
		"memory=16GB":            "memory: must be a quantity",
		"memory=16gi":            "memory: must be a quantity",
		"memory=" + " ":          "memory: must be a quantity",
		"memory=1m":              "memory: must be a quantity",
		"memory=2Pi":             "memory: must be a quantity",
		"memory=9999999999999999999999999999999999999": "memory: must be a quantity",
	} {
		got, err := keys.ParseLimits(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v; want %q", text, got, err, want)
		}
	}
	// Nothing of a value is told: it may be a key in the wrong place.
	for _, text := range []string{"sandboxes=secret", "cpu=secret", "secret", "secret=1", "{secret"} {
		if _, err := keys.ParseLimits(text); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestLimitsOfKeys(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.yaml")
	write(t, path, "keys:\n"+
		item("a", "key-a", "t", ", limits: {sandboxes: 10, cpu: 8, memory: 16Gi, starts_per_minute: 30}")+
		item("b", "key-b", "t", ", limits: {cpu: 0.5}")+
		item("c", "key-c", "t", ", limits: {}")+
		item("d", "key-d", "t", ", limits: null")+
		item("API_KEY", "key-e", "t", ""))
	ring, err := keys.New("plain", &sandbox.Limits{Key: "API_KEY", Sandboxes: 3}, path, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	for presented, want := range map[string]*sandbox.Limits{
		"key-a": {Key: "a", Sandboxes: 10, CPU: 8000, Memory: 16 << 30, StartsPerMinute: 30},
		"key-b": {Key: "b", CPU: 500},
		"key-c": nil,
		"key-d": nil,
		"key-e": nil,
		"plain": {Key: "API_KEY", Sandboxes: 3},
	} {
		got, ok := ring.Find(presented)
		if !ok || (got.Limits == nil) != (want == nil) || want != nil && *got.Limits != *want {
			t.Errorf("%s: %+v, want %+v", presented, got.Limits, want)
		}
		if err := got.Limits.Validate(); err != nil {
			t.Errorf("%s: the provisioner would not take it: %v", presented, err)
		}
	}
}
