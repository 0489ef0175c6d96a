package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

const filesPrefix = "/files/"

type stored struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Entry tells of a file what fsGroup and volumes decide.
type Entry struct {
	Name string `json:"name"`
	Dir  bool   `json:"dir"`
	Size int64  `json:"size"`
	Mode string `json:"mode"`
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
}

// files reads, writes and removes below the working directory, or below the
// absolute directory ?root=. GET of a directory, or with ?stat=1, answers JSON.
func (a *Agent) files(w http.ResponseWriter, r *http.Request) {
	dir := r.URL.Query().Get("root")
	if dir == "" {
		dir = a.cfg.Dir
	}
	if !filepath.IsAbs(dir) {
		fail(w, http.StatusBadRequest, "root: an absolute directory is wanted")
		return
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		failFile(w, err)
		return
	}
	defer func() { _ = root.Close() }() // read-only handle
	name := path.Clean(strings.TrimPrefix(r.URL.Path, filesPrefix))
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		err = readFile(w, r, root, name)
	case http.MethodPut, http.MethodPost:
		err = writeFile(w, r, root, name)
	case http.MethodDelete:
		if err = root.RemoveAll(name); err == nil {
			w.WriteHeader(http.StatusNoContent)
		}
	default:
		fail(w, http.StatusMethodNotAllowed, "GET, PUT or DELETE")
	}
	if err != nil {
		failFile(w, err)
	}
}

func readFile(w http.ResponseWriter, r *http.Request, root *os.Root, name string) error {
	file, err := root.Open(name)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	switch {
	case r.URL.Query().Has("stat"):
		answer(w, http.StatusOK, entry(info))
	case info.IsDir():
		children, err := file.ReadDir(-1)
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		entries := []Entry{}
		for _, child := range children {
			if info, err := child.Info(); err == nil { // else it went meanwhile
				entries = append(entries, entry(info))
			}
		}
		answer(w, http.StatusOK, entries)
	default:
		http.ServeContent(w, r, "", info.ModTime(), file)
	}
	return nil
}

func writeFile(w http.ResponseWriter, r *http.Request, root *os.Root, name string) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return fmt.Errorf("mkdir: %w", err)
	}
	file, err := root.Create(name)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(file, sum), r.Body)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	answer(w, http.StatusOK, stored{Bytes: n, SHA256: hex.EncodeToString(sum.Sum(nil))})
	return nil
}

func entry(info fs.FileInfo) Entry {
	e := Entry{Name: info.Name(), Dir: info.IsDir(), Size: info.Size(), Mode: info.Mode().String()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		e.UID, e.GID = sys.Uid, sys.Gid
	}
	return e
}

func failFile(w http.ResponseWriter, err error) {
	status := http.StatusBadRequest // outside the root, a directory in the way
	switch {
	case errors.Is(err, fs.ErrNotExist):
		status = http.StatusNotFound
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		status = http.StatusForbidden
	case errors.Is(err, syscall.ENOSPC):
		status = http.StatusInsufficientStorage
	}
	fail(w, status, err.Error())
}
