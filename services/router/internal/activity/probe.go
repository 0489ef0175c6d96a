package activity

import (
	"net/http"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// IsProbe reports whether a request only looks whether the sandbox is well: app
// servers and monitors ask so for as long as a sandbox lives, and it would never
// be idle. path is what the sandbox is asked for, without a query.
func IsProbe(r *http.Request, s sandbox.Service, path string) bool {
	if s != sandbox.ServiceAgent || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	if _, upgrade := r.Header["Upgrade"]; upgrade {
		return false
	}
	switch path {
	case "/alive", "/health", "/ready", "/server_info":
		return true
	}
	return false
}
