package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// raiseBridge makes the bridge that the control plane and the nodes meet on. It
// stands in the machine's own network namespace, so that the services, which
// run there, reach pods without further ado.
func raiseBridge(l layout) error {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: l.bridge()}}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("bridge %s: %w", l.bridge(), err)
	}
	if err := addAddress(bridge, l.host().String()+"/24"); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("bridge %s: %w", l.bridge(), err)
	}
	return nil
}

// connect makes a node's network namespace, wires it to the bridge and routes
// its pods there.
func connect(n node, others []node) error {
	bridge, err := netlink.LinkByName(n.bridge())
	if err != nil {
		return fmt.Errorf("bridge %s: %w", n.bridge(), err)
	}
	ns, err := createNetns(n.unique())
	if err != nil {
		return err
	}
	defer ns.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex = n.veth(), bridge.Attrs().Index
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(ns))}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("cable of %s: %w", n.name(), err)
	}
	if err := netlink.LinkSetUp(veth); err != nil {
		return fmt.Errorf("cable of %s: %w", n.name(), err)
	}
	err = within(ns, func() error { return furnish(n, others) })
	if err != nil {
		return fmt.Errorf("network of %s: %w", n.name(), err)
	}
	return addRoute(n.pods(), n.address())
}

// furnish sets a node's namespace up from inside.
func furnish(n node, others []node) error {
	for _, name := range []string{"lo", "eth0"} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if name == "eth0" {
			if err := addAddress(link, n.address()+"/24"); err != nil {
				return err
			}
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
	}
	if err := addRoute("0.0.0.0/0", n.host().String()); err != nil {
		return err
	}
	for _, o := range others {
		if o.index != n.index {
			if err := addRoute(o.pods(), o.address()); err != nil {
				return err
			}
		}
	}
	// The node is the router of its pods. The setting is the namespace's own.
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}

func addAddress(link netlink.Link, cidr string) error {
	address, err := netlink.ParseAddr(cidr)
	if err != nil {
		return fmt.Errorf("address %s: %w", cidr, err)
	}
	if err := netlink.AddrAdd(link, address); err != nil {
		return fmt.Errorf("address %s: %w", cidr, err)
	}
	return nil
}

func addRoute(cidr, gateway string) error {
	_, to, err := net.ParseCIDR(cidr)
	if err != nil {
		return fmt.Errorf("route to %s: %w", cidr, err)
	}
	if err := netlink.RouteAdd(&netlink.Route{Dst: to, Gw: net.ParseIP(gateway)}); err != nil {
		return fmt.Errorf("route to %s via %s: %w", cidr, gateway, err)
	}
	return nil
}

// onThread runs f on a thread of its own that ends with it, because f leaves
// the thread in another namespace.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		done <- f()
	}()
	return <-done
}

func createNetns(name string) (netns.NsHandle, error) {
	var ns netns.NsHandle
	err := onThread(func() (err error) {
		ns, err = netns.NewNamed(name)
		return err
	})
	if err != nil {
		return ns, fmt.Errorf("network namespace %s: %w", name, err)
	}
	return ns, nil
}

func within(ns netns.NsHandle, f func() error) error {
	return onThread(func() error {
		if err := netns.Set(ns); err != nil {
			return err
		}
		return f()
	})
}

// lowerNetwork removes links and namespaces of an instance; routes go with them.
func lowerNetwork(l layout) error {
	var wrong []error
	for _, link := range ourLinks(l) {
		var missing netlink.LinkNotFoundError
		if err := netlink.LinkDel(link); err != nil && !errors.As(err, &missing) {
			wrong = append(wrong, fmt.Errorf("link %s: %w", link.Attrs().Name, err))
		}
	}
	for _, path := range ourNetns(l) {
		if err := removeMountPoint(path); err != nil {
			wrong = append(wrong, err)
		}
	}
	return errors.Join(wrong...)
}

func ourNetns(l layout) []string {
	found, _ := filepath.Glob(filepath.Join(netnsFolder, l.bridge()+"-node*"))
	return found
}

// ourLinks finds the bridge and the machine's ends of the nodes' cables.
func ourLinks(l layout) []netlink.Link {
	all, err := netlink.LinkList()
	if err != nil {
		return nil
	}
	var found []netlink.Link
	for _, link := range all {
		name := link.Attrs().Name
		if ours, _ := filepath.Match(l.bridge()+"n[0-9]", name); ours || name == l.bridge() {
			found = append(found, link)
		}
	}
	return found
}

// overlap says which of the cluster's address ranges the machine already uses.
func overlap(l layout) error {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("routes of this machine: %w", err)
	}
	for _, ours := range []string{l.lan(), l.podCIDR(), l.serviceCIDR()} {
		_, mine, err := net.ParseCIDR(ours)
		if err != nil {
			return err
		}
		for _, r := range routes {
			if r.Dst == nil || r.Dst.IP.IsUnspecified() {
				continue // the default route overlaps everything and hurts nothing
			}
			if mine.Contains(r.Dst.IP) || r.Dst.Contains(mine.IP) {
				return fmt.Errorf("this machine already routes %s, which overlaps the cluster's %s; another SANDBAR_INSTANCE (0 to 9) uses other ranges", r.Dst, ours)
			}
		}
	}
	return nil
}
