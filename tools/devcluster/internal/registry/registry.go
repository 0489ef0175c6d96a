// Package registry is an image registry that keeps all on disk. The one of
// go-containerregistry keeps blobs there but manifests in memory only; this one
// notes each manifest as it passes and hands them back after a restart.
package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
)

// maxManifest is the size that a manifest may have; 4 MiB is what other
// registries take at least.
const maxManifest = 4 << 20

// Registry serves the distribution API.
type Registry struct {
	dir   string
	inner http.Handler

	mu   sync.Mutex
	next int // order of arrival: an index must come back after its children
}

type manifest struct {
	Order int    `json:"order"`
	Path  string `json:"path"` // /v2/NAME/manifests/REFERENCE
	Type  string `json:"type"`
	Body  []byte `json:"body"`
}

// Open serves what dir holds.
func Open(dir string) (*Registry, error) {
	r := &Registry{
		dir: filepath.Join(dir, "manifests"),
		inner: ggcr.New(
			ggcr.WithBlobHandler(ggcr.NewDiskBlobHandler(filepath.Join(dir, "blobs"))),
			ggcr.Logger(log.New(io.Discard, "", 0)),
		),
	}
	for _, d := range []string{r.dir, filepath.Join(dir, "blobs")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, fmt.Errorf("registry: %w", err)
		}
	}
	return r, r.restore()
}

func (r *Registry) restore() error {
	files, err := filepath.Glob(filepath.Join(r.dir, "*.json"))
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	var all []manifest
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			return fmt.Errorf("registry: %w", err)
		}
		var m manifest
		if err := json.Unmarshal(raw, &m); err != nil {
			return fmt.Errorf("registry: %s: %w", f, err)
		}
		all = append(all, m)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Order < all[j].Order })
	for _, m := range all {
		req := httptest.NewRequest(http.MethodPut, m.Path, bytes.NewReader(m.Body))
		req.Header.Set("Content-Type", m.Type)
		answer := httptest.NewRecorder()
		r.inner.ServeHTTP(answer, req)
		if answer.Code >= 300 {
			return fmt.Errorf("registry: %s does not come back: %s", m.Path, answer.Body)
		}
		r.next = m.Order + 1
	}
	return nil
}

func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	name, reference, ok := strings.Cut(strings.TrimPrefix(req.URL.Path, "/v2/"), "/manifests/")
	switch {
	case ok && req.Method == http.MethodPut:
		r.put(w, req, name, reference)
	case ok && req.Method == http.MethodDelete:
		_ = os.Remove(r.file(name, reference))
		r.inner.ServeHTTP(w, req)
	default:
		r.inner.ServeHTTP(w, req)
	}
}

func (r *Registry) put(w http.ResponseWriter, req *http.Request, name, reference string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxManifest))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	answer := &status{ResponseWriter: w, code: http.StatusOK}
	// Kept before it is answered: a client that saw success can count on it.
	if err := r.keep(manifest{Path: req.URL.Path, Type: req.Header.Get("Content-Type"), Body: body}, name, reference); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	r.inner.ServeHTTP(answer, req)
	if answer.code >= 300 {
		_ = os.Remove(r.file(name, reference))
	}
}

func (r *Registry) keep(m manifest, name, reference string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.Order = r.next
	r.next++
	raw, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	path := r.file(name, reference)
	if err := os.WriteFile(path+".new", raw, 0o644); err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	return nil
}

func (r *Registry) file(name, reference string) string {
	flat := strings.NewReplacer("/", "+", ":", "=").Replace(name + "@" + reference)
	return filepath.Join(r.dir, flat+".json")
}

// status remembers the code that went out.
type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}
