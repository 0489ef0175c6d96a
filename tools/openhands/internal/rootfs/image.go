package rootfs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/sandbar-io/sandbar/tools/devcluster/image"
)

// Push pushes the image of a set of packages: Debian, and the packages in its
// virtual environment. It returns the reference.
func (c Cache) Push(ctx context.Context, registry, set string) (string, error) {
	root, err := c.Root(ctx)
	if err != nil {
		return "", err
	}
	packages, err := c.Packages(ctx, set)
	if err != nil {
		return "", err
	}
	below, err := c.layer(ctx, "root", root, "")
	if err != nil {
		return "", err
	}
	above, err := c.layer(ctx, set, packages, Packages)
	if err != nil {
		return "", err
	}
	spec := image.Spec{
		Name: "openhands-" + set, Layers: []string{below, above}, Entrypoint: []string{Launcher},
		User: fmt.Sprintf("%[1]d:%[1]d", UserID), WorkingDir: "/", Env: append(slices.Clone(Env), serverEnv...),
	}
	if set == Legacy {
		top, err := c.micromamba(ctx)
		if err != nil {
			return "", err
		}
		// Root, as in the image that was published for this client: its server becomes
		// the user of the client's command by su.
		spec.Layers, spec.Entrypoint, spec.User = append(spec.Layers, top), nil, "0:0"
	}
	return image.Push(ctx, registry, spec)
}

// Legacy is the set of the legacy client, and of the server that it starts in the sandbox.
const Legacy = "legacy"

// micromamba is a layer with a stand-in for the program that the legacy client's command
// names: "micromamba run -n openhands poetry run python …" runs the Python that is here.
func (c Cache) micromamba(ctx context.Context) (string, error) {
	const (
		program = "/openhands/micromamba/bin/micromamba"
		script  = "#!/bin/sh\nshift 6\nexec " + Python + " \"$@\"\n"
	)
	dir, err := c.ensure(ctx, "micromamba", keyOf(script), func(_ context.Context, dir string) error {
		return os.WriteFile(filepath.Join(dir, filepath.Base(program)), []byte(script), 0o755)
	})
	if err != nil {
		return "", err
	}
	return c.layer(ctx, "micromamba", dir, filepath.Dir(program))
}

// Env keeps the packages from what only a machine with the internet gives them.
var Env = []string{
	"LITELLM_LOCAL_MODEL_COST_MAP=True", // else it waits for a download on each start
	"OPENHANDS_SUPPRESS_BANNER=1",
}

// serverEnv turns off what this image has not, an editor and a browser: the agent server
// would look for both at each start, and load the tools of the second. LOG_JSON is as in
// the published image.
var serverEnv = []string{"OH_ENABLE_VSCODE=false", "OH_PRELOAD_TOOLS=false", "LOG_JSON=true"}

// layer is the file of a folder as a layer of an image.
func (c Cache) layer(ctx context.Context, name, folder, prefix string) (string, error) {
	const file = "layer.tar.gz"
	dir, err := c.ensure(ctx, "layer-"+name, keyOf(filepath.Base(folder), prefix), func(_ context.Context, dir string) error {
		return image.Pack(folder, prefix, filepath.Join(dir, file))
	})
	return filepath.Join(dir, file), err
}
