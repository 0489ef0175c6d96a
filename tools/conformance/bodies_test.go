package conformance_test

import (
	"slices"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance"
)

// The sets are those of contract.md 4.1: what a client leaves out is as much
// part of its body as what it sends.
func TestBodiesHaveExactlyTheirClientsFields(t *testing.T) {
	t.Parallel()
	always := []string{"command", "environment", "image", "session_id", "working_dir"}
	ids := []string{"fs_group", "run_as_group", "run_as_user"}
	fields := map[string][]string{
		"v0":         {"resource_factor", "runtime_class"},
		"v0ent":      {"resource_factor"},
		"v1a":        append([]string{"resource_factor"}, ids...),
		"v1c":        append([]string{"resource_factor", "runtime_class"}, ids...),
		"ent":        append([]string{"resource_factor"}, ids...),
		"sdk":        {"fs_group", "image_pull_policy", "run_as_user", "runtime_class"},
		"sdk_source": {"fs_group", "image_pull_policy", "resource_factor", "run_as_user", "runtime_class"},
	}
	names, err := conformance.Bodies()
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != len(fields) {
		t.Errorf("bodies %q, want those of %d clients", names, len(fields))
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, err := conformance.Body(name, "a session", "an image")
			if err != nil {
				t.Fatal(err)
			}
			want := slices.Sorted(slices.Values(append(slices.Clone(always), fields[name]...)))
			var got []string
			for field := range body {
				got = append(got, field)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("fields %q, want %q", got, want)
			}
			if body["session_id"] != "a session" || body["image"] != "an image" {
				t.Errorf("session %v and image %v are not those asked for", body["session_id"], body["image"])
			}
		})
	}
}

func TestBodyOfNoClient(t *testing.T) {
	t.Parallel()
	if body, err := conformance.Body("nobody", "s", "i"); err == nil {
		t.Fatalf("got %v", body)
	}
}
