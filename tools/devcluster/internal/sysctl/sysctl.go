// Package sysctl changes kernel settings for the time that clusters run, and
// puts the old values back when the last of them goes.
package sysctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// watched is what the kubelet writes at its start, and what this tool raises.
// The kubelet's network settings are per network namespace and go with it.
var watched = []string{
	"vm.overcommit_memory",
	"vm.panic_on_oom",
	"kernel.panic",
	"kernel.panic_on_oops",
	"kernel.keys.root_maxkeys",
	"kernel.keys.root_maxbytes",
	"net.ipv4.ip_forward",
	"fs.inotify.max_user_instances",
	"fs.inotify.max_user_watches",
}

// atLeast are the limits that a kubelet, containerd and sixty pods need; the
// default of 128 inotify instances for root does not carry them.
var atLeast = map[string]int{
	"fs.inotify.max_user_instances": 1024,
	"fs.inotify.max_user_watches":   262144,
}

// Ledger is a file that all clusters of a machine share: the values from before
// the first of them, and who still needs the new ones.
type Ledger struct {
	Path string // must be gone after a reboot, as the settings are
	Root string // /proc/sys; another folder in tests
}

type page struct {
	Before  map[string]string `json:"before"`
	Holders []string          `json:"holders"`
}

// Hold notes the present values, if nobody did, and raises the limits.
func (l Ledger) Hold(holder string) error {
	return l.update(func(p *page) error {
		if len(p.Holders) == 0 {
			p.Before = map[string]string{}
			for _, name := range watched {
				if value, err := l.read(name); err == nil {
					p.Before[name] = value
				}
			}
		}
		if !slices.Contains(p.Holders, holder) {
			p.Holders = append(p.Holders, holder)
		}
		for name, least := range atLeast {
			now, err := l.read(name)
			if err != nil {
				continue // a kernel without it
			}
			if n, err := strconv.Atoi(now); err == nil && n < least {
				if err := l.write(name, strconv.Itoa(least)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Release puts the old values back unless another cluster, alive, still needs
// the new ones. Its error names the settings that could not be restored.
func (l Ledger) Release(holder string, alive func(holder string) bool) error {
	return l.update(func(p *page) error {
		p.Holders = slices.DeleteFunc(p.Holders, func(h string) bool { return h == holder || !alive(h) })
		if len(p.Holders) > 0 {
			return nil
		}
		var wrong []error
		for name, before := range p.Before {
			if now, err := l.read(name); err == nil && now == before {
				continue
			}
			if err := l.write(name, before); err != nil {
				wrong = append(wrong, err)
			}
		}
		return errors.Join(wrong...)
	})
}

// update runs change on the ledger while no other process can, and removes the
// file when nobody holds anything any more.
func (l Ledger) update(change func(*page) error) error {
	// The folder serves as the lock: a lock file could not be removed safely.
	lock, err := os.Open(filepath.Dir(l.Path))
	if err != nil {
		return fmt.Errorf("sysctl ledger: %w", err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("sysctl ledger: %w", err)
	}
	var p page
	raw, err := os.ReadFile(l.Path)
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("sysctl ledger: %w", err)
	}
	if err := change(&p); err != nil {
		return err
	}
	if len(p.Holders) == 0 {
		if err := os.Remove(l.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sysctl ledger: %w", err)
		}
		return nil
	}
	raw, err = json.Marshal(p)
	if err != nil {
		return fmt.Errorf("sysctl ledger: %w", err)
	}
	if err := os.WriteFile(l.Path, raw, 0o600); err != nil {
		return fmt.Errorf("sysctl ledger: %w", err)
	}
	return nil
}

func (l Ledger) file(name string) string {
	return filepath.Join(l.Root, strings.ReplaceAll(name, ".", "/"))
}

func (l Ledger) read(name string) (string, error) {
	raw, err := os.ReadFile(l.file(name))
	if err != nil {
		return "", fmt.Errorf("sysctl %s: %w", name, err)
	}
	return strings.TrimSpace(string(raw)), nil
}

func (l Ledger) write(name, value string) error {
	if err := os.WriteFile(l.file(name), []byte(value), 0o644); err != nil {
		return fmt.Errorf("sysctl %s: %w", name, err)
	}
	return nil
}
