package registry_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/services/gateway/internal/registry"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// What the guard lets through of the credentials, should the library ever send
// them further than it does.
func TestGuardOfCredentials(t *testing.T) {
	t.Parallel()
	rules := registry.Rules{Insecure: []string{"plain.example.com"}, Realms: map[string]string{"r.example.com": "t.elsewhere.test"}}
	for name, c := range map[string]struct {
		method, target, authorization string
		sent                          string // "refused", or the header that goes on
	}{
		"to the registry":        {"GET", "https://r.example.com/v2/", "Basic x", "Basic x"},
		"a token to it":          {"GET", "https://r.example.com:443/v2/", "Bearer x", "Bearer x"},
		"without encryption":     {"GET", "http://r.example.com/v2/", "Basic x", "refused"},
		"to its site":            {"GET", "https://auth.example.com/", "Basic x", "Basic x"},
		"to a realm of the list": {"POST", "https://t.elsewhere.test/", "", ""},
		"elsewhere":              {"GET", "https://far.elsewhere.test/", "Basic x", "refused"},
		"elsewhere, in capitals": {"GET", "https://far.elsewhere.test/", "BASIC x", "refused"},
		"elsewhere as a body":    {"POST", "https://far.elsewhere.test/", "", "refused"},
		"a token elsewhere":      {"GET", "https://far.elsewhere.test/", "Bearer x", ""},
		"a token to its site":    {"GET", "https://auth.example.com/", "Bearer x", ""},
		"a name that ends alike": {"GET", "https://evilr.example.com.elsewhere.test/", "Basic x", "refused"},
		"nothing elsewhere":      {"GET", "https://far.elsewhere.test/", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := "refused"
			g := registry.Guard(rules, "r.example.com", roundTrip(func(r *http.Request) (*http.Response, error) {
				sent = r.Header.Get("Authorization")
				return httptest.NewRecorder().Result(), nil
			}))
			r := httptest.NewRequest(c.method, c.target, strings.NewReader("refresh_token=x"))
			if c.authorization != "" {
				r.Header.Set("Authorization", c.authorization)
			}
			resp, err := g.RoundTrip(r)
			if err == nil {
				_ = resp.Body.Close()
			}
			if sent != c.sent || (err != nil) != (c.sent == "refused") {
				t.Errorf("sent %q, %v; want %q", sent, err, c.sent)
			}
			if r.Header.Get("Authorization") != c.authorization {
				t.Error("the caller's request was changed")
			}
		})
	}
}
