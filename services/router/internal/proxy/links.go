package proxy

import (
	"net"
	"slices"
	"strings"
)

// Links rewrites what a sandbox says of its own addresses into what is true for
// the client.
type Links struct {
	Target Target
	Public string // host and port that the client asked for
	Pod    string // address and port of the sandbox
}

// Location rewrites a redirect. One that names the pod itself becomes a path; in
// path mode one that names the sandbox comes to lie under its prefix, unless it
// does already. All others stay.
func (l Links) Location(s string) string {
	authority, path, absolute := splitURL(s)
	switch {
	case absolute && l.isPod(authority):
		return l.under(path)
	case absolute:
		if l.Target.Mount == "" || !l.isPublic(authority) || l.isUnder(path) {
			return s
		}
		return l.under(path)
	case strings.HasPrefix(s, "/"):
		return l.under(s)
	}
	return l.relative(s)
}

// under puts an absolute path under the prefix.
func (l Links) under(path string) string {
	if l.Target.Mount == "" {
		if strings.HasPrefix(path, "//") {
			return "//" + l.Public + path // else its first part were a host
		}
		return path
	}
	if l.isUnder(path) {
		return path
	}
	return l.Target.Mount + resolve("/", path)
}

// isUnder: a path of the sandbox's other services is its own too.
func (l Links) isUnder(path string) bool {
	rest, ok := strings.CutPrefix(path, l.Target.Root)
	return ok && (rest == "" || strings.IndexByte("/?#", rest[0]) >= 0)
}

// relative leaves a reference as it is where client and sandbox read it the
// same. They do not where the client asked for the bare prefix, or where it
// climbs above what the sandbox takes for the root.
func (l Links) relative(s string) string {
	if !l.Target.Stripped || s == "" || s[0] == '?' || s[0] == '#' || hasScheme(s) {
		return s
	}
	if !l.Target.Bare && !strings.Contains(s, "..") {
		return s
	}
	dir := l.Target.Path[:strings.LastIndexByte(l.Target.Path, '/')+1]
	return l.Target.Mount + resolve(dir, s)
}

// resolve makes an absolute path of a reference; what climbs above the root is
// dropped. Only the path's dots change.
func resolve(dir, ref string) string {
	end := len(ref)
	if i := strings.IndexAny(ref, "?#"); i >= 0 {
		end = i
	}
	path := ref[:end]
	if !strings.HasPrefix(path, "/") {
		path = dir + path
	}
	if !strings.Contains(path, "/.") {
		return path + ref[end:]
	}
	var kept []string
	parts := strings.Split(path[1:], "/")
	for i, part := range parts {
		last := i == len(parts)-1
		switch part {
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		case ".":
		default:
			kept = append(kept, part)
			last = false
		}
		if last {
			kept = append(kept, "") // a dot segment at the end names a directory
		}
	}
	return "/" + strings.Join(kept, "/") + ref[end:]
}

// splitURL splits http://authority/path and //authority/path; path is at least
// "/".
func splitURL(s string) (authority, path string, ok bool) {
	rest, found := strings.CutPrefix(s, "//")
	if !found {
		var scheme string
		if scheme, rest, found = strings.Cut(s, "://"); !found ||
			!strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
			return "", "", false
		}
	}
	i := strings.IndexAny(rest, "/?#")
	if i < 0 {
		return rest, "/", true
	}
	authority, path = rest[:i], rest[i:]
	if path[0] != '/' {
		path = "/" + path
	}
	return authority, path, true
}

// hasScheme: a colon before any slash, as in mailto:a@b.
func hasScheme(s string) bool {
	i := strings.IndexAny(s, ":/?#")
	return i > 0 && s[i] == ':'
}

// isPod reports whether a host and port can only be meant for the sandbox
// itself: its address, or loopback with its port.
func (l Links) isPod(authority string) bool {
	host, port, err := net.SplitHostPort(authority)
	if err != nil {
		return false
	}
	podHost, podPort, _ := net.SplitHostPort(l.Pod)
	return port == podPort && slices.Contains([]string{podHost, "localhost", "127.0.0.1", "0.0.0.0", "::1"}, strings.ToLower(host))
}

// isPublic reports whether a host and port are what the client asked for; apps
// forget the port, or put their own there.
func (l Links) isPublic(authority string) bool {
	if strings.EqualFold(authority, l.Public) {
		return true
	}
	host, port := splitPort(authority)
	public, _ := splitPort(l.Public)
	_, podPort := splitPort(l.Pod)
	return strings.EqualFold(host, public) && (port == "" || port == podPort)
}

func splitPort(authority string) (host, port string) {
	if host, port, err := net.SplitHostPort(authority); err == nil {
		return host, port
	}
	return authority, ""
}
