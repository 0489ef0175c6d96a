package checks_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/checks"
)

const (
	sandboxPackages  = checks.Ours + "pkg/sandbox/..."
	contractPackages = checks.Ours + "pkg/contract/..."
	natsServer       = "github.com/nats-io/nats-server/"
	natsClient       = "github.com/nats-io/"
	kubernetes       = "k8s.io/"
	natsTest         = checks.Ours + "pkg/natsx/natstest" // servers for tests
)

func TestArrowsOfPkg(t *testing.T) {
	t.Parallel()
	modules, _ := load(t)
	for _, m := range modules {
		if m.Dir != "pkg" || !m.HasGo {
			continue
		}
		graph := list(t, m, "./...")
		for _, arrow := range []checks.Arrow{
			{
				From:   []string{sandboxPackages},
				Never:  func(p checks.Package) bool { return !p.Standard && !checks.Under(checks.Ours+"pkg/sandbox")(p) },
				Reason: "pkg/sandbox holds decisions and nouns, and imports the standard library only: they are tested without any driver",
			},
			{
				From:   []string{contractPackages},
				Never:  checks.Under(natsClient),
				Reason: "pkg/contract says what is on the bus, not how it gets there: whoever speaks the contract need not link our client",
			},
			{
				From:   []string{contractPackages},
				Never:  checks.Under(kubernetes),
				Reason: "the gateway and the router link pkg/contract, and no k8s.io",
			},
			{
				From:   []string{checks.Ours + "pkg/..."},
				Never:  checks.Under(checks.Ours+"services/", checks.Ours+"tools/"),
				Reason: "arrows go from the services to pkg, never back",
			},
			{
				From:   all(graph, checks.Ours+"pkg/", natsTest),
				Never:  checks.Under(natsServer),
				Reason: "the server is for tests and tools; what pkg links every service links",
			},
		} {
			report(t, graph.Check(arrow))
		}
	}
}

// all lists the packages under a path but one, which tests only may import.
func all(graph checks.Graph, under, but string) (paths []string) {
	for path := range graph {
		if strings.HasPrefix(path, under) && path != but {
			paths = append(paths, path)
		}
	}
	return paths
}

func TestArrowsOfServices(t *testing.T) {
	t.Parallel()
	modules, _ := load(t)
	for _, m := range modules {
		if !m.Service() || !m.HasGo {
			continue
		}
		t.Run(m.Name(), func(t *testing.T) {
			t.Parallel()
			name := filepath.Base(m.Dir)
			if _, err := os.Stat(filepath.Join(m.Path(), "cmd", name, "main.go")); err != nil {
				t.Errorf("every service has its binary in cmd/%s: %v", name, err)
			}
			graph := list(t, m, "./...")
			all := []string{checks.Ours + m.Dir + "/..."}
			own := checks.Under(checks.Ours + m.Dir + "/")
			report(t, graph.Check(checks.Arrow{
				From: all,
				Never: func(p checks.Package) bool {
					return checks.Under(checks.Ours+"services/", checks.Ours+"tools/")(p) && !own(p)
				},
				Reason: "services never import each other, nor tools: they meet on the bus, and what two share lies in pkg",
			}))
			// What only tests import, a package that helps them included, is not linked.
			report(t, graph.Check(checks.Arrow{
				From: []string{checks.Ours + m.Dir + "/cmd/..."}, Never: checks.Under(natsServer),
				Reason: "no service carries a NATS server: it would be linked, scanned and shipped for nothing",
			}))
			if name == "gateway" || name == "router" {
				report(t, graph.Check(checks.Arrow{
					From: all, Never: checks.Under(kubernetes),
					Reason: "this service faces the outside and has no right in Kubernetes; without a client it cannot get one",
				}))
			}
		})
	}
}

func list(t *testing.T, m checks.Module, patterns ...string) checks.Graph {
	t.Helper()
	graph, err := checks.List(t.Context(), m.Path(), patterns...)
	if err != nil {
		t.Fatal(err)
	}
	return graph
}
