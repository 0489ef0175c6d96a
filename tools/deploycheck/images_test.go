package deploycheck_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// What a Dockerfile copies, and nothing else, builds with its own RUN lines. That
// is as much of it as can be had without a Docker engine.
func TestImagesBuild(t *testing.T) {
	t.Parallel()
	for file, programs := range map[string][]string{
		"Dockerfile.gateway":     {"gateway", "router"},
		"Dockerfile.provisioner": {"provisioner", "watcher"},
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			src, out := t.TempDir(), t.TempDir()
			lines := instructions(t, filepath.Join(root, file))
			build, final := stages(lines)
			var env []string
			for _, line := range build {
				switch word, rest, _ := strings.Cut(line, " "); word {
				case "FROM":
					if want := "--platform=$BUILDPLATFORM golang:" + goVersion(t) + " AS build"; rest != want {
						t.Errorf("built FROM %s, want %s", rest, want)
					}
				case "ENV":
					rest = strings.NewReplacer("$TARGETOS", "linux", "$TARGETARCH", runtime.GOARCH).Replace(rest)
					env = append(env, strings.Fields(rest)...)
				case "COPY":
					copyIn(t, src, strings.Fields(rest))
				case "RUN":
					shell(t, src, env, strings.ReplaceAll(rest, "/out/", out+"/"))
				case "ARG", "WORKDIR":
				default:
					t.Fatalf("unknown instruction: %s", line)
				}
			}
			for _, want := range []string{"GOWORK=off", "CGO_ENABLED=0"} {
				if !slices.Contains(env, want) {
					t.Errorf("built without %s", want)
				}
			}
			for _, p := range programs {
				info, err := os.Stat(filepath.Join(out, p))
				if err != nil || info.Mode()&0o111 == 0 {
					t.Errorf("no program %s: %v", p, err)
				}
			}
			checkFinal(t, final, programs)
		})
	}
}

// instructions are a Dockerfile's lines, without comments.
func instructions(t *testing.T, path string) []string {
	t.Helper()
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(body)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return out
}

// goVersion is the minor version that the modules want.
func goVersion(t *testing.T) string {
	t.Helper()
	for _, line := range instructions(t, filepath.Join(root, "go.work")) {
		if v, ok := strings.CutPrefix(line, "go "); ok {
			parts := strings.SplitN(v, ".", 3)
			return parts[0] + "." + parts[1]
		}
	}
	t.Fatal("go.work names no version")
	return ""
}

// stages are the lines of the two stages, each with its FROM.
func stages(lines []string) (build, final []string) {
	last := 0
	for i, line := range lines {
		if strings.HasPrefix(line, "FROM ") {
			last = i
		}
	}
	return lines[:last], lines[last:]
}

func copyIn(t *testing.T, src string, args []string) {
	t.Helper()
	to := args[len(args)-1]
	for _, from := range args[:len(args)-1] {
		target := filepath.Join(src, to)
		info, err := os.Stat(filepath.Join(root, from))
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			err = copyTree(target, filepath.Join(root, from))
		} else {
			err = copyFile(filepath.Join(target, filepath.Base(from)), filepath.Join(root, from))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// copyTree copies a folder over another, as COPY does.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		return copyFile(filepath.Join(to, rel), path)
	})
}

func copyFile(to, from string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // it was only read
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}

// shell runs a RUN line with the environment that the Dockerfile sets.
func shell(t *testing.T, dir string, env []string, line string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", line)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "GOFLAGS="), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

func checkFinal(t *testing.T, final, programs []string) {
	t.Helper()
	want := []string{
		"FROM gcr.io/distroless/static:nonroot",
		"COPY --from=build /out/" + programs[0] + " /out/" + programs[1] + " /usr/local/bin/",
		"USER 65532:65532",
		`ENTRYPOINT ["/usr/local/bin/` + programs[0] + `"]`,
	}
	if !slices.Equal(final, want) {
		t.Errorf("the final stage is\n%s\nwant\n%s", strings.Join(final, "\n"), strings.Join(want, "\n"))
	}
}
