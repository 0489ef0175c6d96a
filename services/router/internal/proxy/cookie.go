package proxy

import "strings"

// Cookie rewrites a Set-Cookie in path mode: the cookie stays on the sandbox's
// own path and on this host, where other sandboxes are neighbours. A __Host-
// cookie, which must have the path /, is refused by browsers then.
func (l Links) Cookie(s string) string {
	if l.Target.Mount == "" {
		return s
	}
	parts := strings.Split(s, ";")
	out, hasPath := parts[:1], false
	for _, part := range parts[1:] {
		name, value, _ := strings.Cut(part, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "domain":
			continue
		case "path":
			value = strings.TrimSpace(value)
			if !strings.HasPrefix(value, "/") {
				continue // as good as none
			}
			hasPath = true
			part = " Path=" + l.cookiePath(value)
		}
		out = append(out, part)
	}
	// Without a path, it is the directory of what the client asked for, which
	// for the bare prefix is one too high.
	if !hasPath && l.Target.Bare {
		out = append(out, " Path="+l.Target.Mount)
	}
	return strings.Join(out, ";")
}

// cookiePath: / becomes the bare prefix, which covers all below it and itself.
func (l Links) cookiePath(path string) string {
	switch {
	case path == "/":
		return l.Target.Mount
	case l.isUnder(path):
		return path
	}
	return l.Target.Mount + path
}
