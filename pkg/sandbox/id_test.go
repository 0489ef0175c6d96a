package sandbox_test

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// A record's name is how its session is found again: it must never change.
func TestRecordNameIsStable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ tenant, session, want string }{
		{"default", "s", "sandbox-vvws43nvbc3an7unwvuq7mksae"},
		{"default", "", "sandbox-gikkjdk274awlwkz4qcbptvuua"},
		{"default", "3dHk9Qz1LmNoPqRsTuVwXy", "sandbox-kmescexjo4qizdis7fn2f5mx6e"},
		{"default", "3dhk9qz1lmnopqrstuvwxy", "sandbox-r2qtfwhv3i57inz5ftghpp3oqe"},
		{"default", "agent-server-6b3a1c1e-92a4-4c0e-9a54-2d2f0a9d5b7e", "sandbox-cecy5hvd2ba2j4n6bizi6cpwrm"},
		{"default", "日本 / 東京", "sandbox-4orml5pczpctulmx5oszesxrny"},
		{"acme", "s", "sandbox-omeia6bvf457yvjdx5qashw57u"},
		{"a", "cmes", "sandbox-idr7ztvzw5i4mmydzeogehepnu"},
		{"acm", "es", "sandbox-ycrve6dn3rxot3nn2ewzghavjy"},
	} {
		if got := sandbox.RecordName(c.tenant, c.session); got != c.want {
			t.Errorf("{%q, %q, %q},", c.tenant, c.session, got)
		}
	}
}

func TestRecordNameIsOneSessions(t *testing.T) {
	t.Parallel()
	label := regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	owner := map[string]string{}
	for _, tenant := range []string{"a", "ab", "abc", "1", "11", "default"} {
		for _, session := range []string{"", "a", "b", "bc", "c", "1a", "1:a", "11:a", "A", " a", "a ", "a\n", strings.Repeat("x", 256)} {
			name := sandbox.RecordName(tenant, session)
			if !label.MatchString(name) || !sandbox.ValidRecordName(name) {
				t.Errorf("%q", name)
			}
			who := tenant + "\x00" + session
			if other, taken := owner[name]; taken {
				t.Errorf("%q and %q are both %s", who, other, name)
			}
			owner[name] = who
		}
	}
}

func TestNewRuntimeID(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	letters := map[rune]bool{}
	for range 2000 {
		id := sandbox.NewRuntimeID()
		if !sandbox.ValidRuntimeID(id) || seen[id] {
			t.Fatalf("%q", id)
		}
		seen[id] = true
		for _, r := range id {
			letters[r] = true
		}
	}
	if len(letters) != 26 {
		t.Errorf("%d letters are used", len(letters))
	}
	if name := sandbox.PodName("abcdefghijklmnop", 12); name != "abcdefghijklmnop-12" {
		t.Error(name)
	}
}

func TestNewKey(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
	a, b := sandbox.NewKey(), sandbox.NewKey()
	if a == b || !form.MatchString(a) || !form.MatchString(b) {
		t.Errorf("%q %q", a, b)
	}
}

func TestValidNames(t *testing.T) {
	t.Parallel()
	type names map[string]bool
	for kind, c := range map[string]struct {
		valid func(string) bool
		names names
	}{
		"tenant": {sandbox.ValidTenant, names{
			"a": true, "default": true, "a-b": true, "0": true, strings.Repeat("a", 32): true, "a--b": true,
			"": false, "-a": false, "a-": false, "A": false, "a.b": false, "a b": false, "a*": false, ">": false, strings.Repeat("a", 33): false, "a\n": false, "é": false,
		}},
		"runtime id": {sandbox.ValidRuntimeID, names{
			"abcdefghijklmnop": true,
			"":                 false, "abcdefghijklmno": false, "abcdefghijklmnopq": false, "abcdefghijklmno1": false, "ABCDEFGHIJKLMNOP": false, "abcdefghijklmnop\n": false, "abcdefgh-jklmnop": false,
		}},
		"record": {sandbox.ValidRecordName, names{
			sandbox.RecordName("a", "b"): true,
			"":                           false, "sandbox-": false, "sandbox-" + strings.Repeat("a", 25): false, "sandbox-" + strings.Repeat("a", 27): false,
			"sandbox-" + strings.Repeat("1", 26): false, "record-" + strings.Repeat("a", 26): false, "sandbox-" + strings.Repeat("a", 26) + "\n": false,
		}},
	} {
		for name, want := range c.names {
			if got := c.valid(name); got != want {
				t.Errorf("%s %q: %v", kind, name, got)
			}
		}
	}
}

func TestValidSessionID(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"a": true, "3dHk9Qz1LmNoPqRsTuVwXy": true, "a.b": true, "a/b": true, "日本": true, " ": true, "a b": true, "%2F": true, "a?b#c": true, "\u00e9": true, "...": true,
		strings.Repeat("x", 256): true, "\uFFFD": true, "batch": true, "*": true, "<&>": true, "\u2028": true,
		"": false, strings.Repeat("x", 257): false, "a,b": false, "a\x00": false, "a\n": false, "\x7f": false, "a\xff": false, "\xed\xa0\x80": false,
		".": false, "..": false, // a URL path cannot hold them
	} {
		err := sandbox.ValidSessionID(id)
		if (err == nil) != want {
			t.Errorf("%q: %v", id, err)
		}
		if err != nil && (sandbox.CodeOf(err) != sandbox.CodeInvalid || !strings.Contains(sandbox.MessageOf(err), "session_id")) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// What is accepted travels through JSON and through a URL path unchanged.
func FuzzValidSessionID(f *testing.F) {
	for _, s := range []string{"a", "a/b", "..", "a\x00", "é", "%2F", "a?b#c", "\xff", ",", "batch", "\u2028"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if sandbox.ValidSessionID(id) != nil {
			return
		}
		body, err := json.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		var back string
		if err := json.Unmarshal(body, &back); err != nil || back != id {
			t.Errorf("JSON makes %q of %q", back, id)
		}
		u, err := url.Parse("http://gateway/sessions/" + url.PathEscape(id))
		if err != nil || u.Path != "/sessions/"+id || u.RawQuery != "" || u.Fragment != "" {
			t.Errorf("a URL makes %v of %q: %v", u, id, err)
		}
		if clean := u.JoinPath(); clean.Path != u.Path && !strings.Contains(id, "/") { // as proxies clean
			t.Errorf("a cleaned URL makes %q of %q", clean.Path, id)
		}
		if !sandbox.ValidRecordName(sandbox.RecordName("default", id)) {
			t.Error("its record has no valid name")
		}
	})
}
