package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/sandbar-io/sandbar/tools/devcluster/cluster"
	"github.com/sandbar-io/sandbar/tools/devcluster/image"
)

// kubectl becomes kubectl, so that its terminal and its signals are its own.
// All arguments are kubectl's, but for a --dir in front of them.
func kubectl(_ context.Context, args []string, _ io.Writer) error {
	o, err := cluster.Defaults()
	if err != nil {
		return err
	}
	if len(args) >= 2 && args[0] == "--dir" {
		o.Dir, args = args[1], args[2:]
	}
	state, err := cluster.Load(o.Dir)
	if err != nil {
		return err
	}
	path, env := cluster.Kubectl(state)
	if err := syscall.Exec(path, append([]string{"kubectl"}, args...), append(os.Environ(), env...)); err != nil {
		return fmt.Errorf("kubectl: %w", err)
	}
	return nil
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

func buildImage(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 || args[0] != "build" {
		return errors.New("image: the only command is image build")
	}
	spec := image.Spec{User: image.DefaultUser}
	var entrypoint, cmd, env list
	registry := ""
	o, rest, err := parse("image build", args[1:], out, func(flags *flag.FlagSet) {
		flags.StringVar(&spec.Name, "name", "", "NAME or NAME:TAG; without a tag its digest becomes the tag")
		flags.StringVar(&spec.Binary, "binary", "", "static program; becomes /BASENAME and the entrypoint")
		flags.StringVar(&spec.Root, "root", "", "folder that becomes the image's root")
		flags.StringVar(&spec.User, "user", spec.User, "uid:gid that it runs as")
		flags.StringVar(&spec.WorkingDir, "workdir", "", "working folder")
		flags.Var(&entrypoint, "entrypoint", "one word of the entrypoint; repeat for more")
		flags.Var(&cmd, "cmd", "one argument; repeat for more")
		flags.Var(&env, "env", "KEY=value; repeat for more")
		flags.StringVar(&registry, "registry", "", "host:port of another registry than the cluster's")
	})
	if err != nil {
		return err
	}
	if len(rest) > 0 || spec.Name == "" {
		return errors.New("image build: --name and one of --binary and --root, nothing else")
	}
	spec.Entrypoint, spec.Cmd, spec.Env = entrypoint, cmd, env
	if registry == "" {
		state, err := cluster.Load(o.Dir)
		if err != nil {
			return err
		}
		registry = state.Registry
	}
	reference, err := image.Push(ctx, registry, spec)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, reference)
	return nil
}
