package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"github.com/sandbar-io/sandbar/tools/internal/process"
)

// layout is where everything of one cluster lies: paths, addresses and names,
// all of them derived from its folder and its instance.
type layout struct {
	Dir      string `json:"dir"`
	Instance int    `json:"instance"`
	Bridged  bool   `json:"bridged"` // false: no real nodes, all on the loopback
	Root     bool   `json:"root"`    // false: only what an ordinary user may do
}

func layoutOf(o Options) layout {
	return layout{Dir: o.Dir, Instance: o.Instance, Bridged: o.RealNodes > 0, Root: os.Geteuid() == 0}
}

func (l layout) path(parts ...string) string {
	return filepath.Join(append([]string{l.Dir}, parts...)...)
}

// run holds sockets and mounts: paths must be short (a socket's may have 107
// characters, and the clone may lie deep), and all is gone after a reboot.
func (l layout) run() string {
	if !l.Root {
		return l.path("run")
	}
	return "/run/sandbar-" + strconv.Itoa(l.Instance)
}

// lib holds the nodes' data. It is not in the cluster's folder for two reasons:
// the kubelet puts sockets into it, and the folder's file system may be one that
// overlayfs does not work on.
func (l layout) lib() string { return "/var/lib/sandbar-" + strconv.Itoa(l.Instance) }

func (l layout) owner() string { return filepath.Join(l.run(), "owner") }

// host is the address of the control plane, the registry and the services.
func (l layout) host() netip.Addr {
	first := byte(127)
	if l.Bridged {
		first = 10
	}
	return netip.AddrFrom4([4]byte{first, 200, byte(l.Instance), 1})
}

func (l layout) at(port int) string { return net.JoinHostPort(l.host().String(), strconv.Itoa(port)) }

const (
	apiPort        = 6443
	registryPort   = 5000
	controllerPort = 10257
	schedulerPort  = 10259
)

func (l layout) dnsPort() int {
	if l.Root {
		return 53
	}
	return 1053 // the first 1024 ports are root's
}

// etcd stays on the loopback, where no pod reaches it: it asks nobody who they are.
func (l layout) etcd(port int) string {
	return fmt.Sprintf("http://127.200.%d.2:%d", l.Instance, port)
}

func (l layout) apiURL() string { return "https://" + l.at(apiPort) }

func (l layout) serviceCIDR() string { return fmt.Sprintf("10.%d.0.0/16", 110+l.Instance) }

// apiService is the first address of the service range, which Kubernetes gives
// to its own API.
func (l layout) apiService() net.IP { return net.IPv4(10, byte(110+l.Instance), 0, 1) }

func (l layout) podCIDR() string { return fmt.Sprintf("10.%d.0.0/16", 100+l.Instance) }

func (l layout) simulatedCIDR() string { return fmt.Sprintf("10.%d.0.0/16", 120+l.Instance) }

func (l layout) bridge() string { return "sbr" + strconv.Itoa(l.Instance) }

func (l layout) lan() string { return fmt.Sprintf("10.200.%d.0/24", l.Instance) }

func (l layout) kubeconfig() string { return l.path("kubeconfig") }

func (l layout) table() process.Table {
	return process.Table{Pids: l.path("pid"), Logs: l.path("log"), Mark: l.Dir}
}

// node is one real node. Nodes count from 1.
type node struct {
	layout
	index int
}

func (l layout) nodes(count int) []node {
	all := make([]node, count)
	for i := range all {
		all[i] = node{l, i + 1}
	}
	return all
}

func (n node) name() string { return "node" + strconv.Itoa(n.index) }

// unique names the node's network namespace and its cgroup on this machine.
func (n node) unique() string { return n.bridge() + "-" + n.name() }

func (n node) address() string { return fmt.Sprintf("10.200.%d.%d", n.Instance, 10+n.index) }

func (n node) pods() string { return fmt.Sprintf("10.%d.%d.0/24", 100+n.Instance, n.index) }

func (n node) netns() string { return filepath.Join(netnsFolder, n.unique()) }

func (n node) veth() string { return fmt.Sprintf("%sn%d", n.bridge(), n.index) }

func (n node) runPath(parts ...string) string {
	return filepath.Join(append([]string{n.run(), n.name()}, parts...)...)
}

func (n node) libPath(parts ...string) string {
	return filepath.Join(append([]string{n.lib(), n.name()}, parts...)...)
}

func (n node) configPath(parts ...string) string {
	return n.path(append([]string{n.name()}, parts...)...)
}

func (n node) socket() string { return n.runPath("containerd.sock") }

func (n node) program(name string) string { return n.name() + "-" + name }

// netnsFolder is where `ip netns` looks as well.
const netnsFolder = "/run/netns"
