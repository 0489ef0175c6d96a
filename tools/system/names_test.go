//go:build system

package system_test

import (
	"os/exec"
	"strings"
	"testing"
)

// Names under the base domain lead to this machine for a client in a network
// namespace, by the system's own resolver: getaddrinfo, which Python's socket
// module calls too. curl and browsers take names below localhost for loopback by
// themselves; they are asked on the host.
func TestNamesInANetworkNamespace(t *testing.T) {
	t.Parallel()
	netns := bed.Netns(bed.RealNodes[0])
	for _, host := range []string{"demo", "vscode-demo", "work-1-demo"} {
		name := host + "." + bed.BaseDomain
		// A mount namespace of its own, for a resolv.conf of its own.
		script := `mount --bind "$1" /etc/resolv.conf && exec nsenter --net="$2" getent ahostsv4 "$3"`
		out, err := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-c", script, "sh", bed.ResolvConf, netns, name).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		if !strings.HasPrefix(string(out), bed.HostIP+" ") {
			t.Errorf("%s leads to %q, want %s", name, out, bed.HostIP)
		}
	}
}
