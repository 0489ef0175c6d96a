package cluster

// For tests outside the package: the pure parts of what up writes and checks.

// Settle is settle.
func (o *Options) Settle() error { return o.settle() }

// NodeConfigs renders a node's configuration files.
func NodeConfigs(dir string, instance, index int) map[string]string {
	n := node{layout{Dir: dir, Instance: instance, Bridged: true, Root: true}, index}
	return map[string]string{
		"containerd.toml": n.containerdConfig("10.200.3.1:5000/pause:1", "/usr/sbin/runc", "/usr/lib/cni"),
		"cni.json":        n.cniConfig(),
		"kubelet.yaml":    n.kubeletConfig(),
		"kube-proxy.yaml": n.proxyConfig(),
		"hosts.toml":      registryConfig(n.at(registryPort)),
	}
}

// Ranges are all address ranges of an instance.
func Ranges(instance int) []string {
	l := layout{Instance: instance, Bridged: true}
	return []string{l.lan(), l.podCIDR(), l.serviceCIDR(), l.simulatedCIDR()}
}

// Sockets are the paths of the Unix sockets that a node has.
func Sockets(instance, index int) []string {
	n := node{layout{Dir: "/x", Instance: instance, Bridged: true, Root: true}, index}
	return []string{n.socket(), n.socket() + ".ttrpc", n.libPath("kubelet", "pod-resources", "kubelet.sock")}
}

// Stages are the kwok stages.
func Stages() []byte { return stages }

// Describe is the state that up writes.
func Describe(o Options) State {
	return layout{Dir: o.Dir, Instance: o.Instance, Bridged: o.RealNodes > 0, Root: true}.describe(o, "/bin")
}

// Until is until, without a process.
var Until = until

// Together is together.
var Together = together
