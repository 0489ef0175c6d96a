package registry

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// authority is who is spoken to: a host, and a port unless it is 443 or 80.
type authority struct{ host, port string }

func (a authority) String() string {
	if a.port == "" {
		return a.host
	}
	return a.host + ":" + a.port
}

// parseAuthority reads host or host:port as a URL or an image reference has it.
func parseAuthority(s string) (authority, error) {
	u, err := url.Parse("//" + s)
	if err != nil || u.Host != s || u.Hostname() == "" {
		return authority{}, fmt.Errorf("%.64q is not host or host:port", s)
	}
	a := authority{host: strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), port: u.Port()}
	if a.port == "443" || a.port == "80" {
		a.port = ""
	}
	if a.host == "docker.io" || a.host == "registry-1.docker.io" { // names of one registry
		a.host = name.DefaultRegistry
	}
	return a, nil
}

// hosts are what a setting lists: host, host:port, or *.name for what is below
// that name.
type hosts []pattern

type pattern struct {
	authority
	below bool
}

func parseHosts(list []string) (hosts, error) {
	var out hosts
	for _, item := range list {
		p := pattern{}
		rest, below := strings.CutPrefix(strings.TrimSpace(item), "*.")
		var err error
		if p.authority, err = parseAuthority(rest); err != nil || strings.Contains(rest, "*") {
			return nil, fmt.Errorf("%.64q is not host, host:port or *.name", item)
		}
		p.below = below
		out = append(out, p)
	}
	return out, nil
}

func (h hosts) have(a authority) bool {
	return slices.ContainsFunc(h, func(p pattern) bool {
		if p.port != a.port {
			return false
		}
		return !p.below && p.host == a.host || p.below && strings.HasSuffix(a.host, "."+p.host)
	})
}
