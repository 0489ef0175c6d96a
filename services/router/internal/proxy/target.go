package proxy

import (
	"net/http"
	"strings"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Target is what a request asks for, as its host and path say.
type Target struct {
	Label   string
	Service sandbox.Service
	// Path is what the sandbox is asked for, byte for byte as the client sent
	// it.
	Path string
	// Root and Mount are, in path mode, the public paths of the sandbox and of
	// the service: /{runtime_id} and /{runtime_id}/vscode. "" in subdomain mode.
	Root, Mount string
	// Stripped: Mount is not part of Path.
	Stripped bool
	// Bare: the client asked for Mount itself, without a slash at its end.
	Bare bool
}

// ParseTarget reads the target of a request, or says why there is none.
func ParseTarget(p sandbox.URLPattern, r *http.Request) (Target, *Answer) {
	if r.Method == http.MethodConnect {
		return Target{}, answerConnect
	}
	path, ok := rawPath(r.RequestURI)
	if !ok {
		return Target{}, answerBadTarget
	}
	if p.PathMode {
		return parsePath(p, path)
	}
	label, service, ok := p.ParseHost(r.Host)
	if !ok && r.ProtoMajor == 2 {
		return Target{}, answerMisdirected
	}
	if !ok || !validLabel(label) {
		return Target{}, answerUnknown
	}
	return Target{Label: label, Service: service, Path: path}, nil
}

func parsePath(p sandbox.URLPattern, path string) (Target, *Answer) {
	label, service, mount, rest, ok := p.ParsePath(path)
	if !ok || !strings.HasPrefix(path, mount) {
		return Target{}, answerUnknown
	}
	t := Target{
		Label: label, Service: service, Path: rest, Stripped: true,
		Root: "/" + label, Mount: mount, Bare: path == mount,
	}
	if service == sandbox.ServiceVSCode {
		// It is told its public path by OH_VSCODE_BASE_PATH and serves under it.
		t.Path, t.Stripped = path, false
	}
	return t, nil
}

// rawPath is the path of a request line as it was sent, without the query:
// net/url would encode what it thinks should be.
func rawPath(uri string) (string, bool) {
	uri, _, _ = strings.Cut(uri, "?")
	if strings.HasPrefix(uri, "/") || uri == "*" {
		return uri, true
	}
	scheme, rest, ok := strings.Cut(uri, "://") // absolute form
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", false
	}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return rest[i:], true
	}
	return "/", true
}

// validLabel: of what cannot be a label, nobody needs to be asked whether it is
// one.
func validLabel(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
