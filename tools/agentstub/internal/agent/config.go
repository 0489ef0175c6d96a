// Package agent is the stub's behaviour: an OpenHands agent server as far as
// the world outside the sandbox can tell, and no more.
package agent

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Config is what the command line and the environment decide.
type Config struct {
	Ports      Ports
	SessionKey string // empty: nothing that wants a key is answered, for a sandbox must not be open by accident
	Dir        string // root of /files
	Argv       []string
	Faults     Faults
}

// Ports are those that a sandbox offers.
type Ports struct {
	Agent, VSCode, Worker1, Worker2 int
}

// Faults are the switches that make the stub misbehave.
type Faults struct {
	Crash      bool          // end by itself
	CrashAfter time.Duration // when Crash
	CrashFile  string        // end at start where this file exists; on a volume it makes and ends a crash loop
	ExitCode   int           // of every crash that names none itself
	ExitOnTerm int           // exit code on SIGTERM; the kubelet forgets why it ended what ends with 0
	Hang       bool          // accept, but never answer a health path
	EatMemory  int           // MiB to touch and hold
	ReadyAfter time.Duration // health paths are 503 until then
	UnreadyIf  string        // health paths are 503 while this file exists
	NoInfo     bool          // /server_info is 500
}

// FromEnv reads args and environment. Unknown arguments are passed over: the
// stub is started by the commands of every client generation, which name
// other programs and other flags.
func FromEnv(argv []string, getenv func(string) string) (Config, error) {
	env := variables{getenv: getenv}
	cfg := Config{
		Ports: Ports{
			// V0's nested server is told its port by a variable of this name.
			Agent:   env.number(60000, "AGENT_SERVER_PORT", "port"),
			VSCode:  env.number(60001, "VSCODE_PORT", "OH_VSCODE_PORT"),
			Worker1: env.number(12000, "WORKER_1"),
			Worker2: env.number(12001, "WORKER_2"),
		},
		SessionKey: getenv("SESSION_API_KEY"),
		Argv:       argv,
		Faults: Faults{
			Crash:      getenv("STUB_CRASH_AFTER_MS") != "",
			CrashAfter: env.milliseconds("STUB_CRASH_AFTER_MS"),
			CrashFile:  getenv("STUB_CRASH_FILE"),
			ExitCode:   env.number(1, "STUB_EXIT_CODE"),
			ExitOnTerm: env.number(0, "STUB_EXIT_ON_TERM"),
			Hang:       on(getenv("STUB_HANG")),
			EatMemory:  env.number(0, "STUB_EAT_MEMORY_MB"),
			ReadyAfter: env.milliseconds("STUB_READY_AFTER_MS"),
			UnreadyIf:  getenv("STUB_UNREADY_FILE"),
			NoInfo:     on(getenv("STUB_NO_SERVER_INFO")),
		},
	}
	dir, err := os.Getwd()
	if err != nil {
		env.problems = append(env.problems, fmt.Errorf("working directory: %w", err))
	}
	cfg.Dir = dir
	port, found, err := portArgument(argv)
	switch {
	case err != nil:
		env.problems = append(env.problems, err)
	case found:
		cfg.Ports.Agent = port
	}
	return cfg, errors.Join(env.problems...)
}

func on(value string) bool {
	return value != "" && value != "0" && !strings.EqualFold(value, "false")
}

// portArgument finds `--port N`, `--port=N`, or V0's bare number, which
// follows a word (`action_execution_server 60000`) and no flag (`--user-id 1000`).
func portArgument(argv []string) (port int, found bool, err error) {
	bare := 0
	for i, arg := range argv {
		value, isPort := strings.CutPrefix(arg, "--port=")
		if arg == "--port" {
			if i+1 == len(argv) {
				return 0, false, errors.New("--port wants a number")
			}
			value, isPort = argv[i+1], true
		}
		n, err := strconv.Atoi(value)
		if isPort {
			if err != nil {
				return 0, false, fmt.Errorf("--port: %q is no number", value)
			}
			return n, true, nil
		}
		if bare == 0 && err == nil && i > 0 && !strings.HasPrefix(argv[i-1], "-") {
			bare = n
		}
	}
	return bare, bare != 0, nil
}

// variables reads numbers from the environment and gathers what is wrong with them.
type variables struct {
	getenv   func(string) string
	problems []error
}

// number is the first of names that is set, else fallback.
func (v *variables) number(fallback int, names ...string) int {
	for _, name := range names {
		text := v.getenv(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			v.problems = append(v.problems, fmt.Errorf("%s: %q is no number from 0 up", name, text))
		}
		return n
	}
	return fallback
}

func (v *variables) milliseconds(name string) time.Duration {
	return time.Duration(v.number(0, name)) * time.Millisecond
}
