package objects_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/objects"
)

var update = flag.Bool("update", false, "write the golden files anew")

// all makes what a record has, each with its kind, in the order of the file.
func all(t *testing.T, c objects.Config, r *sandbox.Record) []runtime.Object {
	t.Helper()
	pod := podOf(t, c, r)
	pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	out := []runtime.Object{pod}
	if pvc := c.Volume(r); pvc != nil {
		pvc.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"}
		out = append(out, pvc)
	}
	svc, ing := c.Service(r), c.Ingress(r)
	svc.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}
	ing.TypeMeta = metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "Ingress"}
	return append(out, svc, ing)
}

func encode(t *testing.T, objs []runtime.Object) []byte {
	t.Helper()
	var out bytes.Buffer
	for i, o := range objs {
		if i > 0 {
			out.WriteString("---\n")
		}
		b, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	return out.Bytes()
}

func TestGolden(t *testing.T) {
	t.Parallel()
	noVolume := plain()
	noVolume.WorkspaceSize.Set(0)
	for name, tt := range map[string]struct {
		config objects.Config
		spec   sandbox.Spec
		change func(*sandbox.Record)
	}{
		"v0":               {plain(), v0(), nil},
		"v1":               {plain(), v1(), nil},
		"sdk":              {plain(), sdk(), nil},
		"minimal":          {plain(), minimal(), nil},
		"path-mode":        {inPathMode(plain()), v1(), nil},
		"root":             {plain(), root(), nil},
		"every-option":     {every(), sdk(), nil},
		"every-option-min": {every(), minimal(), nil},
		"no-volume":        {noVolume, minimal(), nil},
		"resumed": {plain(), v1(), func(r *sandbox.Record) {
			r.Generation, r.Incarnation, r.KeyNumber = r.Generation+2, 2, 2
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := recordOf(tt.config, tt.spec)
			if tt.change != nil {
				tt.change(r)
			}
			objs := all(t, tt.config, r)
			got := encode(t, objs)
			for range 5 {
				if again := encode(t, all(t, tt.config, r)); !bytes.Equal(again, got) {
					t.Fatalf("the same record made another object:\n%s\nand\n%s", got, again)
				}
			}
			path := filepath.Join("testdata", "golden", name+".yaml")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("%s differs; go test ./internal/objects -update writes it anew, and git diff shows how:\n%s", path, got)
			}
			decodes(t, want, objs)
		})
	}
}

// decodes: what stands in the file is what the API server would read: no field
// that it does not know, none twice, and nothing lost on the way.
func decodes(t *testing.T, file []byte, objs []runtime.Object) {
	t.Helper()
	docs := strings.Split(string(file), "\n---\n")
	if len(docs) != len(objs) {
		t.Fatalf("%d documents for %d objects", len(docs), len(objs))
	}
	for i, doc := range docs {
		back := reflect.New(reflect.TypeOf(objs[i]).Elem()).Interface()
		if err := yaml.UnmarshalStrict([]byte(doc), back); err != nil {
			t.Fatalf("document %d: %v", i, err)
		}
		if !equality.Semantic.DeepEqual(back, objs[i]) {
			t.Errorf("document %d became %+v, was %+v", i, back, objs[i])
		}
	}
}

// No golden file is left over from a case that went.
func TestGoldenFilesHaveCases(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/golden/*.yaml")
	if err != nil || len(files) != 10 {
		t.Errorf("%d golden files (%v), the table has 10 cases", len(files), err)
	}
}

// What all objects share, by which they are found, judged and collected.
func TestOwnedByTheRecord(t *testing.T) {
	t.Parallel()
	c := every()
	r := recordOf(c, sdk())
	r.Generation, r.Incarnation = r.Generation+4, 3
	for _, o := range all(t, c, r) {
		m, ok := o.(metav1.Object)
		if !ok {
			t.Fatalf("%T", o)
		}
		owner := metav1.GetControllerOf(m)
		if owner == nil || owner.Kind != "Secret" || owner.Name != r.Name || string(owner.UID) != r.UID || owner.BlockOwnerDeletion == nil || *owner.BlockOwnerDeletion {
			t.Errorf("%T is owned by %+v", o, owner)
		}
		want := map[string]string{
			"sandbar.io/component": "sandbox", "sandbar.io/tenant": "acme", "sandbar.io/runtime-id": runtimeID,
			"sandbar.io/record": r.Name, "sandbar.io/record-uid": r.UID,
			"sandbar.io/generation": text(int(r.Generation)), "sandbar.io/incarnation": "3",
		}
		if !reflect.DeepEqual(m.GetLabels(), want) || m.GetNamespace() != c.Namespace {
			t.Errorf("%T: %v in %s", o, m.GetLabels(), m.GetNamespace())
		}
		name := runtimeID
		if _, pod := o.(*corev1.Pod); pod {
			name += "-3"
		}
		if m.GetName() != name {
			t.Errorf("%T is called %s, want %s", o, m.GetName(), name)
		}
	}
	pod := podOf(t, c, r)
	for k, v := range c.Service(r).Spec.Selector {
		if pod.Labels[k] != v {
			t.Errorf("the Service selects %s=%s, the pod has %q", k, v, pod.Labels[k])
		}
	}
}

func TestIngressHosts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		separator string
		want      string
	}{
		"dot":  {".", "L.run.example.org=agent vscode-L.run.example.org=vscode work-1-L.run.example.org=work-1 work-2-L.run.example.org=work-2"},
		"dash": {"-", "L-run.example.org=agent vscode-L-run.example.org=vscode work-1-L-run.example.org=work-1 work-2-L-run.example.org=work-2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := every()
			c.URLs.Separator = tt.separator
			r := recordOf(c, minimal())
			r.Route.Label = "L"
			ing := c.Ingress(r)
			var got, hosts []string
			for _, rule := range ing.Spec.Rules {
				p := rule.HTTP.Paths
				if len(p) != 1 || p[0].Path != "/" || *p[0].PathType != networkingv1.PathTypePrefix || p[0].Backend.Service.Name != runtimeID {
					t.Errorf("%+v", p)
				}
				got = append(got, rule.Host+"="+p[0].Backend.Service.Port.Name)
				hosts = append(hosts, rule.Host)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%v", got)
			}
			if len(ing.Spec.TLS) != 1 || !reflect.DeepEqual(ing.Spec.TLS[0].Hosts, hosts) || ing.Spec.TLS[0].SecretName != "wildcard-tls" {
				t.Errorf("%+v", ing.Spec.TLS)
			}
			ports := map[string]int32{}
			for _, p := range c.Service(r).Spec.Ports {
				if p.TargetPort.IntVal != p.Port {
					t.Errorf("%+v", p)
				}
				ports[p.Name] = p.Port
			}
			if !reflect.DeepEqual(ports, map[string]int32{"agent": 8000, "vscode": 8001, "work-1": 8011, "work-2": 8012}) {
				t.Errorf("%v", ports)
			}
		})
	}
}
