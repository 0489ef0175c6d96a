package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
)

// startServer runs the NATS server of deploy/, with one more user who may do everything.
func startServer(t *testing.T) string {
	t.Helper()
	t.Setenv("NATS_HOST", "127.0.0.1")
	t.Setenv("NATS_PORT", "-1")
	t.Setenv("NATS_STORE_DIR", t.TempDir())
	for _, user := range []string{"GATEWAY", "PROVISIONER", "WATCHER", "ROUTER", "SUBSCRIBER"} {
		t.Setenv("NATS_"+user+"_PASSWORD", "p0"+strings.ToLower(user))
	}
	opts, err := server.ProcessConfigFile("../../deploy/nats/nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	opts.Users = append(opts.Users, &server.User{Username: "operator", Password: "operator"})
	return natstest.Start(t, *opts).ClientURL()
}

func operator(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url, nats.UserInfo("operator", "operator"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// makeStream makes the stream of events, which may have been deleted a moment ago.
func makeStream(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	err := natstest.Again(t.Context(), func(ctx context.Context) error {
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "SANDBOX_EVENTS", Subjects: []string{"sandbar.event.v1.>"}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func publish(t *testing.T, js jetstream.JetStream, tenant, id string) {
	t.Helper()
	runtime, _, _ := strings.Cut(id, "/")
	_, err := js.PublishMsg(t.Context(), &nats.Msg{
		Subject: "sandbar.event.v1." + tenant + "." + runtime + ".ready", Data: []byte(`{"n":1}`),
		Header: nats.Header{"ce-type": {"ready"}, "ce-time": {"now"}, "ce-subject": {runtime}, "ce-id": {id}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

func (l lines) expect(t *testing.T, id string) {
	t.Helper()
	runtime, _, _ := strings.Cut(id, "/")
	want := "now ready " + runtime + " " + id + " {\"n\":1}\n"
	select {
	case got := <-l:
		if got != want {
			t.Fatalf("printed %q, want %q", got, want)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("did not print %q", want)
	}
}

func TestFollow(t *testing.T) {
	url := startServer(t)
	js := operator(t, url)
	makeStream(t, js)
	publish(t, js, "default", "aaaa/1")
	publish(t, js, "other", "bbbb/1")
	publish(t, js, "default", "aaaa/2")

	env := map[string]string{"NATS_URL": url, "NATS_USER": "subscriber", "NATS_PASSWORD": "p0subscriber"}
	start := func() (lines, func()) {
		ctx, cancel := context.WithCancel(t.Context())
		out, done := make(lines), make(chan error, 1)
		go func() { done <- follow(ctx, func(name string) string { return env[name] }, out) }()
		return out, func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("follow: %v", err)
			}
		}
	}
	out, stop := start()
	out.expect(t, "aaaa/1")
	out.expect(t, "aaaa/2")
	publish(t, js, "default", "cccc/1")
	out.expect(t, "cccc/1")
	stop()

	publish(t, js, "default", "cccc/2") // while nobody reads
	out, stop = start()
	defer stop()
	out.expect(t, "cccc/2")

	if err := js.DeleteStream(t.Context(), "SANDBOX_EVENTS"); err != nil {
		t.Fatal(err)
	}
	makeStream(t, js)
	publish(t, js, "default", "dddd/1")
	out.expect(t, "dddd/1")
}

func TestWrongPasswordIsAnError(t *testing.T) {
	url := startServer(t)
	env := map[string]string{"NATS_URL": url, "NATS_PASSWORD": "wrong"}
	if err := follow(t.Context(), func(name string) string { return env[name] }, make(lines)); err == nil {
		t.Error("no error")
	}
}
