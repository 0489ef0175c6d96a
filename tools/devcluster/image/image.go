// Package image makes container images from a static binary or a folder, with
// no engine and no base image, and pushes them to a registry over plain HTTP.
package image

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// DefaultUser is nobody in particular, and not root.
const DefaultUser = "65535:65535"

// Spec describes an image. Exactly one of Binary, Root and Layers is set.
type Spec struct {
	// Name is NAME or NAME:TAG. Without a tag the image's own digest becomes
	// the tag, so that IfNotPresent never runs an older build.
	Name string
	// Binary is a static program; it lies at /BASENAME and is the entrypoint.
	Binary string
	// Root is a folder that becomes the image's root.
	Root string
	// Layers are files of Pack, the lowest first.
	Layers     []string
	Entrypoint []string
	Cmd        []string
	Env        []string // KEY=value
	User       string   // uid:gid; empty means DefaultUser
	WorkingDir string
}

// Build makes the image. The same input gives the same digest.
func Build(s Spec) (v1.Image, error) {
	layers, err := layersOf(s)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", s.Name, err)
	}
	if s.Binary != "" && len(s.Entrypoint) == 0 {
		s.Entrypoint = []string{"/" + filepath.Base(s.Binary)}
	}
	if s.User == "" {
		s.User = DefaultUser
	}
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", s.Name, err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", s.Name, err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	file.Config.Entrypoint, file.Config.Cmd = s.Entrypoint, s.Cmd
	file.Config.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin:/"}, s.Env...)
	file.Config.User, file.Config.WorkingDir = s.User, s.WorkingDir
	if img, err = mutate.ConfigFile(img, file); err != nil {
		return nil, fmt.Errorf("image %s: %w", s.Name, err)
	}
	return img, nil
}

func layersOf(s Spec) ([]v1.Layer, error) {
	given := 0
	for _, is := range []bool{s.Binary != "", s.Root != "", len(s.Layers) > 0} {
		if is {
			given++
		}
	}
	if given != 1 {
		return nil, errors.New("give a binary, a root folder or layers, one of them")
	}
	var layers []v1.Layer
	for _, file := range s.Layers {
		layer, err := openPacked(file)
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer)
	}
	if len(layers) > 0 {
		return layers, nil
	}
	write := func(w *tar.Writer) error { return writeRoot(w, s.Root, "", false) }
	if s.Binary != "" {
		write = func(w *tar.Writer) error { return writeBinary(w, s.Binary) }
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return stream(write), nil },
		tarball.WithCompressionLevel(gzip.BestSpeed)) // it travels over a bridge, not over a network
	return []v1.Layer{layer}, err
}

// Push builds the image and pushes it to registry (host:port). It returns the
// reference by which a pod can name it.
func Push(ctx context.Context, registry string, s Spec) (string, error) {
	img, err := Build(s)
	if err != nil {
		return "", err
	}
	full := registry + "/" + s.Name
	if !strings.Contains(s.Name, ":") {
		digest, err := img.Digest()
		if err != nil {
			return "", fmt.Errorf("image %s: %w", s.Name, err)
		}
		const short = 12 // hex digits, as is usual for commits
		full += ":" + digest.Hex[:short]
	}
	tag, err := name.NewTag(full, name.Insecure, name.StrictValidation)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", s.Name, err)
	}
	if err := remote.Write(tag, img, remote.WithContext(ctx)); err != nil {
		return "", fmt.Errorf("push %s: %w", full, err)
	}
	return tag.Name(), nil
}

func stream(write func(*tar.Writer) error) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		t := tar.NewWriter(w)
		err := write(t)
		if err == nil {
			err = t.Close()
		}
		w.CloseWithError(err)
	}()
	return r
}

// writeBinary writes the program and a /tmp, which programs count on.
func writeBinary(w *tar.Writer, path string) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777, ModTime: time.Unix(0, 0)}); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return writeFile(w, path, &tar.Header{Typeflag: tar.TypeReg, Name: filepath.Base(path), Mode: 0o755, Size: info.Size()})
}

// writeRoot writes a folder below prefix. Everything has no time, and unless owners
// are kept belongs to root, so that a fresh clone gives the same image.
func writeRoot(w *tar.Writer, root, prefix string, owners bool) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		target := ""
		if info.Mode()&fs.ModeSymlink != 0 {
			if target, err = os.Readlink(path); err != nil {
				return err
			}
		}
		header, err := tar.FileInfoHeader(info, target)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		header.Name = strings.TrimPrefix(filepath.ToSlash(filepath.Join(prefix, relative)), "/")
		header.Uname, header.Gname = "", ""
		if !owners {
			header.Uid, header.Gid = 0, 0
		}
		if d.IsDir() {
			header.Name += "/"
		}
		return writeFile(w, path, header)
	})
}

func writeFile(w *tar.Writer, path string, header *tar.Header) error {
	header.ModTime, header.AccessTime, header.ChangeTime = time.Unix(0, 0), time.Time{}, time.Time{}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	if header.Typeflag != tar.TypeReg {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
