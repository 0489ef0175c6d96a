package agent_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/agentstub/internal/agent"
)

func TestFromEnvPorts(t *testing.T) {
	t.Parallel()
	usual := agent.Ports{Agent: 60000, VSCode: 60001, Worker1: 12000, Worker2: 12001}
	with := func(change func(*agent.Ports)) agent.Ports {
		p := usual
		change(&p)
		return p
	}
	tests := map[string]struct {
		argv []string
		env  map[string]string
		want agent.Ports
	}{
		"nothing said": {[]string{"agentstub"}, nil, usual},
		"flag": {
			[]string{"/usr/local/bin/openhands-agent-server", "--port", "7000"}, nil,
			with(func(p *agent.Ports) { p.Agent = 7000 }),
		},
		"flag with equals sign, unknown flags around": {
			[]string{"python", "-m", "openhands.agent_server", "--host", "0.0.0.0", "--port=7001", "--reload"}, nil,
			with(func(p *agent.Ports) { p.Agent = 7001 }),
		},
		"V0's bare number": {
			[]string{"micromamba", "run", "-m", "openhands.runtime.action_execution_server", "7002", "--working-dir", "/x", "--user-id", "1000"}, nil,
			with(func(p *agent.Ports) { p.Agent = 7002 }),
		},
		"a flag's number is not the port": {[]string{"stub", "--user-id", "1000"}, nil, usual},
		"flag beats environment": {
			[]string{"stub", "--port", "7003"}, map[string]string{"AGENT_SERVER_PORT": "7004"},
			with(func(p *agent.Ports) { p.Agent = 7003 }),
		},
		"environment": {
			[]string{"stub"},
			map[string]string{"AGENT_SERVER_PORT": "1", "VSCODE_PORT": "2", "WORKER_1": "3", "WORKER_2": "4"},
			agent.Ports{Agent: 1, VSCode: 2, Worker1: 3, Worker2: 4},
		},
		"the other names": {
			[]string{"stub"}, map[string]string{"port": "1", "OH_VSCODE_PORT": "2"},
			agent.Ports{Agent: 1, VSCode: 2, Worker1: 12000, Worker2: 12001},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, err := agent.FromEnv(tt.argv, func(k string) string { return tt.env[k] })
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Ports != tt.want {
				t.Errorf("ports = %+v, want %+v", cfg.Ports, tt.want)
			}
		})
	}
}

func TestFromEnvFaults(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"STUB_CRASH_AFTER_MS": "0", "STUB_EXIT_CODE": "137", "STUB_HANG": "true", "STUB_EAT_MEMORY_MB": "3",
		"STUB_READY_AFTER_MS": "1500", "STUB_UNREADY_FILE": "/u", "STUB_CRASH_FILE": "/c", "STUB_NO_SERVER_INFO": "1",
		"STUB_EXIT_ON_TERM": "143",
	}
	cfg, err := agent.FromEnv([]string{"stub"}, func(k string) string { return env[k] })
	if err != nil {
		t.Fatal(err)
	}
	want := agent.Faults{
		Crash: true, ExitCode: 137, ExitOnTerm: 143, Hang: true, EatMemory: 3,
		ReadyAfter: 1500 * time.Millisecond, UnreadyIf: "/u", CrashFile: "/c", NoInfo: true,
	}
	if cfg.Faults != want {
		t.Errorf("faults = %+v, want %+v", cfg.Faults, want)
	}
}

func TestFromEnvNamesEveryProblem(t *testing.T) {
	t.Parallel()
	env := map[string]string{"WORKER_1": "x", "STUB_READY_AFTER_MS": "-1"}
	_, err := agent.FromEnv([]string{"stub", "--port", "y"}, func(k string) string { return env[k] })
	if err == nil {
		t.Fatal("no error")
	}
	for _, name := range []string{"WORKER_1", "STUB_READY_AFTER_MS", "--port"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("error %q does not name %s", err, name)
		}
	}
	if _, err := agent.FromEnv([]string{"stub", "--port"}, func(string) string { return "" }); err == nil {
		t.Error("--port without a number was taken")
	}
}
