package deploycheck_test

import (
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

var update = flag.Bool("update", false, "write deploy/22-nats-config.yaml anew")

// natsFiles are the configurations of one server, and of one of three.
var natsFiles = []string{"nats.conf", "cluster.conf"}

// The ConfigMap holds them as they are: plain manifests cannot take a file in.
func TestNATSConfigIsACopy(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	for _, name := range natsFiles {
		conf, err := os.ReadFile(filepath.Join(root, "deploy", "nats", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(conf)
	}
	path := filepath.Join(root, "deploy", "22-nats-config.yaml")
	if *update {
		if err := os.WriteFile(path, natsConfig(files), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cm, ok := decode(t, path, body)[0].obj.(*corev1.ConfigMap)
	if !ok || !maps.Equal(cm.Data, files) || string(body) != string(natsConfig(files)) {
		t.Error("it is another than deploy/nats holds; go test ./deploycheck -update")
	}
}

func natsConfig(files map[string]string) []byte {
	var b strings.Builder
	b.WriteString(`# A copy of what nats/ holds, made by: go test ./deploycheck -update (in tools/)
apiVersion: v1
kind: ConfigMap
metadata:
  name: nats-config
  namespace: sandbar-system
  labels: {app.kubernetes.io/part-of: sandbar}
data:
`)
	for _, name := range natsFiles {
		b.WriteString("  " + name + ": |\n")
		for line := range strings.Lines(files[name]) {
			if line != "\n" {
				b.WriteString("    ")
			}
			b.WriteString(line)
		}
	}
	return []byte(b.String())
}

// NATS gets every variable that its configuration names, and each service is the
// user of its own name with that user's password.
func TestNATSVariablesAndUsers(t *testing.T) {
	t.Parallel()
	conf, err := os.ReadFile(filepath.Join(root, "deploy", "nats", "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range workloads(load(t)) {
		env := map[string]corev1.EnvVar{}
		for _, e := range w.pod.Spec.Containers[0].Env {
			env[e.Name] = e
		}
		if w.name == "nats" {
			for _, m := range regexp.MustCompile(`(?m): \$([A-Z_]+)$`).FindAllStringSubmatch(string(conf), -1) {
				if _, ok := env[m[1]]; !ok {
					t.Errorf("nats.conf names %s, which the pod has not", m[1])
				}
			}
			continue
		}
		if got, key := env["NATS_USER"].Value, env["NATS_PASSWORD"].ValueFrom.SecretKeyRef.Key; got != w.name || key != w.name {
			t.Errorf("%s is NATS user %q with the password of %q", w.name, got, key)
		}
		if _, seal := env["VIEW_SEALING_KEY"]; seal == (w.name == "router") {
			t.Errorf("%s: the sealing key belongs to all but the router", w.name)
		}
	}
}

// Placeholders are seen as such, and one of them keeps the services from starting.
func TestSecretsArePlaceholders(t *testing.T) {
	t.Parallel()
	for _, s := range of[*corev1.Secret](load(t)) {
		if len(s.Data) > 0 {
			t.Errorf("%s: data hides what it holds, write stringData", s.Name)
		}
		for key, value := range s.StringData {
			if !strings.HasPrefix(value, "REPLACE_ME_") {
				t.Errorf("%s: %s is no placeholder", s.Name, key)
			}
		}
	}
}

// example reads .env.example: name → default.
func example(t *testing.T) map[string]string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(root, ".env.example"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(body)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if _, twice := out[name]; !ok || twice || !regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`).MatchString(name) {
			t.Errorf(".env.example: %q is no setting, or is there twice", line)
		}
		out[name] = value
	}
	return out
}

// What the manifests set is a setting.
func TestManifestsSetWhatIsASetting(t *testing.T) {
	t.Parallel()
	all, known := load(t), example(t)
	names, _ := keys(all, "ConfigMap", "sandbar")
	for _, w := range workloads(all) {
		if w.name == "nats" {
			continue
		}
		for _, e := range w.pod.Spec.Containers[0].Env {
			names = append(names, e.Name)
		}
	}
	for _, name := range names {
		if _, ok := known[name]; !ok {
			t.Errorf("%s is not in .env.example", name)
		}
	}
}

var (
	envTag     = regexp.MustCompile(`\benv:"([A-Z0-9_]+)[,"]`)
	defaultTag = regexp.MustCompile(`\benvDefault:"([^"]*)"`)
)

// .env.example lists the settings that the code reads, all of them and no other,
// with the defaults that the code has.
func TestExampleIsWhatTheCodeReads(t *testing.T) {
	t.Parallel()
	known := example(t)
	read := map[string]string{"LOG_LEVEL": "info"} // read by pkg/run for every service
	for _, dir := range []string{"pkg", "services"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			return tags(t, path, read)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(read)) {
		value, ok := known[name]
		if !ok {
			t.Errorf("%s is read but not in .env.example", name)
		} else if value != read[name] {
			t.Errorf("%s: the default is %q, .env.example says %q", name, read[name], value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if _, ok := read[name]; !ok {
			t.Errorf("%s is in .env.example but nothing reads it", name)
		}
	}
}

// tags adds the struct tags of a file. Services that share a setting share its
// default.
func tags(t *testing.T, path string, read map[string]string) error {
	t.Helper()
	body, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(body)) {
		m := envTag.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		value := ""
		if d := defaultTag.FindStringSubmatch(line); d != nil {
			value = d[1]
		}
		if other, ok := read[m[1]]; ok && other != value {
			t.Errorf("%s: %s has the default %q here and %q elsewhere", path, m[1], value, other)
			continue
		}
		read[m[1]] = value
	}
	return nil
}
