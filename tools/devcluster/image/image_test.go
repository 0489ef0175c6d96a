package image_test

import (
	"archive/tar"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/sandbar-io/sandbar/tools/devcluster/image"
)

func binary(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tool")
	if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func files(t *testing.T, img v1.Image) map[string]*tar.Header {
	t.Helper()
	r := mutate.Extract(img)
	defer r.Close()
	found := map[string]*tar.Header{}
	for reader := tar.NewReader(r); ; {
		h, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			t.Fatal(err)
		}
		found[strings.TrimSuffix(h.Name, "/")] = h
	}
}

func TestBinaryImageGoesThroughARegistry(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")

	spec := image.Spec{Name: "tool", Binary: binary(t, "one"), Cmd: []string{"serve"}, Env: []string{"A=b"}}
	reference, err := image.Push(t.Context(), host, spec)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(parsed)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	got := config.Config
	if !slices.Equal(got.Entrypoint, []string{"/tool"}) || !slices.Equal(got.Cmd, []string{"serve"}) || got.User != "65535:65535" || !slices.Contains(got.Env, "A=b") {
		t.Errorf("config %+v", got)
	}
	inside := files(t, img)
	if h := inside["tool"]; h == nil || h.Mode != 0o755 || h.Uid != 0 {
		t.Errorf("/tool: %+v", h)
	}
	if h := inside["tmp"]; h == nil || h.Mode != 0o1777 {
		t.Errorf("/tmp: %+v", h)
	}
}

func TestTagIsTheContent(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	push := func(content, name string) string {
		reference, err := image.Push(t.Context(), host, image.Spec{Name: name, Binary: binary(t, content)})
		if err != nil {
			t.Fatal(err)
		}
		return reference
	}
	one := push("one", "tool")
	if again := push("one", "tool"); again != one {
		t.Errorf("the same content became %s and %s", one, again)
	}
	if other := push("two", "tool"); other == one {
		t.Errorf("other content has the same reference %s", one)
	}
	if named := push("one", "team/tool:v1"); named != host+"/team/tool:v1" {
		t.Errorf("reference %s", named)
	}
}

func TestRootImage(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc", "passwd"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("etc/passwd", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	img, err := image.Build(image.Spec{Name: "r", Root: root, Entrypoint: []string{"/x", "y"}, User: "1:2"})
	if err != nil {
		t.Fatal(err)
	}
	inside := files(t, img)
	if h := inside["link"]; h == nil || h.Linkname != "etc/passwd" {
		t.Errorf("link: %+v", h)
	}
	if h := inside["etc/passwd"]; h == nil || h.Uid != 0 || h.ModTime.Unix() != 0 {
		t.Errorf("etc/passwd: %+v", h)
	}
}

func TestBuildRefuses(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]image.Spec{
		"neither":        {Name: "a"},
		"both":           {Name: "a", Binary: "/bin/true", Root: "/tmp"},
		"missing binary": {Name: "a", Binary: "/nonexistent"},
		"missing root":   {Name: "a", Root: "/nonexistent"},
		"missing layer":  {Name: "a", Layers: []string{"/nonexistent"}},
		"root and layer": {Name: "a", Root: "/tmp", Layers: []string{"/nonexistent"}},
	} {
		if _, err := image.Build(spec); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPackedLayersGoThroughARegistry(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")

	pack := func(content, prefix string) string {
		root := t.TempDir()
		if err := os.WriteFile(filepath.Join(root, "file"), []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "layer")
		if err := image.Pack(root, prefix, file); err != nil {
			t.Fatal(err)
		}
		return file
	}
	layers := []string{pack("below", ""), pack("above", "/opt/x")}
	reference, err := image.Push(t.Context(), host, image.Spec{Name: "two", Layers: layers})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(parsed)
	if err != nil {
		t.Fatal(err)
	}
	// What Pack noted is what the registry has: digests, sizes, and the config's.
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	inside := files(t, img)
	for _, path := range []string{"file", "opt/x/file"} {
		if h := inside[path]; h == nil || h.Uid != os.Getuid() || h.Mode != 0o640 {
			t.Errorf("%s: %+v", path, h)
		}
	}
	again, err := image.Push(t.Context(), host, image.Spec{Name: "two", Layers: []string{pack("below", ""), pack("above", "/opt/x")}})
	if err != nil || again != reference {
		t.Errorf("the same content became %s and %s (%v)", reference, again, err)
	}
}
