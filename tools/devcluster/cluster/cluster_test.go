package cluster_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sandbar-io/sandbar/tools/devcluster/cluster"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestNodeConfigs(t *testing.T) {
	t.Parallel()
	for name, got := range cluster.NodeConfigs("/clone/.sandbar/cluster", 3, 2) {
		golden := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs from %s (-update writes it):\n%s", name, golden, got)
		}
		switch filepath.Ext(name) {
		case ".yaml":
			if err := yaml.Unmarshal([]byte(got), &map[string]any{}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case ".json":
			if !json.Valid([]byte(got)) {
				t.Errorf("%s is not JSON", name)
			}
		}
	}
}

func TestStagesAreYAML(t *testing.T) {
	t.Parallel()
	var kinds []string
	for _, document := range bytes.Split(cluster.Stages(), []byte("\n---\n")) {
		var stage struct{ Kind string }
		if err := yaml.Unmarshal(document, &stage); err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, stage.Kind)
	}
	if !slices.Equal(kinds, []string{"Stage", "Stage", "Stage"}) {
		t.Errorf("kinds %v", kinds)
	}
}

func TestInstancesDoNotOverlap(t *testing.T) {
	t.Parallel()
	var all []netip.Prefix
	for i := range 10 {
		for _, text := range cluster.Ranges(i) {
			next := netip.MustParsePrefix(text)
			for _, other := range all {
				if next.Overlaps(other) {
					t.Errorf("%s of instance %d overlaps %s", next, i, other)
				}
			}
			all = append(all, next)
		}
	}
}

func TestSocketPathsAreShortEnough(t *testing.T) {
	t.Parallel()
	const most = 107 // bytes of sun_path without its NUL
	for _, path := range cluster.Sockets(9, 9) {
		if len(path) > most {
			t.Errorf("%s has %d bytes", path, len(path))
		}
	}
}

func TestSettle(t *testing.T) {
	t.Parallel()
	whole := cluster.Options{Dir: "d", Nodes: cluster.Both, RealNodes: 2, SimulatedNodes: 4, KubeProxy: true}
	for _, c := range []struct {
		name            string
		change          func(*cluster.Options)
		real, simulated int
		proxy           bool
		wrong           string
	}{
		{"both", func(*cluster.Options) {}, 2, 4, true, ""},
		{"real", func(o *cluster.Options) { o.Nodes = cluster.Real }, 2, 0, true, ""},
		{"simulated has no kube-proxy", func(o *cluster.Options) { o.Nodes = cluster.Simulated }, 0, 4, false, ""},
		{"control plane only", func(o *cluster.Options) { o.ControlPlaneOnly = true }, 0, 0, false, ""},
		{"unknown nodes", func(o *cluster.Options) { o.Nodes = "some" }, 0, 0, false, "some"},
		{"instance", func(o *cluster.Options) { o.Instance = 10 }, 0, 0, false, "instance 10"},
		{"too many nodes", func(o *cluster.Options) { o.RealNodes = 10 }, 0, 0, false, "10 real nodes"},
		{"no folder", func(o *cluster.Options) { o.Dir = "" }, 0, 0, false, "folder"},
		{"all at once", func(o *cluster.Options) { o.Instance, o.Nodes = -1, "x" }, 0, 0, false, `"x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := whole
			c.change(&o)
			err := o.Settle()
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) {
					t.Fatalf("error %v, want one about %s", err, c.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if o.RealNodes != c.real || o.SimulatedNodes != c.simulated || o.KubeProxy != c.proxy {
				t.Errorf("got %d real, %d simulated, kube-proxy %v", o.RealNodes, o.SimulatedNodes, o.KubeProxy)
			}
			if !filepath.IsAbs(o.Dir) {
				t.Errorf("folder %s is not absolute", o.Dir)
			}
		})
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	got := cluster.Describe(cluster.Options{Dir: "/c", Instance: 1, Nodes: cluster.Both, RealNodes: 2, SimulatedNodes: 1})
	if got.HostIP != "10.200.1.1" || got.Registry != "10.200.1.1:5000" || got.DNS != "10.200.1.1:53" {
		t.Errorf("addresses %s %s %s", got.HostIP, got.Registry, got.DNS)
	}
	if !slices.Equal(got.PodCIDRs, []string{"10.101.1.0/24", "10.101.2.0/24", "10.121.0.0/16"}) {
		t.Errorf("pod ranges %v", got.PodCIDRs)
	}
	if !slices.Equal(got.Nodes, []string{"node1", "node2", "simulated1"}) || !slices.Equal(got.RealNodes, []string{"node1", "node2"}) {
		t.Errorf("nodes %v, real %v", got.Nodes, got.RealNodes)
	}
}

func TestLoadWithoutACluster(t *testing.T) {
	t.Parallel()
	if _, err := cluster.Load(t.TempDir()); !errors.Is(err, cluster.ErrDown) {
		t.Errorf("error %v, want ErrDown", err)
	}
}

// A folder that never held a cluster may hold somebody's work.
func TestDownTouchesNothingForeign(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"etcd", "volumes", "notes"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var said []string
	for range 2 { // twice is fine
		o := cluster.Options{Dir: dir, Instance: 9, Nodes: cluster.Simulated, Log: func(f string, _ ...any) { said = append(said, f) }}
		if err := cluster.Down(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("left %v, %v", entries, err)
	}
	if !slices.Equal(said, []string{"down, nothing left", "down, nothing left"}) {
		t.Errorf("said %q", said)
	}
}

func TestTogetherEndsTheOthersAtTheFirstError(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	err := cluster.Together(t.Context(),
		func(ctx context.Context) error {
			return cluster.Until(ctx, "the impossible", nil, func(context.Context) error { return errors.New("no") })
		},
		func(context.Context) error { return broken },
	)
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want the first one", err)
	}
}

func TestUntilAsksAgain(t *testing.T) {
	t.Parallel()
	asked := 0
	err := cluster.Until(t.Context(), "it", nil, func(context.Context) error {
		if asked++; asked < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil || asked != 3 {
		t.Errorf("asked %d times, %v", asked, err)
	}
}
