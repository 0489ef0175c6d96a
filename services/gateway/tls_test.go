package gateway_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"testing"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/certificate/certtest"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/services/gateway"
)

func TestTLS(t *testing.T) {
	t.Parallel()
	a := certtest.New(t)
	g, err := gateway.New(gateway.Config{
		NATS: natsx.Config{URL: "nats://127.0.0.1:1", Replicas: 1}, TLS: a.Write(t.TempDir(), "api.test"),
		ListenAddress: "127.0.0.1", APIKey: "key-plain", SealingKey: sealingKey, ResumeActive: 200,
	}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	for major, use := range map[int]func(*http.Protocols, bool){1: (*http.Protocols).SetHTTP1, 2: (*http.Protocols).SetHTTP2} {
		protocols := &http.Protocols{}
		use(protocols, true)
		tr := &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{RootCAs: a.Pool()},
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "tcp", g.Addr().String())
			}}
		for path, want := range map[string]int{"/health": 200, "/list": 401, "/none": 404} {
			res, err := (&http.Client{Transport: tr}).Get("https://api.test" + path)
			if err != nil {
				t.Fatal(err)
			}
			var body map[string]any
			err = json.NewDecoder(res.Body).Decode(&body)
			_ = res.Body.Close()
			if res.StatusCode != want || res.ProtoMajor != major || err != nil {
				t.Errorf("%s: %s %s %v %v", path, res.Proto, res.Status, body, err)
			}
		}
		tr.CloseIdleConnections()
	}
}
