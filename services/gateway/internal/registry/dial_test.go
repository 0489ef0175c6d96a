package registry_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/sandbar-io/sandbar/services/gateway/internal/registry"
)

func TestPublic(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"93.184.216.34": true, "::ffff:93.184.216.34": true, "2606:2800:220:1::1": true, "64:ff9b::5db8:d822": true, "172.15.0.1": true, "100.128.0.1": true,
		"127.0.0.1": false, "127.255.255.254": false, "0.0.0.0": false, "0.1.2.3": false, "10.1.2.3": false, "172.16.0.1": false, "172.31.255.255": false,
		"192.168.1.1": false, "169.254.169.254": false, "168.63.129.16": false, "100.64.0.1": false, "100.127.255.255": false, "192.0.0.192": false,
		"198.18.0.1": false, "224.0.0.1": false, "239.255.255.255": false, "240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "fe80::1": false, "fe80::1%eth0": false, "2606:2800:220:1::1%eth0": false, "fec0::1": false, "fc00::1": false, "fd00:ec2::254": false,
		"ff02::1": false, "::ffff:10.0.0.1": false, "::ffff:127.0.0.1": false, "::10.0.0.1": false, "64:ff9b::a00:1": false, "64:ff9b::7f00:1": false,
		"64:ff9b::a9fe:a9fe": false, "64:ff9b:1::1": false, "2002:a00:1::1": false, "2002:5db8:d822::": false, "2001::1": false, "2001:db8::1": false, "100::1": false,
	} {
		if got := registry.Public(netip.MustParseAddr(address)); got != want {
			t.Errorf("Public(%s) = %v", address, got)
		}
	}
}

// The dialer's own look at the address catches what the look-up before it would
// have let through.
func TestPublicOnly(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	d := net.Dialer{Control: registry.PublicOnly}
	if conn, err := d.DialContext(t.Context(), "tcp", l.Addr().String()); err == nil {
		_ = conn.Close()
		t.Error("connected to a loopback address")
	}
	if err := registry.PublicOnly("tcp4", "93.184.216.34:443", nil); err != nil {
		t.Error(err)
	}
	if err := registry.PublicOnly("tcp4", "no address", nil); err == nil {
		t.Error("what is no address is taken")
	}
}
