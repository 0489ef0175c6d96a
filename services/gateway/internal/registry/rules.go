package registry

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"

	"golang.org/x/net/publicsuffix"
)

// Rules say which registries may be asked, and how. Hosts are host, host:port or
// *.name; without a port they mean 443, and 80 where that is allowed.
type Rules struct {
	Allow    []string          // the only ones that may be asked; none: any that has a public address
	Private  []string          // whose addresses may be private
	Insecure []string          // spoken to over plain HTTP where they have no TLS; their addresses may be private
	Realms   map[string]string // registry → the host that makes its tokens, where the rule does not know it
}

// rules are Rules as they are applied. What allow, private, insecure and realms
// name is called configured: the operator vouches for it.
type rules struct {
	allow, private, insecure hosts
	realms                   map[authority]authority
}

func (r Rules) parse() (*rules, error) {
	out := &rules{realms: map[authority]authority{}}
	var errs []error
	for _, list := range []struct {
		setting string
		items   []string
		into    *hosts
	}{
		{"REGISTRY_ALLOW", r.Allow, &out.allow}, {"REGISTRY_PRIVATE", r.Private, &out.private}, {"REGISTRY_INSECURE", r.Insecure, &out.insecure},
	} {
		var err error
		if *list.into, err = parseHosts(list.items); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", list.setting, err))
		}
	}
	for _, from := range slices.Sorted(maps.Keys(r.Realms)) {
		registry, err := parseAuthority(from)
		realm, err2 := parseAuthority(r.Realms[from])
		if err := errors.Join(err, err2); err != nil {
			errs = append(errs, fmt.Errorf("REGISTRY_REALMS: %w", err))
		}
		out.realms[registry] = realm
	}
	return out, errors.Join(errs...)
}

// mayBeAsked: a client may name this registry.
func (r *rules) mayBeAsked(registry authority) bool {
	if r.inside(registry) || r.allow.have(registry) {
		return true
	}
	return len(r.allow) == 0 && registry.port == ""
}

// inside: the address may be any.
func (r *rules) inside(a authority) bool { return r.private.have(a) || r.insecure.have(a) }

func (r *rules) configured(a authority) bool { return r.inside(a) || r.allow.have(a) }

// errPlain comes too where a registry inside does not answer by TLS: the library
// then tries without.
var errPlain = errors.New("plain HTTP is for hosts of REGISTRY_INSECURE only")

// mayReach: a look-up in the registry may send a request there. What a registry
// refers to is asked on the port of HTTPS, and inside only for a registry that
// is configured itself: else whoever runs one could lead the gateway there.
func (r *rules) mayReach(registry authority, target *url.URL) error {
	a, err := parseAuthority(target.Host)
	if err != nil {
		return refused("a target that is no host")
	}
	switch {
	case target.Scheme != "https" && (target.Scheme != "http" || !r.insecure.have(a)):
		return errPlain
	case a == registry:
		return nil
	case r.inside(a) && !r.configured(registry):
		return refused("%s, which is configured, by a registry that is not", a)
	case a.port != "" && !r.configured(a) && r.realms[registry] != a:
		return refused("%s, a port that is not configured", a)
	}
	return nil
}

// mayHaveCredentials: the registry's credentials may be sent to the host, if
// the registry says that its tokens are made there. That is so for the registry
// itself, for a host of the same registrable domain (auth.docker.io for
// index.docker.io, gitlab.com for registry.gitlab.com), and for what is
// configured.
func (r *rules) mayHaveCredentials(registry, realm authority) bool {
	if realm == registry || r.realms[registry] == realm {
		return true
	}
	if realm.port != "" && !r.configured(realm) {
		return false
	}
	return realm.host == registry.host || sameSite(realm.host, registry.host)
}

func sameSite(x, y string) bool {
	if isAddress(x) || isAddress(y) {
		return false
	}
	of, err := publicsuffix.EffectiveTLDPlusOne(x)
	if err != nil {
		return false
	}
	other, err := publicsuffix.EffectiveTLDPlusOne(y)
	return err == nil && of == other
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
