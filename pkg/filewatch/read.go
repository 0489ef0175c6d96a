package filewatch

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Limits of what is read: a keys file of 1 MiB holds about 5,000 keys.
const (
	MaxFile  = 1 << 20 // bytes
	maxFiles = 64
)

// readAll reads all files of the paths.
func readAll(paths []string) ([]File, error) {
	var names []string
	for _, path := range paths {
		found, err := list(path, true)
		if err != nil {
			return nil, err
		}
		names = append(names, found...)
	}
	if len(names) > maxFiles {
		return nil, fmt.Errorf("there are %d files, at most %d are read", len(names), maxFiles)
	}
	files := make([]File, 0, len(names))
	for _, name := range names {
		body, err := read(name)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: name, Body: body})
	}
	return files, nil
}

// list is the file itself, or what a folder and its folders hold. Names with two
// dots are the kubelet's own: what they hold is linked beside them.
func list(path string, deeper bool) ([]string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.IsDir():
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		name := filepath.Join(path, e.Name())
		if strings.HasPrefix(e.Name(), "..") {
			continue
		}
		if info, err := os.Stat(name); err == nil && info.IsDir() && !deeper {
			continue
		}
		found, err := list(name, false)
		if err != nil {
			return nil, err
		}
		names = append(names, found...)
	}
	return names, nil
}

func read(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	body, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, err
	}
	if len(body) > MaxFile {
		return nil, fmt.Errorf("%s is too large, at most %d bytes are read", name, MaxFile)
	}
	return body, nil
}

// digest tells two readings apart, a failure by its text.
func digest(files []File, err error) [sha256.Size]byte {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%q %d ", f.Path, len(f.Body))
		h.Write(f.Body)
	}
	if err != nil {
		fmt.Fprint(h, err)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// quoted is where the YAML library cites a value, which may be a secret that was
// put in the wrong place.
var quoted = regexp.MustCompile("`[^`]*`")

// DecodeYAML reads YAML or JSON. A field that is not known is an error: a
// misspelt option must not be silently off. No error cites a value.
func DecodeYAML(body []byte, into any) error {
	d := yaml.NewDecoder(bytes.NewReader(body))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return errors.New(quoted.ReplaceAllString(err.Error(), "…"))
	}
	return nil
}
