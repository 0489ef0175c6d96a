package sandbox

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// Service is one of the four ports of a sandbox that are reached from outside.
type Service string

// The services, by the names that clients derive.
const (
	ServiceAgent  Service = "agent"
	ServiceVSCode Service = "vscode"
	ServiceWork1  Service = "work-1"
	ServiceWork2  Service = "work-2"
)

// Ports are the container ports of the services.
type Ports struct{ Agent, VSCode, Work1, Work2 int }

// DefaultPorts are the constants that all client generations use.
var DefaultPorts = Ports{Agent: 60000, VSCode: 60001, Work1: 12000, Work2: 12001}

// Of is the port of a service, 0 for an unknown one.
func (p Ports) Of(s Service) int {
	switch s {
	case ServiceAgent:
		return p.Agent
	case ServiceVSCode:
		return p.VSCode
	case ServiceWork1:
		return p.Work1
	case ServiceWork2:
		return p.Work2
	}
	return 0
}

// URLPattern is the one pattern from which every public URL is made and by
// which the router reads a request's host and path.
type URLPattern struct {
	Scheme     string // http or https
	BaseDomain string // sandbar.localhost
	Port       int    // 0: the scheme's own
	Separator  string // between label and base domain: "." or "-"
	PathMode   bool   // https://base/{runtime_id}/runtime in place of https://{label}.base
}

func (u URLPattern) authority(host string) string {
	if u.Port == 0 || u.Scheme == "http" && u.Port == 80 || u.Scheme == "https" && u.Port == 443 {
		return host
	}
	return host + ":" + strconv.Itoa(u.Port)
}

// URL is the public URL of a service of the sandbox with this label.
func (u URLPattern) URL(label string, s Service) string {
	if u.PathMode {
		name := string(s)
		if s == ServiceAgent {
			name = "runtime"
		}
		return u.Scheme + "://" + u.authority(u.BaseDomain) + "/" + label + "/" + name
	}
	return u.Scheme + "://" + u.authority(u.Host(label, s))
}

// Host is the host name of a service in subdomain mode.
func (u URLPattern) Host(label string, s Service) string {
	host := label + u.Separator + u.BaseDomain
	if s != ServiceAgent {
		host = string(s) + "-" + host
	}
	return host
}

// NewRoute makes the route of a sandbox.
func (u URLPattern) NewRoute(label string, p Ports) Route {
	return Route{
		Label: label, URL: u.URL(label, ServiceAgent), VSCodeURL: u.URL(label, ServiceVSCode),
		WorkHosts: map[string]int{u.URL(label, ServiceWork1): p.Work1, u.URL(label, ServiceWork2): p.Work2},
	}
}

// ParseHost reads service and label from a request's host, port or not.
func (u URLPattern) ParseHost(host string) (label string, s Service, ok bool) {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	label, ok = strings.CutSuffix(host, u.Separator+strings.ToLower(u.BaseDomain))
	if !ok || label == "" || strings.Contains(label, ".") {
		return "", "", false
	}
	for _, s := range []Service{ServiceVSCode, ServiceWork1, ServiceWork2} {
		if rest, found := strings.CutPrefix(label, string(s)+"-"); found {
			return rest, s, rest != ""
		}
	}
	return label, ServiceAgent, true
}

// ParsePath reads label and service from the escaped path of a request in path
// mode; rest is what the sandbox is asked for, at least "/", and prefix what
// was cut off.
func (u URLPattern) ParsePath(escaped string) (label string, s Service, prefix, rest string, ok bool) {
	parts := strings.SplitN(strings.TrimPrefix(escaped, "/"), "/", 3)
	if len(parts) < 2 || !ValidRuntimeID(parts[0]) {
		return "", "", "", "", false
	}
	switch name := parts[1]; name {
	case "runtime":
		s = ServiceAgent
	case string(ServiceVSCode), string(ServiceWork1), string(ServiceWork2):
		s = Service(name)
	default:
		return "", "", "", "", false
	}
	rest = "/"
	if len(parts) == 3 {
		rest += parts[2]
	}
	return parts[0], s, "/" + parts[0] + "/" + parts[1], rest, true
}

// Validate says what is wrong with the pattern, or nil.
func (u URLPattern) Validate() error {
	if u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("scheme %q is neither http nor https", u.Scheme)
	}
	if u.Separator != "." && u.Separator != "-" {
		return fmt.Errorf("separator %q is neither . nor -", u.Separator)
	}
	if u.Port < 0 || u.Port > 65535 {
		return fmt.Errorf("port %d is out of range", u.Port)
	}
	p, err := url.Parse(u.Scheme + "://" + u.BaseDomain)
	if err != nil || u.BaseDomain == "" || p.Host != u.BaseDomain || strings.ContainsAny(u.BaseDomain, ":@/") {
		return fmt.Errorf("base domain %q is not a host name", u.BaseDomain)
	}
	return nil
}

// LabelMode says what stands in a sandbox's host name.
type LabelMode string

// The label modes.
const (
	LabelSession LabelMode = "session" // the session id where it can be, else a readable prefix and a hash
	LabelRuntime LabelMode = "runtime" // the runtime id
)

// maxLabel leaves room for "vscode-" in a DNS label of 63.
const maxLabel = 56

var (
	labelPattern  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	hashedPattern = regexp.MustCompile(`-[a-z2-7]{16}$`)
	notLabel      = regexp.MustCompile(`[^a-z0-9]+`)
)

// HostLabel is the label of a sandbox. Two sandboxes that are not stopped never
// share one: a session id stands as it is only where no other label can look
// like it.
func HostLabel(mode LabelMode, tenant, sessionID, runtimeID string) string {
	if mode == LabelRuntime {
		return runtimeID
	}
	if tenant == DefaultTenant && plainLabel(sessionID) {
		return sessionID
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "label:%d:%s%s", len(tenant), tenant, sessionID))
	hash := lowerBase32.EncodeToString(sum[:10])
	prefix := notLabel.ReplaceAllString(strings.ToLower(sessionID), "-")
	if len(prefix) > maxLabel-17 {
		prefix = prefix[:maxLabel-17]
	}
	prefix = strings.Trim(prefix, "-")
	if prefix == "" || reservedLabel(prefix) {
		prefix = strings.Trim("s-"+prefix, "-")
		if len(prefix) > maxLabel-17 {
			prefix = strings.Trim(prefix[:maxLabel-17], "-")
		}
	}
	return prefix + "-" + hash
}

func reservedLabel(s string) bool {
	return strings.HasPrefix(s, "vscode-") || strings.HasPrefix(s, "work-") || s == "vscode" || s == "work"
}

func plainLabel(s string) bool {
	return len(s) <= maxLabel && labelPattern.MatchString(s) && !reservedLabel(s) &&
		!ValidRuntimeID(s) && !hashedPattern.MatchString(s) &&
		(len(s) < 4 || s[2:4] != "--") // xn--: browsers decode such a name, or refuse it
}
