package registry

import (
	"errors"
	"math"
	"runtime"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// describe tells what the image itself tells; that it is there is known already.
// An index stands for its image for this platform, or for the first one.
func describe(d *remote.Descriptor) (*Image, error) {
	if d.MediaType.IsIndex() {
		return describeIndex(d)
	}
	if d.MediaType.IsSchema1() {
		return &Image{}, nil // of old, it says neither
	}
	img, err := d.Image()
	if err != nil {
		return nil, err
	}
	return describeImage(img)
}

func describeIndex(d *remote.Descriptor) (*Image, error) {
	index, err := d.ImageIndex()
	if err != nil {
		return nil, err
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	of := choose(m.Manifests)
	if of == nil {
		return &Image{}, nil // it holds other things than images
	}
	img, err := index.Image(of.Digest)
	if err != nil {
		return nil, err
	}
	return describeImage(img)
}

// choose: signatures and attestations have no platform, or an unknown one.
func choose(all []v1.Descriptor) *v1.Descriptor {
	var first *v1.Descriptor
	for i, m := range all {
		if !m.MediaType.IsImage() || m.Platform != nil && m.Platform.OS != "linux" {
			continue
		}
		if m.Platform != nil && m.Platform.Architecture == runtime.GOARCH {
			return &all[i]
		}
		if first == nil {
			first = &all[i]
		}
	}
	return first
}

func describeImage(img v1.Image) (*Image, error) {
	m, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	out := &Image{}
	if out.Size, err = size(m); err != nil {
		return nil, err
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	if !cfg.Created.IsZero() {
		out.UploadTime = cfg.Created.UTC().Format(time.RFC3339)
	}
	return out, nil
}

func size(m *v1.Manifest) (int64, error) {
	n := int64(0)
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if d.Size < 0 || n > math.MaxInt64-d.Size {
			return 0, errors.New("the sizes are no sizes")
		}
		n += d.Size
	}
	return n, nil
}
