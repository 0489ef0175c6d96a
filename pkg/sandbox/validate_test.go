package sandbox_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

func ptr[T any](v T) *T { return &v }

func TestSpecValidate(t *testing.T) {
	t.Parallel()
	full := sandbox.Spec{
		Image: "ghcr.io/openhands/agent-server:1.2", Command: []string{"/bin/agent", "--port", "60000", ""}, WorkingDir: "/workspace/project",
		Environment: map[string]string{"A": "", "_b.c-D": "x=y\nz"}, ResourceFactor: 8, RuntimeClass: "sysbox-runc",
		RunAsUser: ptr[int64](0), RunAsGroup: ptr[int64](10001), FSGroup: ptr[int64](1<<31 - 1), ImagePullPolicy: "IfNotPresent",
	}
	for name, c := range map[string]struct {
		change func(*sandbox.Spec)
		code   sandbox.Code
		names  string // what the message names
	}{
		"all members": {func(*sandbox.Spec) {}, "", ""},
		"the least":   {func(s *sandbox.Spec) { *s = sandbox.Spec{Image: "a", ResourceFactor: 1} }, "", ""},

		"image: digest":     {func(s *sandbox.Spec) { s.Image = "a/b@sha256:" + strings.Repeat("0a", 32) }, "", ""},
		"image: tag digest": {func(s *sandbox.Spec) { s.Image = "localhost:5000/a_b/c:V1_x@sha256:" + strings.Repeat("0a", 32) }, "", ""},
		"image: none":       {func(s *sandbox.Spec) { s.Image = "" }, sandbox.CodeInvalid, "image"},
		"image: space":      {func(s *sandbox.Spec) { s.Image = "a b" }, sandbox.CodeInvalid, "image"},
		"image: upper case": {func(s *sandbox.Spec) { s.Image = "A/B" }, sandbox.CodeInvalid, "image"},
		"image: new line":   {func(s *sandbox.Spec) { s.Image = "a\n" }, sandbox.CodeInvalid, "image"},
		"image: path":       {func(s *sandbox.Spec) { s.Image = "a/../b" }, sandbox.CodeInvalid, "image"},
		"image: slashes":    {func(s *sandbox.Spec) { s.Image = "a//b" }, sandbox.CodeInvalid, "image"},
		"image: option":     {func(s *sandbox.Spec) { s.Image = "--privileged" }, sandbox.CodeInvalid, "image"},
		"image: URL":        {func(s *sandbox.Spec) { s.Image = "https://a/b" }, sandbox.CodeInvalid, "image"},
		"image: digest bad": {func(s *sandbox.Spec) { s.Image = "a@sha256:0" }, sandbox.CodeInvalid, "image"},
		"image: long":       {func(s *sandbox.Spec) { s.Image = strings.Repeat("a", 513) }, sandbox.CodeInvalid, "image"},

		"command: none":          {func(s *sandbox.Spec) { s.Command = nil }, "", ""},
		"command: empty":         {func(s *sandbox.Spec) { s.Command = []string{} }, "", ""},
		"command: empty program": {func(s *sandbox.Spec) { s.Command = []string{"", "x"} }, sandbox.CodeInvalid, "command"},
		"command: NUL":           {func(s *sandbox.Spec) { s.Command = []string{"a", "b\x00"} }, sandbox.CodeInvalid, "command: argument 1"},
		"command: UTF-8":         {func(s *sandbox.Spec) { s.Command = []string{"a\xff"} }, sandbox.CodeInvalid, "command: argument 0"},
		"command: arguments":     {func(s *sandbox.Spec) { s.Command = make([]string, 257) }, sandbox.CodeTooLarge, "command"},
		"command: bytes":         {func(s *sandbox.Spec) { s.Command = []string{strings.Repeat("a", 64<<10+1)} }, sandbox.CodeTooLarge, "command"},
		"command: just fits":     {func(s *sandbox.Spec) { s.Command = []string{strings.Repeat("a", 64<<10)} }, "", ""},

		"working_dir: none":     {func(s *sandbox.Spec) { s.WorkingDir = "" }, "", ""},
		"working_dir: root":     {func(s *sandbox.Spec) { s.WorkingDir = "/" }, "", ""},
		"working_dir: relative": {func(s *sandbox.Spec) { s.WorkingDir = "a/b" }, sandbox.CodeInvalid, "working_dir"},
		"working_dir: control":  {func(s *sandbox.Spec) { s.WorkingDir = "/a\n" }, sandbox.CodeInvalid, "working_dir"},
		"working_dir: UTF-8":    {func(s *sandbox.Spec) { s.WorkingDir = "/a\xff" }, sandbox.CodeInvalid, "working_dir"},
		"working_dir: long":     {func(s *sandbox.Spec) { s.WorkingDir = "/" + strings.Repeat("a", 4096) }, sandbox.CodeInvalid, "working_dir"},

		"environment: none":          {func(s *sandbox.Spec) { s.Environment = nil }, "", ""},
		"environment: name empty":    {func(s *sandbox.Spec) { s.Environment[""] = "x" }, sandbox.CodeInvalid, "environment"},
		"environment: name =":        {func(s *sandbox.Spec) { s.Environment["A=B"] = "x" }, sandbox.CodeInvalid, `environment: "A=B"`},
		"environment: name digit":    {func(s *sandbox.Spec) { s.Environment["1A"] = "x" }, sandbox.CodeInvalid, `environment: "1A"`},
		"environment: name newline":  {func(s *sandbox.Spec) { s.Environment["A\n"] = "x" }, sandbox.CodeInvalid, "environment"},
		"environment: name long":     {func(s *sandbox.Spec) { s.Environment[strings.Repeat("A", 257)] = "x" }, sandbox.CodeInvalid, "environment"},
		"environment: value NUL":     {func(s *sandbox.Spec) { s.Environment["BAD"] = "x\x00" }, sandbox.CodeInvalid, "environment: the value of BAD"},
		"environment: value UTF-8":   {func(s *sandbox.Spec) { s.Environment["BAD"] = "x\xff" }, sandbox.CodeInvalid, "environment: the value of BAD"},
		"environment: value large":   {func(s *sandbox.Spec) { s.Environment["BIG"] = strings.Repeat("x", 100<<10-2) }, sandbox.CodeTooLarge, "environment: BIG"},
		"environment: value fits":    {func(s *sandbox.Spec) { s.Environment["BIG"] = strings.Repeat("x", 100<<10-3) }, "", ""},
		"environment: all too large": {func(s *sandbox.Spec) { maps.Copy(s.Environment, variables(4, 99<<10)) }, sandbox.CodeTooLarge, "environment"},
		"environment: too many":      {func(s *sandbox.Spec) { maps.Copy(s.Environment, variables(1024, 1)) }, sandbox.CodeTooLarge, "environment"},

		"resource_factor: 0":     {func(s *sandbox.Spec) { s.ResourceFactor = 0 }, sandbox.CodeInvalid, "resource_factor"},
		"resource_factor: -1":    {func(s *sandbox.Spec) { s.ResourceFactor = -1 }, sandbox.CodeInvalid, "resource_factor"},
		"resource_factor: 64":    {func(s *sandbox.Spec) { s.ResourceFactor = 64 }, "", ""},
		"resource_factor: 65":    {func(s *sandbox.Spec) { s.ResourceFactor = 65 }, sandbox.CodeInvalid, "resource_factor"},
		"runtime_class: none":    {func(s *sandbox.Spec) { s.RuntimeClass = "" }, "", ""},
		"runtime_class: space":   {func(s *sandbox.Spec) { s.RuntimeClass = "a b" }, sandbox.CodeInvalid, "runtime_class"},
		"runtime_class: case":    {func(s *sandbox.Spec) { s.RuntimeClass = "Kata" }, sandbox.CodeInvalid, "runtime_class"},
		"run_as_user: -1":        {func(s *sandbox.Spec) { s.RunAsUser = ptr[int64](-1) }, sandbox.CodeInvalid, "run_as_user"},
		"run_as_group: too high": {func(s *sandbox.Spec) { s.RunAsGroup = ptr[int64](1 << 31) }, sandbox.CodeInvalid, "run_as_group"},
		"fs_group: -1":           {func(s *sandbox.Spec) { s.FSGroup = ptr[int64](-1) }, sandbox.CodeInvalid, "fs_group"},
		"ids: none":              {func(s *sandbox.Spec) { s.RunAsUser, s.RunAsGroup, s.FSGroup = nil, nil, nil }, "", ""},
		"image_pull_policy":      {func(s *sandbox.Spec) { s.ImagePullPolicy = "always" }, sandbox.CodeInvalid, "image_pull_policy"},
		"image_pull_policy none": {func(s *sandbox.Spec) { s.ImagePullPolicy = "" }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := full.Clone()
			c.change(&s)
			err := s.Validate()
			if sandbox.CodeOf(err) != c.code {
				t.Fatalf("got %v, want code %q", err, c.code)
			}
			if err == nil {
				return
			}
			if msg := sandbox.MessageOf(err); !strings.HasPrefix(msg, c.names) || len(msg) > 1024 {
				t.Errorf("%.200q does not name %q", msg, c.names)
			}
		})
	}
}

func variables(n, size int) map[string]string {
	out := map[string]string{}
	for i := range n {
		out[fmt.Sprint("V", i)] = strings.Repeat("x", size)
	}
	return out
}

// No message ever shows the value of a variable.
func TestValidateShowsNoValue(t *testing.T) {
	t.Parallel()
	const secret = "s3cret"
	for _, value := range []string{secret + "\x00", secret + "\xff", secret + strings.Repeat("x", 100<<10)} {
		s := sandbox.Spec{Image: "a", ResourceFactor: 1, Environment: map[string]string{"TOKEN": value}}
		err := s.Validate()
		if err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "TOKEN") {
			t.Errorf("%v", err)
		}
	}
}
