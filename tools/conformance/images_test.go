//go:build system

package conformance_test

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

func imageExists(image string) string {
	return "/image_exists?" + url.Values{"image": {image}}.Encode()
}

func TestCheck60RegistryPrefixAndImages(t *testing.T) {
	declare(t, realNode, 60)
	t.Parallel()
	for _, api := range gateways("default") {
		var prefix struct {
			RegistryPrefix *string `json:"registry_prefix"`
		}
		answer := do(t, api.Caller, client.Request{Path: "/registry_prefix"})
		if err := answer.Decode(&prefix); err != nil || !answer.OK() || prefix.RegistryPrefix == nil {
			t.Errorf("%s, %v, want a registry_prefix", answer, err)
		}
		type image struct {
			UploadTime *string  `json:"upload_time"`
			SizeBytes  *float64 `json:"image_size_bytes"`
		}
		for reference, want := range map[string]bool{suite.SandboxImage: true, suite.MissingImage: false, repositoryOf(suite.SandboxImage) + ":no-such-tag": false} {
			var body struct {
				Exists *bool  `json:"exists"`
				Image  *image `json:"image"`
			}
			answer := do(t, api.Caller, client.Request{Path: imageExists(reference)})
			if err := answer.Decode(&body); err != nil || answer.Status != http.StatusOK || body.Exists == nil || *body.Exists != want {
				t.Errorf("%s, %v, want exists: %v", answer, err, want)
				continue
			}
			if want && (body.Image == nil || body.Image.UploadTime == nil || body.Image.SizeBytes == nil || *body.Image.SizeBytes <= 0) {
				t.Errorf("%s: a client needs image with both of its fields", answer)
			}
		}
	}
}

func repositoryOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if colon := strings.LastIndex(image, ":"); colon > strings.LastIndex(image, "/") {
		return image[:colon]
	}
	return image
}

// What no registry is cannot be asked: /image_exists is no way to what only the
// gateway reaches.
func TestCheck60NoWayIntoTheNetwork(t *testing.T) {
	declare(t, apiServer, 60)
	t.Parallel()
	// Numbers, and ports that no list has: nobody needs to be asked what they are.
	for _, image := range []string{
		"127.0.0.1/a:1", "127.0.0.1:22/a:1", "169.254.169.254/latest:1", "10.96.0.1/a:1", "192.168.0.1:443/a:1",
		"localhost:6443/a:1", "localhost.localdomain:2379/a:1",
	} {
		if err := do(t, defaultAPI().Caller, client.Request{Path: imageExists(image)}).Problem(http.StatusForbidden); err != nil {
			t.Error(err)
		}
	}
	for _, image := range []string{"kubernetes.default.svc/a:1", "no-such-name.invalid/a:1"} {
		answer := do(t, defaultAPI().Caller, client.Request{Path: imageExists(image)})
		// 503 where there is no DNS at all, that could say what a name is.
		if err := answer.Problem(http.StatusForbidden, http.StatusServiceUnavailable); err != nil {
			t.Error(err)
		}
	}
	for _, path := range []string{"/image_exists", imageExists(""), imageExists("Not an image!"), imageExists("http://127.0.0.1/a"), imageExists(strings.Repeat("a", 5000))} {
		if err := do(t, defaultAPI().Caller, client.Request{Path: path}).Problem(http.StatusBadRequest); err != nil {
			t.Error(err)
		}
	}
}

func TestCheck61NoBuilds(t *testing.T) {
	declare(t, apiServer, 61)
	t.Parallel()
	form, kind := buildForm(t)
	for name, request := range map[string]client.Request{
		"build":             {Method: http.MethodPost, Path: "/build", Body: form, Header: http.Header{"Content-Type": {kind}}},
		"build of nothing":  {Method: http.MethodPost, Path: "/build"},
		"build of JSON":     {Method: http.MethodPost, Path: "/build", Body: map[string]any{"target_image": "a:1"}},
		"a broken form":     {Method: http.MethodPost, Path: "/build", Body: form[:len(form)/2], Header: http.Header{"Content-Type": {kind}}},
		"its status":        {Path: "/build_status?build_id=1"},
		"no build's status": {Path: "/build_status"},
	} {
		if err := do(t, defaultAPI().Caller, request).Problem(http.StatusNotImplemented); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		request.Bare = true
		if err := do(t, defaultAPI().Caller, request).Problem(http.StatusUnauthorized); err != nil {
			t.Errorf("%s without a key: %v", name, err)
		}
	}
}

// buildForm is what V0 sends: a context in base64, and tags.
func buildForm(t *testing.T) (body []byte, contentType string) {
	t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	part := try(form.CreateFormFile("context", "context.tar.gz")).or(t)
	if _, err := part.Write(bytes.Repeat([]byte("QUJD"), 1<<19)); err != nil {
		t.Fatal(err)
	}
	for _, field := range [][2]string{{"target_image", "registry.example.com/a:1"}, {"tags", "registry.example.com/a:1"}, {"tags", "registry.example.com/a:2"}} {
		if err := form.WriteField(field[0], field[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := form.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), form.FormDataContentType()
}
