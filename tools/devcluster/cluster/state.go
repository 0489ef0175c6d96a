package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sandbar-io/sandbar/tools/internal/process"
)

// State is what others need to know of a running cluster: DIR/cluster.json.
type State struct {
	Instance    int      `json:"instance"`
	HostIP      string   `json:"host_ip"`
	APIServer   string   `json:"api_server"`
	Registry    string   `json:"registry"`
	DNS         string   `json:"dns"`
	BaseDomain  string   `json:"base_domain"`
	ServiceCIDR string   `json:"service_cidr"`
	PodCIDRs    []string `json:"pod_cidrs"`
	// Nodes are all node names; RealNodes those that run containers.
	Nodes      []string `json:"nodes"`
	RealNodes  []string `json:"real_nodes"`
	KubeProxy  bool     `json:"kube_proxy"`
	Kubeconfig string   `json:"kubeconfig"`
	ResolvConf string   `json:"resolv_conf"` // for a client in a network namespace of its own
	Bin        string   `json:"bin"`         // folder of kubernetes and etcd

	dir string
}

// ErrDown says that no cluster runs there.
var ErrDown = errors.New("no cluster is up there")

// Load reads the state of the cluster in dir. It is ErrDown when up never ended
// well there, or down came after.
func Load(dir string) (*State, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("cluster state: %w", err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "cluster.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrDown)
	} else if err != nil {
		return nil, fmt.Errorf("cluster state: %w", err)
	}
	s := &State{dir: dir}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("cluster state: %w", err)
	}
	return s, nil
}

// Pid is the running process of one program of the cluster, as in etcd,
// kube-apiserver, node1-kubelet. Tests freeze and kill by it.
func (s *State) Pid(program string) (int, error) {
	id, err := s.table().Find(program)
	return id.Pid, err
}

// Kill ends a program of the control plane without ceremony; again starts it as it
// was.
func (s *State) Kill(program string) (again func() error, err error) {
	id, err := s.table().Find(program)
	if err != nil {
		return nil, err
	}
	c, err := id.Command()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	c.Name = program
	const limit = 10 * time.Second
	if left := process.Kill([]process.Identity{id}, limit); len(left) > 0 {
		return nil, fmt.Errorf("%s does not go: %s", program, id.Describe())
	}
	return func() error {
		_, err := s.table().Start(c)
		return err
	}, nil
}

func (s *State) table() process.Table {
	return process.Table{Pids: filepath.Join(s.dir, "pid"), Logs: filepath.Join(s.dir, "log"), Mark: s.dir}
}

// Netns is the path of a real node's network namespace.
func (s *State) Netns(nodeName string) string {
	return filepath.Join(netnsFolder, fmt.Sprintf("sbr%d-%s", s.Instance, nodeName))
}

func (l layout) describe(o Options, bin string) State {
	s := State{
		Instance: l.Instance, HostIP: l.host().String(), APIServer: l.apiURL(),
		Registry: l.at(registryPort), DNS: l.at(l.dnsPort()), BaseDomain: o.BaseDomain,
		ServiceCIDR: l.serviceCIDR(), KubeProxy: o.KubeProxy, Kubeconfig: l.kubeconfig(),
		ResolvConf: l.path("resolv.conf"), Bin: bin,
		PodCIDRs: []string{}, Nodes: []string{}, RealNodes: []string{}, dir: l.Dir,
	}
	for _, n := range l.nodes(o.RealNodes) {
		s.PodCIDRs = append(s.PodCIDRs, n.pods())
		s.Nodes = append(s.Nodes, n.name())
		s.RealNodes = append(s.RealNodes, n.name())
	}
	if o.SimulatedNodes > 0 {
		s.PodCIDRs = append(s.PodCIDRs, l.simulatedCIDR())
	}
	for i := range o.SimulatedNodes {
		s.Nodes = append(s.Nodes, simulatedName(i))
	}
	return s
}

// begun is DIR/begun.json, written before anything else, so that down knows what
// an up that never ended was about to make.
type begun struct {
	Layout  layout  `json:"layout"`
	Options options `json:"options"`
}

// options are the Options that decide what a running cluster is.
type options struct {
	Nodes            Nodes  `json:"nodes"`
	RealNodes        int    `json:"real_nodes"`
	SimulatedNodes   int    `json:"simulated_nodes"`
	KubeProxy        bool   `json:"kube_proxy"`
	ControlPlaneOnly bool   `json:"control_plane_only"`
	BaseDomain       string `json:"base_domain"`
}

func (o Options) essence() options {
	return options{o.Nodes, o.RealNodes, o.SimulatedNodes, o.KubeProxy, o.ControlPlaneOnly, o.BaseDomain}
}

func readBegun(dir string) (begun, error) {
	var b begun
	raw, err := os.ReadFile(filepath.Join(dir, "begun.json"))
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(raw, &b); err != nil {
		return b, fmt.Errorf("%s: %w", filepath.Join(dir, "begun.json"), err)
	}
	return b, nil
}

func writeJSON(path string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	// Renamed into place: whoever waits for the file never reads half of it.
	if err := os.WriteFile(path+".new", append(raw, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
