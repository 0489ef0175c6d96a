package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sandbar-io/sandbar/tools/internal/process"
)

// NATSServer is one server of NATS.
type NATSServer struct {
	Name    string // nats, or nats-0 to nats-2
	Port    int
	Monitor int      // the port where it tells its own figures, and its health
	Routes  int      // the port for the other servers; 0: it is alone
	Dials   []string // its routes to them
}

// routes is whom servers of NATS are to each other.
const routes = "route"

func (o *Options) settleNATS() error {
	config := "nats.conf"
	switch o.NATSServers {
	case 0:
		o.NATSServers = 1
	case 1:
	case 3:
		config = "cluster.conf"
	default:
		return fmt.Errorf("NATS_SERVERS=%d is neither 1 nor 3", o.NATSServers)
	}
	if o.NATSConfig == "" {
		o.NATSConfig = filepath.Join(o.Repo, "deploy", "nats", config)
	}
	return nil
}

func (s *Stack) planNATS() error {
	var urls []string
	for i := range s.NATSServers {
		n := &NATSServer{Name: "nats"}
		var err error
		if n.Port, err = port(s.NATSPort, i); err != nil {
			return err
		}
		if n.Monitor, err = port(0, 0); err != nil {
			return err
		}
		if s.NATSServers > 1 {
			n.Name = instance("nats", i)
			if n.Routes, err = port(0, 0); err != nil {
				return err
			}
		}
		s.NATS = append(s.NATS, n)
		urls = append(urls, "nats://"+loopback(n.Port))
	}
	s.NATSPort, s.NATSURL = s.NATS[0].Port, strings.Join(urls, ",")
	for i, from := range s.NATS {
		for j, to := range s.NATS {
			if i == j {
				continue
			}
			address, err := loopback(to.Routes), error(nil)
			if s.Route != nil {
				if address, err = s.Route(i, j, address); err != nil {
					return fmt.Errorf("the route from %s to %s: %w", from.Name, to.Name, err)
				}
			}
			from.Dials = append(from.Dials, address)
		}
	}
	return nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// NATSNames lists the servers of NATS.
func (s *Stack) NATSNames() []string {
	var names []string
	for _, n := range s.NATS {
		names = append(names, n.Name)
	}
	return names
}

// NATSStore is where a server keeps its streams.
func (s *Stack) NATSStore(name string) string { return filepath.Join(s.Dir, name) }

// StartNATS starts the servers of NATS that do not run, and waits until they take
// connections.
func (s *Stack) StartNATS(ctx context.Context) error {
	started := map[*NATSServer]*process.Process{}
	for _, n := range s.NATS {
		if s.Running(n.Name) {
			continue
		}
		p, err := s.startNATS(n)
		if err != nil {
			return err
		}
		started[n] = p
	}
	for n, p := range started {
		if err := s.listens(ctx, n, p); err != nil {
			return err
		}
	}
	return nil
}

// StartNATSServer starts one server, and waits until it takes connections.
func (s *Stack) StartNATSServer(ctx context.Context, name string) error {
	for _, n := range s.NATS {
		if n.Name == name {
			p, err := s.startNATS(n)
			if err != nil {
				return err
			}
			return s.listens(ctx, n, p)
		}
	}
	return fmt.Errorf("no server of NATS is %s", name)
}

func (s *Stack) startNATS(n *NATSServer) (*process.Process, error) {
	if err := os.MkdirAll(s.NATSStore(n.Name), 0o755); err != nil {
		return nil, fmt.Errorf("make the store of %s: %w", n.Name, err)
	}
	env := []string{
		"NATS_HOST=127.0.0.1", "NATS_PORT=" + strconv.Itoa(n.Port), "NATS_STORE_DIR=" + s.NATSStore(n.Name),
		"NATS_MONITOR_PORT=" + strconv.Itoa(n.Monitor),
	}
	for _, u := range Users {
		env = append(env, "NATS_"+strings.ToUpper(u)+"_PASSWORD="+s.Secrets.NATS[u])
	}
	if n.Routes != 0 {
		env = append(env, s.routes(n)...)
	}
	return s.table.Start(process.Command{
		Name: n.Name, Path: filepath.Join(s.bin(), "natsserver"), Env: env, Argv: []string{s.NATSConfig},
	})
}

// routes is what a server knows of the others. Where something stands between
// them it is told to nobody where it listens: each server tells the others of
// all, and they would dial it past that.
func (s *Stack) routes(n *NATSServer) []string {
	password := s.Secrets.NATS[routes]
	var dials []string
	for _, address := range n.Dials {
		dials = append(dials, strconv.Quote("nats://"+routes+":"+password+"@"+address))
	}
	advertised := loopback(n.Routes)
	if s.Route != nil {
		advertised = loopback(discard)
	}
	return []string{
		"NATS_NAME=" + n.Name, "NATS_ROUTE_PORT=" + strconv.Itoa(n.Routes), "NATS_ROUTE_PASSWORD=" + password,
		"NATS_ROUTE_ADVERTISE=" + strconv.Quote(advertised), "NATS_ROUTES=[" + strings.Join(dials, ", ") + "]",
	}
}

// discard is a port on which nobody listens.
const discard = 9

// WaitNATS waits until a server's copies of all streams have caught up.
func (s *Stack) WaitNATS(ctx context.Context, name string) error {
	for _, n := range s.NATS {
		if n.Name == name && n.Routes != 0 {
			return s.until(ctx, nil, func() error { return get(ctx, "http://"+loopback(n.Monitor)+"/healthz") })
		}
	}
	return fmt.Errorf("no server of three is %s", name)
}

func (s *Stack) listens(ctx context.Context, n *NATSServer, p *process.Process) error {
	return s.until(ctx, p, func() error {
		c, err := net.DialTimeout("tcp", loopback(n.Port), time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
}

// WipeNATS removes all that these servers have stored, or all servers. They must
// not run.
func (s *Stack) WipeNATS(names ...string) error {
	if len(names) == 0 {
		names = s.NATSNames()
	}
	for _, name := range names {
		if s.Running(name) {
			return errors.New(name + " runs")
		}
		if err := os.RemoveAll(s.NATSStore(name)); err != nil {
			return fmt.Errorf("wipe %s: %w", name, err)
		}
	}
	return nil
}
