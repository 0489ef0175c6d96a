package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

type mount struct{ path, kind string }

// mounts lists what is mounted, in the order of mounting.
func mounts() []mount {
	raw, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil
	}
	// The kernel writes blanks and backslashes in octal.
	plain := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var all []mount
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) >= 3 {
			all = append(all, mount{plain.Replace(f[1]), f[2]})
		}
	}
	return all
}

// ourMounts are the mount points below the cluster's folders.
func ourMounts(l layout) []string {
	below := []string{l.Dir + "/", l.run() + "/"}
	if l.Root {
		below = append(below, l.lib()+"/", netnsFolder+"/"+l.bridge()+"-node")
	}
	var found []string
	for _, m := range mounts() {
		for _, prefix := range below {
			if strings.HasPrefix(m.path, prefix) {
				found = append(found, m.path)
				break
			}
		}
	}
	return found
}

// unmountAll unmounts the last first. It is lazy: the processes that could hold
// a mount are dead by now, but the kernel may still be closing their files.
func unmountAll(l layout) error {
	var wrong []error
	found := ourMounts(l)
	for i := len(found) - 1; i >= 0; i-- {
		if err := unix.Unmount(found[i], unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			wrong = append(wrong, fmt.Errorf("unmount %s: %w", found[i], err))
		}
	}
	return errors.Join(wrong...)
}

// removeMountPoint unmounts a file that may be a mount point, and removes it.
func removeMountPoint(path string) error {
	_ = unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) // after a crash it may be a mere file
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}
