package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandbar-io/sandbar/tools/internal/process"
)

const (
	// deathbed is how long killed processes may take to vanish.
	deathbed = 10 * time.Second
	// rounds of killing and clearing: a shim that is just starting a container
	// when the first round passes, or a process in the midst of exec, which has
	// no environment to be found by, is met by the second.
	rounds = 3
)

// Down ends the cluster in o.Dir and removes all it made but its logs, whatever
// state it is in: up, half up, or crashed. It fails if anything is left. With
// nothing there it does nothing.
func Down(ctx context.Context, o Options) error {
	if err := o.settle(); err != nil {
		return err
	}
	release, err := lock(o.Dir)
	if err != nil {
		return err
	}
	defer release()
	l, found := locate(o)
	if found {
		if err := takeDown(l, o); err != nil {
			return err
		}
	}
	_ = os.Remove(o.Dir) // only if it is empty: then only the lock had made it
	o.say("down, nothing left")
	return nil
}

// locate finds which cluster is meant. Its folder may have lost its files, or
// have been removed together with its clone.
func locate(o Options) (layout, bool) {
	if b, err := readBegun(o.Dir); err == nil {
		l := b.Layout
		if owner := ownerOf(l); owner != "" && owner != l.Dir {
			// Since a reboot the instance is another's: only our folder is ours.
			l.Root, l.Bridged = false, false
		}
		return l, true
	}
	root := os.Geteuid() == 0
	for i := range 10 {
		l := layout{Dir: o.Dir, Instance: i, Bridged: root, Root: root}
		owner := ownerOf(l)
		switch {
		case owner == o.Dir:
			return l, true
		case i != o.Instance || !root:
		case owner != "" && !exists(filepath.Join(owner, "begun.json")):
			o.say("instance %d belonged to a cluster in %s, which is gone; clearing it away", i, owner)
			l.Dir = owner
			return l, true
		case owner == "":
			// Nobody owns it. If something is there it is not of o.Dir.
			l.Dir = filepath.Join(l.run(), "lost")
			if len(leftovers(l)) > 0 {
				return l, true
			}
		}
	}
	return layout{}, false
}

func ownerOf(l layout) string {
	raw, _ := os.ReadFile(l.owner())
	return strings.TrimSpace(string(raw))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func takeDown(l layout, o Options) error {
	began := time.Now()
	var wrong error
	for range rounds {
		killAll(l)
		wrong = clearAway(l)
		if wrong == nil && len(leftovers(l)) == 0 {
			break
		}
	}
	left := leftovers(l)
	if wrong != nil {
		left = append(left, strings.Split(wrong.Error(), "\n")...)
	}
	if len(left) > 0 {
		return fmt.Errorf("left after down: %s", strings.Join(left, "; "))
	}
	o.say("%6.1f s  processes, mounts, namespaces, cgroups, links and folders are gone; logs stay in %s", time.Since(began).Seconds(), l.path("log"))
	return nil
}

// killAll ends everything. Those that would start or restart something go
// first, then containers, while their shims still reap them, then the shims.
func killAll(l layout) {
	table := l.table()
	isShim := func(id process.Identity) bool { return strings.Contains(id.Describe(), "containerd-shim") }
	process.Kill(slices.DeleteFunc(ours(table), isShim), deathbed)
	process.Kill(contained(l), deathbed)
	process.Kill(ours(table), deathbed)
	for _, name := range table.Names() {
		if _, err := table.Find(name); err != nil {
			_ = os.Remove(filepath.Join(table.Pids, name+".pid"))
		}
	}
}

// ours are the processes with a pid file or with the mark.
func ours(table process.Table) []process.Identity {
	all := table.Marked()
	for _, name := range table.Names() {
		if id, err := table.Find(name); err == nil && !slices.Contains(all, id) && id.Pid != os.Getpid() {
			all = append(all, id)
		}
	}
	return all
}

func clearAway(l layout) error {
	wrong := []error{removeShimSockets(l), unmountAll(l)}
	if l.Root {
		wrong = append(wrong, removeCgroups(l), lowerNetwork(l), removeTraces(l))
	}
	if left := ourMounts(l); len(left) > 0 {
		// Removing folders now could reach through a mount.
		return errors.Join(append(wrong, fmt.Errorf("still mounted: %s", strings.Join(left, ", ")))...)
	}
	wrong = append(wrong, removeFolders(l))
	if l.Bridged {
		alive := func(dir string) bool { return exists(filepath.Join(dir, "begun.json")) }
		wrong = append(wrong, ledger.Release(l.Dir, alive))
	}
	return errors.Join(wrong...)
}

// removeShimSockets removes the sockets of killed shims, whose folder containerd
// does not let one choose.
func removeShimSockets(l layout) error {
	addresses, err := filepath.Glob(filepath.Join(l.run(), "*", "state", "io.containerd.runtime.v2.task", "*", "*", "address"))
	if err != nil {
		return err
	}
	const folder = "/run/containerd/s"
	for _, file := range addresses {
		raw, err := os.ReadFile(file)
		socket := strings.TrimPrefix(strings.TrimSpace(string(raw)), "unix://")
		if err == nil && filepath.Dir(socket) == folder {
			_ = os.Remove(socket)
		}
	}
	return nil
}

// removeTraces removes what containerd and the kubelet leave in folders that
// they do not let one choose, and which other programs may use as well.
func removeTraces(l layout) error {
	var wrong []error
	for _, path := range traces(l) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			wrong = append(wrong, err)
		}
	}
	// The inner ones first. They go only if they are empty: nobody else's then.
	for _, folder := range []string{
		"/run/containerd/s", "/run/containerd", netnsFolder, "/run/mount",
		cniResults, filepath.Dir(cniResults), deviceSockets, filepath.Dir(deviceSockets), containerLogs,
	} {
		_ = unix.Rmdir(folder)
	}
	return errors.Join(wrong...)
}

const (
	cniResults    = "/var/lib/cni/results"
	deviceSockets = "/var/lib/kubelet/device-plugins"
	containerLogs = "/var/log/containers"
)

// traces lists links to container logs, CNI's notes on pods, and the kubelet's
// socket for device plugins if no kubelet listens on it any more.
func traces(l layout) []string {
	var found []string
	notes, _ := filepath.Glob(filepath.Join(cniResults, "*"))
	for _, note := range notes {
		// A note holds the pod's network namespace, which lies in our folder.
		if raw, err := os.ReadFile(note); err == nil && bytes.Contains(raw, []byte(`"`+l.run()+"/")) {
			found = append(found, note)
		}
	}
	links, _ := filepath.Glob(filepath.Join(containerLogs, "*.log"))
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, l.Dir+"/") {
			found = append(found, link)
		}
	}
	socket := filepath.Join(deviceSockets, "kubelet.sock")
	if conn, err := net.Dial("unix", socket); err == nil {
		conn.Close()
	} else if errors.Is(err, unix.ECONNREFUSED) {
		found = append(found, socket)
	}
	return found
}

// removeFolders removes all but the logs. The owner file goes last: it leads a
// second down back here.
func removeFolders(l layout) error {
	var wrong []error
	// By name: somebody may have given us a folder with things of his own.
	made := []string{"cluster.json", "etcd", "kubeconfig", "kwok.yaml", "pid", "pki", "registry", "resolv.conf", "run", "volumes"}
	for _, n := range l.nodes(9) {
		made = append(made, n.name())
	}
	for _, name := range made {
		wrong = append(wrong, os.RemoveAll(l.path(name)))
	}
	if l.Root {
		wrong = append(wrong, os.RemoveAll(l.lib()), os.RemoveAll(l.run()))
	}
	if err := errors.Join(wrong...); err != nil {
		return err
	}
	return os.RemoveAll(l.path("begun.json"))
}

// leftovers proves that a cluster is down: it lists whatever of it is still there.
func leftovers(l layout) []string {
	var left []string
	for _, id := range ours(l.table()) {
		left = append(left, "process "+id.Describe())
	}
	for _, m := range ourMounts(l) {
		left = append(left, "mount "+m)
	}
	for _, path := range []string{l.path("begun.json"), l.path("cluster.json"), l.path("pid"), l.path("pki")} {
		if exists(path) {
			left = append(left, "file "+path)
		}
	}
	if !l.Root {
		return left
	}
	for _, id := range contained(l) {
		left = append(left, "process in a container: "+id.Describe())
	}
	for _, dir := range ourCgroups(l) {
		left = append(left, "cgroup "+dir)
	}
	for _, path := range ourNetns(l) {
		left = append(left, "network namespace "+path)
	}
	for _, link := range ourLinks(l) {
		left = append(left, "link "+link.Attrs().Name)
	}
	for _, path := range append(traces(l), l.run(), l.lib()) {
		if exists(path) {
			left = append(left, "file "+path)
		}
	}
	return left
}
