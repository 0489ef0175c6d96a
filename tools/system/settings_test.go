//go:build system

package system_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestWrongSettingsAreAllTold: a service that is configured wrongly tells all of
// it at once, by name, ends with 2 and starts nothing.
func TestWrongSettingsAreAllTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		service string
		wrong   []string
		also    []string // names that must be told though they are not set
	}{
		{"gateway", []string{"NATS_REPLICAS=2", "RESUME_ACTIVE=301", "VIEW_SEALING_KEY=short", "API_KEYS_FILE=/nowhere/keys.yaml"}, nil},
		{"gateway", []string{"SERVER_PORT=many", "NATS_REPLICAS=2"}, []string{"API_KEY", "VIEW_SEALING_KEY"}},
		{"provisioner", []string{
			"HOST_LABEL=name", "ROUTING_MODE=magic", "WORKERS=0", "CPU_LIMIT=lots", "TOLERATIONS={", "WORKSPACE_ACCESS_MODE=Never",
			"WORKSPACE_PATH=relative", "CAPABILITIES=all", "TERMINATION_GRACE=soon", "NATS_REPLICAS=2",
		}, []string{"BASE_DOMAIN", "VIEW_SEALING_KEY"}},
		{"watcher", []string{"ROUTING_MODE=magic", "RESYNC=1ms", "PURGE_AFTER=1s", "LEASE_DURATION=1500ms", "READINESS_GRACE=soon"}, []string{"VIEW_SEALING_KEY"}},
		{"router", []string{"URL_SCHEME=ftp", "URL_SEPARATOR=/", "VSCODE_PORT=0", "UPSTREAM_IDLE_TIMEOUT=-1s", "TRUST_FORWARDED=maybe"}, []string{"BASE_DOMAIN"}},
	} {
		t.Run(c.service, func(t *testing.T) {
			t.Parallel()
			// Whoever listens or connects would be seen.
			nats, port := listen(t)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, filepath.Join(bed.bin, c.service))
			cmd.Env = append([]string{"NATS_URL=nats://" + nats.Addr().String(), "HEALTH_PORT=" + strconv.Itoa(port)}, c.wrong...)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			err := cmd.Run()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 2 {
				t.Errorf("it ended with %v, want exit code 2", err)
			}
			names := c.also
			for _, setting := range c.wrong {
				name, _, _ := strings.Cut(setting, "=")
				names = append(names, name)
			}
			for _, name := range names {
				if !tells(out.String(), name) {
					t.Errorf("%s is not told", name)
				}
			}
			if t.Failed() {
				t.Logf("it wrote:\n%s", out.String())
			}
			if strings.Contains(out.String(), "address already in use") {
				t.Errorf("it listened:\n%s", out.String())
			}
			connected(t, nats)
		})
	}
}

// tells: the name as a word, or the field of the configuration as the library
// names it.
func tells(out, name string) bool {
	for _, word := range strings.FieldsFunc(out, func(r rune) bool { return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", r) }) {
		if word == name {
			return true
		}
	}
	return false
}

// listen plays NATS, and takes the port that the service would listen on.
func listen(t *testing.T) (*net.TCPListener, int) {
	t.Helper()
	nats, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nats.Close() }) // only accepts
	taken, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	return nats, taken.Addr().(*net.TCPAddr).Port
}

// connected fails the test where somebody has connected.
func connected(t *testing.T, nats *net.TCPListener) {
	t.Helper()
	if err := nats.SetDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if c, err := nats.Accept(); err == nil {
		_ = c.Close()
		t.Error("it connected to NATS")
	}
}
