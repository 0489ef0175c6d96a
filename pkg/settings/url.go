// Package settings holds the parts of a configuration that must be the same in
// several services.
package settings

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// The routing modes.
const (
	ModeSubdomain = "subdomain" // https://{label}.base
	ModePath      = "path"      // https://base/{runtime_id}/runtime
)

// URL says how the public URLs of sandboxes are made and read, and which ports
// they lead to. The provisioner writes by it and the router reads by it.
type URL struct {
	Scheme      string `env:"URL_SCHEME" envDefault:"http"`
	BaseDomain  string `env:"BASE_DOMAIN"`
	Port        int    `env:"URL_PORT"` // 0: the scheme's own
	Separator   string `env:"URL_SEPARATOR" envDefault:"."`
	RoutingMode string `env:"RUNTIME_ROUTING_MODE" envDefault:"subdomain"`
	AgentPort   int    `env:"AGENT_SERVER_PORT" envDefault:"60000"`
	VSCodePort  int    `env:"VSCODE_PORT" envDefault:"60001"`
	Worker1Port int    `env:"WORKER_1_PORT" envDefault:"12000"`
	Worker2Port int    `env:"WORKER_2_PORT" envDefault:"12001"`
}

// Pattern is the pattern that the settings describe.
func (u URL) Pattern() sandbox.URLPattern {
	return sandbox.URLPattern{
		Scheme: u.Scheme, BaseDomain: u.BaseDomain, Port: u.Port, Separator: u.Separator,
		PathMode: u.RoutingMode == ModePath,
	}
}

// Ports are the container ports of the services.
func (u URL) Ports() sandbox.Ports {
	return sandbox.Ports{Agent: u.AgentPort, VSCode: u.VSCodePort, Work1: u.Worker1Port, Work2: u.Worker2Port}
}

// Validate lists all that is wrong, by the names of the variables.
func (u URL) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if u.Scheme != "http" && u.Scheme != "https" {
		add("URL_SCHEME is %q, must be http or https", u.Scheme)
	}
	if u.Separator != "." && u.Separator != "-" {
		add("URL_SEPARATOR is %q, must be . or -", u.Separator)
	}
	if u.RoutingMode != ModeSubdomain && u.RoutingMode != ModePath {
		add("RUNTIME_ROUTING_MODE is %q, must be %s or %s", u.RoutingMode, ModeSubdomain, ModePath)
	}
	if u.Port < 0 || u.Port > 65535 {
		add("URL_PORT is %d, must be 0 to 65535", u.Port)
	}
	if err := u.baseDomain(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, u.ports()...)...)
}

func (u URL) baseDomain() error {
	if u.BaseDomain == "" {
		return errors.New("BASE_DOMAIN is required")
	}
	if u.BaseDomain != strings.ToLower(u.BaseDomain) || strings.HasSuffix(u.BaseDomain, ".") {
		return fmt.Errorf("BASE_DOMAIN is %q, must be in lower case and without a dot at the end", u.BaseDomain)
	}
	alone := sandbox.URLPattern{Scheme: "http", BaseDomain: u.BaseDomain, Separator: "."}
	if err := alone.Validate(); err != nil {
		return fmt.Errorf("BASE_DOMAIN: %w", err)
	}
	return nil
}

func (u URL) ports() []error {
	var errs []error
	seen := map[int]string{}
	for _, p := range []struct {
		name string
		port int
	}{
		{"AGENT_SERVER_PORT", u.AgentPort}, {"VSCODE_PORT", u.VSCodePort},
		{"WORKER_1_PORT", u.Worker1Port}, {"WORKER_2_PORT", u.Worker2Port},
	} {
		switch other, taken := seen[p.port]; {
		case p.port < 1 || p.port > 65535:
			errs = append(errs, fmt.Errorf("%s is %d, must be 1 to 65535", p.name, p.port))
		case taken:
			errs = append(errs, fmt.Errorf("%s and %s are both %d", other, p.name, p.port))
		default:
			seen[p.port] = p.name
		}
	}
	return errs
}
