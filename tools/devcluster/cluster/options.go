// Package cluster brings a real Kubernetes up on one machine, and takes it down
// again without a trace.
package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
)

// Nodes is what kind of nodes a cluster has.
type Nodes string

// The kinds of nodes.
const (
	Real      Nodes = "real"
	Simulated Nodes = "simulated"
	Both      Nodes = "both"
)

// Options is what a cluster is to be.
type Options struct {
	Dir      string // its folder; ends up absolute
	Instance int    // 0 to 9: clusters of different instances live side by side
	Nodes    Nodes
	// RealNodes and SimulatedNodes are counts, used as far as Nodes asks for them.
	RealNodes        int
	SimulatedNodes   int
	KubeProxy        bool // Services reachable on their cluster IPs, from pods and from the host
	ControlPlaneOnly bool // etcd, API server and controller manager; no nodes, no scheduler
	BaseDomain       string
	Log              func(format string, a ...any) // nil means standard output
}

// Defaults reads the environment: SANDBAR_CLUSTER_DIR, SANDBAR_INSTANCE, NODES
// and BASE_DOMAIN.
func Defaults() (Options, error) {
	o := Options{
		Dir:            filepath.Join(".sandbar", "cluster"),
		Nodes:          Simulated,
		RealNodes:      1,
		SimulatedNodes: 4,
		BaseDomain:     "sandbar.localhost",
	}
	if capable() {
		o.Nodes = Real
	}
	if v := os.Getenv("SANDBAR_CLUSTER_DIR"); v != "" {
		o.Dir = v
	}
	if v := os.Getenv("NODES"); v != "" {
		o.Nodes = Nodes(v)
	}
	if v := os.Getenv("BASE_DOMAIN"); v != "" {
		o.BaseDomain = v
	}
	if v := os.Getenv("SANDBAR_INSTANCE"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			return o, fmt.Errorf("SANDBAR_INSTANCE=%q is not a number", v)
		}
		o.Instance = n
	}
	return o, nil
}

// capable reports whether real nodes can run at all.
func capable() bool { return runtime.GOOS == "linux" && os.Geteuid() == 0 }

// settle checks the options and makes them definite.
func (o *Options) settle() error {
	var wrong []error
	if o.Instance < 0 || o.Instance > 9 {
		wrong = append(wrong, fmt.Errorf("instance %d is not within 0 and 9", o.Instance))
	}
	switch o.Nodes {
	case Real:
		o.SimulatedNodes = 0
	case Simulated:
		o.RealNodes = 0
	case Both:
	default:
		wrong = append(wrong, fmt.Errorf("NODES=%q is none of real, simulated, both", o.Nodes))
	}
	if o.ControlPlaneOnly {
		o.RealNodes, o.SimulatedNodes, o.KubeProxy = 0, 0, false
	}
	const most = 9 // a node's number is one digit of its address
	if o.RealNodes < 0 || o.RealNodes > most {
		wrong = append(wrong, fmt.Errorf("%d real nodes: at most %d", o.RealNodes, most))
	}
	if o.RealNodes == 0 {
		o.KubeProxy = false // it runs on real nodes
	}
	if o.Dir == "" {
		wrong = append(wrong, errors.New("no folder for the cluster"))
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		wrong = append(wrong, err)
	}
	o.Dir = dir
	if o.BaseDomain == "" {
		o.BaseDomain = "sandbar.localhost"
	}
	return errors.Join(wrong...)
}

func (o *Options) say(format string, a ...any) {
	if o.Log != nil {
		o.Log(format, a...)
		return
	}
	fmt.Printf("devcluster: "+format+"\n", a...)
}
