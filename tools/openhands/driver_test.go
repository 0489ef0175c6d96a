//go:build openhands

package main_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/openhands/internal/rootfs"
)

// driverLimit is for a driver among nine others on two cores that others use too: it
// starts an agent server twice, each for five seconds of a CPU, and itself for as long.
const driverLimit = 20 * time.Minute

// facts are what a driver told, all lines in one.
type facts map[string]any

// drive runs a driver of clients/ with a set of packages and judges what it logged.
func drive(t *testing.T, packages, script string, config map[string]any, expected ...expectation) facts {
	t.Helper()
	told, _ := driveWith(t, packages, script, config, nil, expected...)
	return told
}

// driveWith is drive with more variables in the client's environment. It returns how
// long the driver took, too.
func driveWith(t *testing.T, packages, script string, config map[string]any, env []string, expected ...expectation) (facts, time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), driverLimit)
	defer cancel()
	all := map[string]any{"api_url": bed.env["API_URL"], "api_key": bed.env["API_KEY"], "image": bed.env["SANDBOX_IMAGE"]}
	maps.Copy(all, config)
	input, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	place := rootfs.Chroot{
		Root: bed.env["ROOT"], Packages: bed.env["PACKAGES_"+packages], ResolvConf: bed.env["RESOLV_CONF"], Scripts: bed.scripts,
	}
	cmd := place.Command(ctx, rootfs.Python, "-B", rootfs.Scripts+"/"+script)
	cmd.Env = append(append(cmd.Env, rootfs.Env...), append(env, "LOG_JSON=true")...)
	var out, logs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &logs
	began := time.Now()
	err = cmd.Run()
	took := time.Since(began)
	if err != nil {
		t.Fatalf("%s: %v after %s\n%s\n%s", script, err, took.Round(time.Second), out.String(), tail(logs.String()))
	}
	t.Logf("%s took %s\n%s", script, took.Round(time.Second), tail(logs.String()))
	judge(t, script, logs.String(), expected)
	told := facts{}
	for line := range strings.Lines(out.String()) {
		if err := json.Unmarshal([]byte(line), &told); err != nil {
			t.Errorf("%s prints %.400q on standard output", script, line)
		}
	}
	return told, took
}

// want compares facts by their names.
func (f facts) want(t *testing.T, wanted facts) {
	t.Helper()
	for name, want := range wanted {
		// Both sides as JSON has them: a driver's numbers come as float64.
		got, gotErr := json.Marshal(f[name])
		wantText, wantErr := json.Marshal(want)
		if gotErr != nil || wantErr != nil || !bytes.Equal(got, wantText) {
			t.Errorf("%s is %s, want %s", name, got, wantText)
		}
	}
}

func tail(text string) string {
	const most = 8000 // bytes: a traceback of several exceptions
	return text[max(0, len(text)-most):]
}

// newSession is a session id that no run has used before, and stops at the end of
// the test whatever then lives under it.
func newSession(t *testing.T) string {
	t.Helper()
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	session := "openhands-" + hex.EncodeToString(b[:])
	t.Cleanup(func() {
		const limit = 30 * time.Second
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), limit)
		defer cancel()
		if err := stopSession(ctx, session); err != nil {
			t.Errorf("cleanup of %s: %v", session, err)
		}
	})
	return session
}

func stopSession(ctx context.Context, session string) error {
	r, err := api().Session(ctx, session)
	if client.StatusOf(err) == http.StatusNotFound || err == nil && r.Status == "stopped" {
		return nil
	}
	if err != nil {
		return err
	}
	if err := api().Stop(ctx, r.RuntimeID); client.StatusOf(err) != http.StatusNotFound {
		return err
	}
	return nil
}

// poll is for waits on the API.
func poll(t *testing.T, what string, look func(context.Context) (seen string, done bool)) {
	t.Helper()
	const every, limit = 200 * time.Millisecond, 2 * time.Minute
	if err := client.Poll(t.Context(), every, limit, look); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
