package image

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// packed is a layer whose compressed file lies ready, with what would cost a pass
// over it: of a Debian with its Python that is most of a push.
type packed struct {
	file string
	known
}

type known struct {
	Digest v1.Hash `json:"digest"`  // of the file
	DiffID v1.Hash `json:"diff_id"` // of what it is without compression
	Size   int64   `json:"size"`
}

const knownSuffix = ".json"

// Pack writes a folder into file as a layer in which it lies at prefix, and beside it
// what is known of it. Owners are kept.
func Pack(root, prefix, file string) (err error) {
	out, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("pack %s: %w", root, err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	compressed, plain := sha256.New(), sha256.New()
	zip, err := gzip.NewWriterLevel(io.MultiWriter(out, compressed), gzip.BestSpeed)
	if err != nil {
		return fmt.Errorf("pack %s: %w", root, err)
	}
	w := tar.NewWriter(io.MultiWriter(zip, plain))
	if err := errors.Join(writeRoot(w, root, prefix, true), w.Close(), zip.Close()); err != nil {
		return fmt.Errorf("pack %s: %w", root, err)
	}
	info, err := out.Stat()
	if err != nil {
		return fmt.Errorf("pack %s: %w", root, err)
	}
	raw, err := json.Marshal(known{
		Digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(compressed.Sum(nil))},
		DiffID: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(plain.Sum(nil))},
		Size:   info.Size(),
	})
	if err != nil {
		return fmt.Errorf("pack %s: %w", root, err)
	}
	return os.WriteFile(file+knownSuffix, raw, 0o644)
}

func openPacked(file string) (v1.Layer, error) {
	raw, err := os.ReadFile(file + knownSuffix)
	if err != nil {
		return nil, fmt.Errorf("layer: %w", err)
	}
	p := packed{file: file}
	if err := json.Unmarshal(raw, &p.known); err != nil {
		return nil, fmt.Errorf("layer %s: %w", file, err)
	}
	return p, nil
}

func (p packed) Digest() (v1.Hash, error)            { return p.known.Digest, nil }
func (p packed) DiffID() (v1.Hash, error)            { return p.known.DiffID, nil }
func (p packed) Size() (int64, error)                { return p.known.Size, nil }
func (p packed) MediaType() (types.MediaType, error) { return types.DockerLayer, nil }
func (p packed) Compressed() (io.ReadCloser, error)  { return os.Open(p.file) }

func (p packed) Uncompressed() (io.ReadCloser, error) {
	f, err := os.Open(p.file)
	if err != nil {
		return nil, err
	}
	zip, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return unzipped{zip, f}, nil
}

type unzipped struct {
	*gzip.Reader
	file *os.File
}

func (u unzipped) Close() error { return errors.Join(u.Reader.Close(), u.file.Close()) }
