package main

import (
	"os"
	"time"

	"github.com/sandbar-io/sandbar/tools/testrun/internal/phase"
)

// apiserverDir is the control plane of the phase apiserver. Its instance is one
// that neither `make up` (0) nor the testbed (1) has, so that all can run at once.
const (
	apiserverDir      = ".sandbar/test/apiserver"
	apiserverInstance = "2"
	// The same of the phase robustness.
	robustnessDir      = ".sandbar/test/robustness"
	robustnessInstance = "4"
)

// robustnessGrace is for the last fault to be healed, and the processes to be ended.
const robustnessGrace = 90 * time.Second

// robustnessLimit is what SANDBAR_DURATION asks for, and twelve minutes: to build
// and start, to heal the last fault, to wait until what was stopped is forgotten.
func robustnessLimit(duration string) time.Duration {
	d, err := time.ParseDuration(duration)
	if err != nil { // empty, or the test says what is wrong with it
		d = 3 * time.Minute
	}
	return d + 12*time.Minute
}

// walkLimit is for a module whose tests walk all failpoints, or all pairs of them.
func walkLimit(pairs string) time.Duration {
	if pairs == "" {
		return 10 * time.Minute
	}
	return time.Hour
}

// phases is what `make test` is made of, in order: what fails fast first.
func phases() []phase.Phase {
	return []phase.Phase{
		{
			Name: "unit",
			What: "unit tests of every module under the race detector",
			Tests: []phase.Tests{
				{Module: "pkg", Flags: []string{"-race"}, Timeout: 10 * time.Minute},
				{Module: "services/gateway", Flags: []string{"-race"}, Timeout: 10 * time.Minute},
				{Module: "services/provisioner", Flags: []string{"-race"}, Timeout: 10 * time.Minute},
				{Module: "services/watcher", Flags: []string{"-race"}, Timeout: 10 * time.Minute},
				{Module: "services/router", Flags: []string{"-race"}, Timeout: 10 * time.Minute},
				// Never from the cache: the checks look at files and builds of other
				// modules, of which the cache knows nothing.
				{Module: "tools", Flags: []string{"-race", "-count=1"}, Timeout: 20 * time.Minute},
			},
		},
		{
			Name:  "apiserver",
			What:  "adapters against a real kube-apiserver",
			Given: "SANDBAR_TEST_KUBECONFIG",
			Setup: []phase.Command{{
				// Cold, this builds Kubernetes: 15 minutes on two cores.
				Name: "control plane up", Dir: "tools", Timeout: 40 * time.Minute,
				Args: []string{
					"go", "run", "./devcluster", "up", "-control-plane-only",
					"-dir", "../" + apiserverDir, "-instance", apiserverInstance,
				},
			}},
			Teardown: []phase.Command{{
				Name: "control plane down", Dir: "tools", Timeout: 2 * time.Minute,
				Args: []string{"go", "run", "./devcluster", "down", "-dir", "../" + apiserverDir, "-instance", apiserverInstance},
			}},
			Env: []string{"SANDBAR_TEST_KUBECONFIG=${REPO}/" + apiserverDir + "/kubeconfig"},
			Tests: []phase.Tests{
				{Module: "pkg", Tags: "apiserver", Flags: []string{"-count=1"}, Timeout: 10 * time.Minute},
				{Module: "services/provisioner", Tags: "apiserver,failpoints", Flags: []string{"-count=1"}, Timeout: walkLimit(os.Getenv("SANDBAR_WALK_PAIRS"))},
				{Module: "services/watcher", Tags: "apiserver,failpoints", Flags: []string{"-count=1"}, Timeout: walkLimit(os.Getenv("SANDBAR_WALK_PAIRS"))},
			},
		},
		{
			Name:  "system",
			What:  "the whole system: real processes, a real node, real containers",
			Given: "SANDBAR_ENV",
			Setup: []phase.Command{{
				Name: "testbed up", Dir: "tools", Timeout: 40 * time.Minute,
				Args: []string{"go", "run", "./devstack", "testbed", "up"},
			}},
			Teardown: []phase.Command{{
				Name: "testbed down", Dir: "tools", Timeout: 3 * time.Minute,
				Args: []string{"go", "run", "./devstack", "testbed", "down"},
			}},
			// Only where to read: the file itself holds API keys.
			Env: []string{"SANDBAR_ENV=${REPO}/.sandbar/test/env"},
			// One package after the other: they share one node. Those of the contract wait
			// most of the time, for a sandbox or a clock.
			Tests: []phase.Tests{
				{Module: "tools", Packages: []string{"./conformance/..."}, Tags: "system", Flags: []string{"-count=1", "-p=1", "-parallel=3"}, Timeout: 30 * time.Minute},
				{Module: "tools", Packages: []string{"./system/...", "./deploytest/...", "./loadgen/..."}, Tags: "system", Flags: []string{"-count=1", "-p=1"}, Timeout: 40 * time.Minute},
			},
		},
		{
			Name:  "robustness",
			What:  "random requests and random faults on simulated nodes, judged by a model",
			Given: "SANDBAR_ROBUSTNESS_CLUSTER",
			Setup: []phase.Command{{
				Name: "simulated cluster up", Dir: "tools", Timeout: 40 * time.Minute,
				Args: []string{
					"go", "run", "./devcluster", "up", "-nodes", "simulated", "-simulated-nodes", "6",
					"-dir", "../" + robustnessDir, "-instance", robustnessInstance,
				},
			}},
			Teardown: []phase.Command{{
				Name: "simulated cluster down", Dir: "tools", Timeout: 2 * time.Minute,
				Args: []string{"go", "run", "./devcluster", "down", "-dir", "../" + robustnessDir, "-instance", robustnessInstance},
			}},
			Env: []string{"SANDBAR_ROBUSTNESS_CLUSTER=${REPO}/" + robustnessDir},
			Tests: []phase.Tests{
				{
					Module: "tools", Packages: []string{"./robustness/..."}, Tags: "robustness", Flags: []string{"-count=1"},
					Timeout: robustnessLimit(os.Getenv("SANDBAR_DURATION")), Grace: robustnessGrace,
				},
			},
		},
		{
			Name:  "openhands",
			What:  "the published OpenHands clients, with the published agent server in a real node's containers",
			Given: "SANDBAR_OPENHANDS_ENV",
			Setup: []phase.Command{{
				// Cold, this builds Kubernetes, and a Debian with the packages: 4 minutes more.
				Name: "openhands up", Dir: "tools", Timeout: 50 * time.Minute,
				Args: []string{"go", "run", "./openhands", "up"},
			}},
			Teardown: []phase.Command{{
				Name: "openhands down", Dir: "tools", Timeout: 3 * time.Minute,
				Args: []string{"go", "run", "./openhands", "down"},
			}},
			Env: []string{"SANDBAR_OPENHANDS_ENV=${REPO}/.sandbar/openhands/env"},
			// -parallel: the clients wait most of the time, for seconds between two looks.
			Tests: []phase.Tests{
				{Module: "tools", Packages: []string{"./openhands/..."}, Tags: "openhands", Flags: []string{"-count=1", "-parallel=4"}, Timeout: 40 * time.Minute},
			},
		},
	}
}
