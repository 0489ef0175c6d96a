package registry_test

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	fake "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"go.uber.org/goleak"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func client(t *testing.T) *registry.Client {
	t.Helper()
	c := registry.New(nil)
	t.Cleanup(c.Close)
	return c
}

func push(t *testing.T, reference string, img v1.Image) {
	t.Helper()
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	if err := remote.Write(ref, img, remote.WithTransport(tr)); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	host := serve(t, fake.New(fake.Logger(log.New(io.Discard, "", 0))))
	img, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	push(t, host+"/a/undated:1", img)
	dated, err := mutate.CreatedAt(img, v1.Time{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	push(t, host+"/a/dated:1", dated)
	c := client(t)
	for reference, want := range map[string]struct {
		there  bool
		upload string
	}{
		"/a/undated:1": {true, ""},
		"/a/dated:1":   {true, "2026-01-02T03:04:05Z"},
		"/a/dated:2":   {false, ""},
		"/b/none":      {false, ""},
	} {
		got, err := c.Find(t.Context(), host+reference)
		if err != nil || (got != nil) != want.there {
			t.Errorf("Find(%s) = %+v, %v", reference, got, err)
			continue
		}
		if got != nil && (got.UploadTime != want.upload || got.Size < 2000) {
			t.Errorf("Find(%s) = %+v", reference, got)
		}
	}
}

func TestFindRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		want   sandbox.Code
	}{
		"401 hides what is not there": {http.StatusUnauthorized, ""},
		"403 too":                     {http.StatusForbidden, ""},
		"418 says nothing":            {http.StatusTeapot, sandbox.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/v2/" {
					w.WriteHeader(c.status)
				}
			}))
			img, err := client(t).Find(t.Context(), host+"/a/b:1")
			if img != nil || sandbox.CodeOf(err) != c.want {
				t.Errorf("Find = %v, %v; want %q", img, err, c.want)
			}
		})
	}
}

func TestFindUnreachable(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	gone := make(chan struct{})
	host := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-gone:
		}
	}))
	defer close(gone)
	if _, err := client(t).Find(ctx, host+"/a/b:1"); sandbox.CodeOf(err) != sandbox.CodeUnavailable {
		t.Errorf("Find = %v, want unavailable", err)
	}
}

func TestFindInvalid(t *testing.T) {
	t.Parallel()
	for _, reference := range []string{"", "UPPER/case", "a b", "host:port:tag/x", strings.Repeat("a", 2000), "a@sha256:12"} {
		if _, err := client(t).Find(t.Context(), reference); sandbox.CodeOf(err) != sandbox.CodeInvalid {
			t.Errorf("Find(%.40q) = %v, want invalid", reference, err)
		}
	}
}
