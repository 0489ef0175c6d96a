// Package names is the cluster's DNS server: the wildcard under the base domain
// and the Services of the cluster. Everything else does not exist, at once, so
// that a resolver's search list costs nothing.
package names

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// ttl of all answers, in seconds. Services come and go within a test.
const ttl = 5

// Services knows the addresses behind service names.
type Services interface {
	// Lookup is the addresses of a service, or of one named endpoint of it.
	// It reports false when there is no such name.
	Lookup(namespace, service, endpoint string) ([]netip.Addr, bool)
}

// Resolver answers questions.
type Resolver struct {
	Base     string     // the wildcard's domain, as in sandbar.localhost
	Host     netip.Addr // what every name under Base resolves to
	Services Services
}

const serviceSuffix = ".svc.cluster.local"

// Answer makes the reply to a request.
func (r Resolver) Answer(request *dns.Msg) *dns.Msg {
	reply := new(dns.Msg)
	reply.SetReply(request)
	reply.Authoritative, reply.RecursionAvailable = true, true
	if len(request.Question) != 1 {
		reply.Rcode = dns.RcodeFormatError
		return reply
	}
	question := request.Question[0]
	addresses, exists := r.resolve(strings.ToLower(strings.TrimSuffix(question.Name, ".")))
	if !exists {
		reply.Rcode = dns.RcodeNameError
		return reply
	}
	if question.Qtype != dns.TypeA && question.Qtype != dns.TypeANY {
		return reply // the name exists, but has no record of that type
	}
	for _, a := range addresses {
		reply.Answer = append(reply.Answer, &dns.A{
			Hdr: dns.RR_Header{Name: question.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl},
			A:   a.AsSlice(),
		})
	}
	return reply
}

func (r Resolver) resolve(name string) ([]netip.Addr, bool) {
	if name == r.Base || strings.HasSuffix(name, "."+r.Base) {
		return []netip.Addr{r.Host}, true
	}
	short, ok := strings.CutSuffix(name, serviceSuffix)
	if !ok {
		return nil, false
	}
	labels := strings.Split(short, ".")
	switch len(labels) {
	case 2:
		return r.Services.Lookup(labels[1], labels[0], "")
	case 3:
		return r.Services.Lookup(labels[2], labels[1], labels[0])
	}
	return nil, false
}

// Sockets are a bound pair of a UDP and a TCP socket on the same port.
type Sockets struct {
	packets net.PacketConn
	streams net.Listener
}

// Listen binds both.
func Listen(address string) (*Sockets, error) {
	packets, err := net.ListenPacket("udp", address)
	if err != nil {
		return nil, fmt.Errorf("dns: %w", err)
	}
	streams, err := net.Listen("tcp", packets.LocalAddr().String())
	if err != nil {
		packets.Close()
		return nil, fmt.Errorf("dns: %w", err)
	}
	return &Sockets{packets, streams}, nil
}

// Addr is host:port of both.
func (s *Sockets) Addr() string { return s.packets.LocalAddr().String() }

// Close closes both.
func (s *Sockets) Close() {
	s.packets.Close()
	s.streams.Close()
}

// Serve answers until the context ends, and closes the sockets.
func (r Resolver) Serve(ctx context.Context, sockets *Sockets) error {
	defer sockets.Close()
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, request *dns.Msg) {
		reply := r.Answer(request)
		if w.LocalAddr().Network() == "udp" {
			size := dns.MinMsgSize
			if edns := request.IsEdns0(); edns != nil {
				size = max(size, int(edns.UDPSize()))
			}
			reply.Truncate(size)
		}
		_ = w.WriteMsg(reply) // a client that went away asks again
	})
	servers := []*dns.Server{
		{PacketConn: sockets.packets, Handler: handler},
		{Listener: sockets.streams, Handler: handler},
	}
	ended := make(chan error, len(servers))
	for _, s := range servers {
		go func() { ended <- s.ActivateAndServe() }()
	}
	var first error
	left := len(servers)
	select {
	case <-ctx.Done():
	case first = <-ended:
		left--
	}
	const drain = time.Second // answers take microseconds
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	for _, s := range servers {
		_ = s.ShutdownContext(stop) // one that has ended cannot be shut down again
	}
	sockets.Close()
	for ; left > 0; left-- {
		<-ended //nolint:errcheck // the first error is kept
	}
	if first != nil && !errors.Is(first, net.ErrClosed) {
		return fmt.Errorf("dns: %w", first)
	}
	return nil
}
