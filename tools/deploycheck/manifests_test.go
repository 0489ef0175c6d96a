// Package deploycheck_test checks that what stands in deploy/, the Dockerfiles and
// .env.example decodes, fits together and fits the code.
package deploycheck_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

const (
	root        = "../.."
	systemNS    = "sandbar-system"
	sandboxesNS = "sandbar-sandboxes"
)

// manifest is one document of deploy/.
type manifest struct {
	file string
	obj  runtime.Object
	meta metav1.Object
}

func (m manifest) kind() string { return m.obj.GetObjectKind().GroupVersionKind().Kind }

func (m manifest) String() string {
	return m.file + ": " + m.kind() + " " + m.meta.GetNamespace() + "/" + m.meta.GetName()
}

// load decodes all manifests as the API server does with fieldValidation=Strict:
// an unknown or doubled field is an error.
func load(t *testing.T) []manifest {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "deploy", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	var out []manifest
	for _, path := range files {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, decode(t, filepath.Base(path), body)...)
	}
	return out
}

func decode(t *testing.T, file string, body []byte) []manifest {
	t.Helper()
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme,
		json.SerializerOptions{Yaml: true, Strict: true})
	var out []manifest
	docs := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(body)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		obj, _, err := strict.Decode(doc, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		meta, ok := obj.(metav1.Object)
		if !ok {
			t.Fatalf("%s: %T has no metadata", file, obj)
		}
		out = append(out, manifest{file, obj, meta})
	}
}

// of returns all manifests of one type.
func of[T runtime.Object](all []manifest) []T {
	var out []T
	for _, m := range all {
		if o, ok := m.obj.(T); ok {
			out = append(out, o)
		}
	}
	return out
}

// workload is what runs pods.
type workload struct {
	name     string
	selector *metav1.LabelSelector
	pod      corev1.PodTemplateSpec
}

func workloads(all []manifest) []workload {
	var out []workload
	for _, d := range of[*appsv1.Deployment](all) {
		out = append(out, workload{d.Name, d.Spec.Selector, d.Spec.Template})
	}
	for _, s := range of[*appsv1.StatefulSet](all) {
		out = append(out, workload{s.Name, s.Spec.Selector, s.Spec.Template})
	}
	return out
}

// Every document decodes, stands in a namespace that is ours, and is there once.
func TestManifestsDecodeStrictly(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	namespaces := map[string]bool{"": true}
	for _, m := range load(t) {
		key := m.kind() + "/" + m.meta.GetNamespace() + "/" + m.meta.GetName()
		if seen[key] {
			t.Errorf("%s: twice", m)
		}
		seen[key] = true
		if n, ok := m.obj.(*corev1.Namespace); ok {
			namespaces[n.Name] = true
			continue
		}
		if m.meta.GetNamespace() == "" {
			t.Errorf("%s: without a namespace it lands where kubectl happens to be", m)
		}
		if !namespaces[m.meta.GetNamespace()] {
			t.Errorf("%s: its namespace is not made before it", m)
		}
	}
}

// A typing error in a manifest is found by the decoding above.
func TestStrictDecodingIsStrict(t *testing.T) {
	t.Parallel()
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme,
		json.SerializerOptions{Yaml: true, Strict: true})
	for name, doc := range map[string]string{
		"unknown field": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndate: {}\n",
		"doubled field": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {A: b}\ndata: {C: d}\n",
		"unknown kind":  "apiVersion: v1\nkind: ConfigMop\nmetadata: {name: a}\n",
	} {
		if _, _, err := strict.Decode([]byte(doc), nil, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
