package registry_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/sandbar-io/sandbar/tools/devcluster/image"
	"github.com/sandbar-io/sandbar/tools/devcluster/internal/registry"
)

func open(t *testing.T, dir string) (host string) {
	t.Helper()
	r, err := registry.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func pull(t *testing.T, host, what string) (v1.Image, error) {
	t.Helper()
	reference, err := name.ParseReference(host+"/"+what, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	return remote.Image(reference)
}

func TestImagesSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := filepath.Join(t.TempDir(), "tool")
	if err := os.WriteFile(program, []byte("x"), 0o700); err != nil {
		t.Fatal(err)
	}
	first := open(t, dir)
	for _, name := range []string{"tool:v1", "team/tool:v2"} {
		if _, err := image.Push(t.Context(), first, image.Spec{Name: name, Binary: program}); err != nil {
			t.Fatal(err)
		}
	}
	second := open(t, dir)
	for _, name := range []string{"tool:v1", "team/tool:v2"} {
		img, err := pull(t, second, name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		layers, err := img.Layers()
		if err != nil || len(layers) != 1 {
			t.Fatalf("%s: %d layers, %v", name, len(layers), err)
		}
		content, err := layers[0].Compressed()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		content.Close()
	}
	if _, err := pull(t, second, "tool:v3"); err == nil {
		t.Error("a tag that was never pushed is there")
	}
}

func TestRefusedManifestIsNotKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	host := open(t, dir)
	// An index whose child the registry does not have.
	body := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:` + strings.Repeat("0", 64) + `","size":1}]}`
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+host+"/v2/tool/manifests/v1", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode < 400 {
		t.Fatalf("answer %s, want a refusal", answer.Status)
	}
	open(t, dir) // would fail if the manifest were there
}
