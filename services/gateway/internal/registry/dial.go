package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// refusal is an answer that was not followed. Its text is for the log: it may
// hold what the inside of the network looks like.
type refusal struct{ what string }

func (e *refusal) Error() string { return fmt.Sprintf("refused to reach %.512s", e.what) }

func refused(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// connectTimeout bounds one address, so that another can be tried within Timeout.
const (
	connectTimeout = 2 * time.Second
	maxAddresses   = 4 // of a name: who answers for it may name thousands
)

// guardian knows the ranges that IANA keeps for special purposes: loopback,
// private, link-local, shared, multicast and more. Beside them 168.63.129.16:
// Azure's, for its own virtual machines.
var guardian = ssrf.New(ssrf.WithAnyPort(), ssrf.WithDeniedV4Prefixes(netip.MustParsePrefix("168.63.129.16/32")))

// public reports whether an address lies outside. One that stands for an IPv4
// address, mapped or by NAT64, is judged by that; 6to4 and Teredo are never it.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if ssrf.IPv6NAT64Prefix.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	return a.Zone() == "" && guardian.SafeAddr(a) == nil
}

type connect func(ctx context.Context, network, address string) (net.Conn, error)

type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// dialer resolves a name once and connects to an address that it has looked at:
// what the name says a moment later does not count.
type dialer struct {
	rules   *rules
	resolve resolver
	inside  connect // to what is configured
	outside connect // to all else, by a public address
}

func newDialer(r *rules) *dialer {
	free := net.Dialer{Timeout: connectTimeout}
	guarded := net.Dialer{Timeout: connectTimeout, Control: publicOnly}
	return &dialer{rules: r, resolve: net.DefaultResolver, inside: free.DialContext, outside: guarded.DialContext}
}

// publicOnly looks again at the address that is about to be connected to.
func publicOnly(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil || !public(a.Addr()) {
		return refused("the address %s", address)
	}
	return nil
}

func (d *dialer) dial(ctx context.Context, _, address string) (net.Conn, error) {
	target, err := parseAuthority(address)
	if err != nil {
		return nil, refused("a target that is no host")
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, refused("a target without a port")
	}
	addrs, err := d.addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	to := d.outside
	if d.rules.inside(target) {
		to = d.inside
	} else if addrs = onlyPublic(addrs); len(addrs) == 0 {
		return nil, refused("%s, which has no public address", host)
	}
	// The transport may let a dial go on after its request has ended.
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	var errs []error
	for _, a := range addrs[:min(len(addrs), maxAddresses)] {
		conn, err := to(ctx, "tcp", net.JoinHostPort(a.Unmap().String(), port))
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// addresses are those of a host. A name that is not there is refused like one
// that leads inside: which names the inside has is nobody's business.
func (d *dialer) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	addrs, err := d.resolve.LookupNetIP(ctx, "ip", host)
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound || err == nil && len(addrs) == 0 {
		return nil, refused("%s, which has no address", host)
	}
	return addrs, err
}

func onlyPublic(addrs []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range addrs {
		if public(a) {
			out = append(out, a)
		}
	}
	return out
}
