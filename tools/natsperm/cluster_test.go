package natsperm_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
)

const clusterFile = "../../deploy/nats/cluster.conf"

// TestThreeServers: three servers of cluster.conf find each other, the users have
// their rights on each, and every stream stands on all three.
func TestThreeServers(t *testing.T) {
	urls, servers := startThree(t)
	connect := func(user string) *natsx.Conn {
		c, err := natsx.Connect(user, natsx.Config{URL: urls, Password: password(user), Replicas: 3}, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	watcher, provisioner := connect("watcher"), connect("provisioner")
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, err := provisioner.EnsureCommands(t.Context())
		if err == nil {
			err = watcher.EnsureViews(t.Context())
		}
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the streams cannot be made: %v", err)
		}
	}
	for stream, owner := range map[string]*natsx.Conn{
		contract.CommandStream: provisioner, contract.DeadStream: provisioner,
		contract.ViewStream: watcher, contract.ActivityStream: watcher, contract.EventStream: watcher,
	} {
		s, err := owner.JS.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		if i := s.CachedInfo(); i.Config.Replicas != 3 || i.Cluster == nil || len(i.Cluster.Replicas) != 2 {
			t.Errorf("%s: %d replicas, %+v", stream, i.Config.Replicas, i.Cluster)
		}
	}
	for _, s := range servers {
		for _, user := range services {
			c, err := natsx.Connect(user, natsx.Config{URL: s.ClientURL(), Password: password(user), Replicas: 3}, zap.NewNop())
			if err != nil {
				t.Fatal(err)
			}
			if !c.IsConnected() || c.ConnectedServerName() != s.Name() {
				t.Errorf("%s at %s: %v, connected to %q", user, s.Name(), c.LastError(), c.ConnectedServerName())
			}
			c.Close()
		}
	}
}

// startThree runs three servers of cluster.conf.
func startThree(t *testing.T) (urls string, servers []*natstest.Server) {
	t.Helper()
	var dials []string
	var ports []int
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // all three are different
		address, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			t.Fatal(l.Addr())
		}
		ports = append(ports, address.Port)
		dials = append(dials, fmt.Sprintf(`"nats://route:p0route@127.0.0.1:%d"`, address.Port))
		l.Close()
	}
	var all []string
	for i, port := range ports {
		for k, v := range map[string]string{
			"NATS_NAME": fmt.Sprint("nats-", i), "NATS_MONITOR_PORT": "-1", "NATS_ROUTE_PORT": strconv.Itoa(port), "NATS_ROUTE_PASSWORD": "p0route",
			"NATS_ROUTE_ADVERTISE": fmt.Sprintf(`"127.0.0.1:%d"`, port), "NATS_ROUTES": "[" + strings.Join(dials, ",") + "]",
		} {
			t.Setenv(k, v)
		}
		opts, err := server.ProcessConfigFile(clusterFile)
		if err != nil {
			t.Fatal(err)
		}
		if opts.Cluster.Username != "route" || opts.Cluster.Password != "p0route" {
			t.Fatal("routes need no password, and whoever has one may do everything")
		}
		opts.StoreDir = "" // one of its own
		s := natstest.Start(t, *opts)
		servers, all = append(servers, s), append(all, s.ClientURL())
	}
	return strings.Join(all, ","), servers
}
