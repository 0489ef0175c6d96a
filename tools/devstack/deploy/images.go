package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/sandbar-io/sandbar/tools/devcluster/image"
)

// user is whom the images run as, those of the Dockerfiles and of NATS alike.
const user = "65532:65532"

// recipe is an image: programs of modules in /usr/local/bin.
type recipe struct {
	name     string
	programs []program // the first is the entrypoint
}

type program struct{ name, module, pkg string }

// recipes are the images of the Dockerfiles, and one of the NATS server.
var recipes = []recipe{
	{"sandbar/gateway", []program{
		{"gateway", "services/gateway", "./cmd/gateway"}, {"router", "services/router", "./cmd/router"},
	}},
	{"sandbar/provisioner", []program{
		{"provisioner", "services/provisioner", "./cmd/provisioner"}, {"watcher", "services/watcher", "./cmd/watcher"},
	}},
	{"sandbar/nats", []program{{natsServer, "tools", "./natsserver"}}},
}

const natsServer = "natsserver"

// images builds and pushes, and returns the image of each container by its name.
func (o Options) images(ctx context.Context) (map[string]string, error) {
	byContainer := map[string]string{}
	for _, r := range recipes {
		isNATS := r.programs[0].name == natsServer
		if isNATS && o.NATSImage != "" {
			byContainer["nats"] = o.NATSImage
			continue
		}
		o.Log("building and pushing %s", r.name)
		reference, err := o.push(ctx, r)
		if err != nil {
			return nil, err
		}
		if isNATS {
			byContainer["nats"] = reference
			continue
		}
		for _, p := range r.programs {
			byContainer[p.name] = reference
		}
	}
	return byContainer, nil
}

func (o Options) push(ctx context.Context, r recipe) (string, error) {
	root := filepath.Join(o.Dir, filepath.Base(r.name))
	bin := filepath.Join("usr", "local", "bin")
	for _, p := range r.programs {
		// As in the Dockerfiles.
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(root, bin, p.name), p.pkg)
		cmd.Dir = filepath.Join(o.Repo, p.module)
		cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOOS=linux")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", p.name, err, out)
		}
	}
	if err := addRoots(root); err != nil {
		return "", fmt.Errorf("lay out %s: %w", r.name, err)
	}
	return image.Push(ctx, o.Registry, image.Spec{
		Name: r.name, Root: root, User: user, Entrypoint: []string{"/" + filepath.ToSlash(filepath.Join(bin, r.programs[0].name))},
	})
}

// addRoots puts this machine's certificates where distroless has its own: the
// gateway asks registries whether an image exists.
func addRoots(root string) error {
	const bundle = "etc/ssl/certs/ca-certificates.crt"
	raw, err := os.ReadFile("/" + bundle)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	to := filepath.Join(root, bundle)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, raw, 0o644)
}
