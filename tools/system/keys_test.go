//go:build system

package system_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// TestKeysFileIsReadAgain: a key that is added to API_KEYS_FILE works, one that
// is removed does not any more, and the gateways are the same processes. A file
// that cannot be used changes nothing.
func TestKeysFileIsReadAgain(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys.yaml")
	first, second := stack.NewAPIKey(), stack.NewAPIKey()
	writeKeys(t, file, "first", first)
	r := newRig(t, "keys", stack.Options{Gateways: 2, Settings: []string{"API_KEYS_FILE=" + file}})
	before := r.pids(t)
	r.waitKey(t, first, http.StatusOK)
	r.waitKey(t, second, http.StatusUnauthorized)

	writeKeys(t, file, "first", first, "second", second)
	r.waitKey(t, second, http.StatusOK)
	writeKeys(t, file, "second", second)
	r.waitKey(t, first, http.StatusUnauthorized)
	r.waitKey(t, second, http.StatusOK)

	if err := os.WriteFile(file, []byte("keys: [{name: broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the gateways tell of the broken file", func(context.Context) (string, bool) {
		for _, svc := range r.Of("gateway") {
			if raw, err := os.ReadFile(r.LogPath(svc.Name)); err != nil || !strings.Contains(string(raw), `"level":"error"`) {
				return svc.Name + ": " + tail(r.LogPath(svc.Name)), false
			}
		}
		return "", true
	})
	r.waitKey(t, second, http.StatusOK)
	r.waitKey(t, r.Secrets.APIKey, http.StatusOK)
	if after := r.pids(t); after != before {
		t.Errorf("the gateways were restarted: %s, before %s", after, before)
	}
}

// writeKeys writes a keys file of names and keys, as an editor does: in place.
func writeKeys(t *testing.T, file string, namesAndKeys ...string) {
	t.Helper()
	var text strings.Builder
	text.WriteString("keys:\n")
	for i := 0; i < len(namesAndKeys); i += 2 {
		fmt.Fprintf(&text, "  - {name: %s, sha256: %s, tenant: default}\n", namesAndKeys[i], stack.HashAPIKey(namesAndKeys[i+1]))
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// waitKey waits until every gateway answers a key so.
func (r *rig) waitKey(t *testing.T, key string, status int) {
	t.Helper()
	for _, svc := range r.Of("gateway") {
		waitFor(t, fmt.Sprintf("%s answers %d", svc.Name, status), func(ctx context.Context) (string, bool) {
			answer, err := client.NewAPI(r.http, svc.URL, key).Do(ctx, client.Request{Path: "/list"})
			if err != nil {
				return err.Error(), false
			}
			return answer.String(), answer.Status == status
		})
	}
}

// pids are the processes of the gateways.
func (r *rig) pids(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, svc := range r.Of("gateway") {
		raw, err := os.ReadFile(filepath.Join(r.Dir, "pid", svc.Name+".pid"))
		if err != nil {
			t.Fatal(err)
		}
		all.Write(raw)
	}
	return all.String()
}
