package agent

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strings"
)

const keyHeader = "X-Session-API-Key"

// Handler is the agent port. It does not use http.ServeMux, which cleans and
// redirects the very paths (`//`, `%2F`) that tests want to see unchanged.
func (a *Agent) Handler() http.Handler {
	open := map[string]http.HandlerFunc{
		"/alive":       a.health,
		"/health":      a.health,
		"/ready":       a.health,
		"/server_info": a.serverInfo,
	}
	guarded := a.traffic()
	guarded["/env"] = env
	guarded["/argv"] = a.argv
	guarded["/whoami"] = whoami
	guarded["/idle"] = a.setIdle
	guarded["/crash"] = a.crashNow
	echo := a.echo(a.cfg.Ports.Agent)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if handle := open[r.URL.Path]; handle != nil {
			handle(w, r)
			return
		}
		allowOrigin(w, r)
		if isPreflight(r) {
			preflight(w, r)
			return
		}
		if !a.authenticated(r) {
			fail(w, http.StatusUnauthorized, "Unauthorized")
			return
		}
		a.touch(0)
		defer func() {
			if r.URL.Path != "/idle" { // the end of a long request is activity too
				a.touch(0)
			}
		}()
		switch handle := guarded[r.URL.Path]; {
		case handle != nil:
			handle(w, r)
		case strings.HasPrefix(r.URL.Path, filesPrefix):
			a.files(w, r)
		case strings.HasPrefix(r.URL.Path, eventsPrefix):
			a.websocket(w, r)
		default:
			echo(w, r)
		}
	})
}

// eventsPrefix is where the real server's clients open their WebSocket.
const eventsPrefix = "/sockets/events/"

// VSCode is the editor's port: it looks at the token and at nothing else.
func (a *Agent) VSCode() http.Handler {
	echo := a.echo(a.cfg.Ports.VSCode)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.isKey(r.URL.Query().Get("tkn")) {
			fail(w, http.StatusForbidden, "Forbidden")
			return
		}
		echo(w, r)
	})
}

// Worker is a port of the user's own program: no key, and what travels through
// a router is the same as on the agent port.
func (a *Agent) Worker(port int) http.Handler {
	traffic, echo := a.traffic(), a.echo(port)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if handle := traffic[r.URL.Path]; handle != nil {
			handle(w, r)
			return
		}
		echo(w, r)
	})
}

// traffic is the set of answers that are hard for a proxy.
func (a *Agent) traffic() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"/ws":       a.websocket,
		"/sse":      serverSentEvents,
		"/slow":     slow,
		"/drip":     drip,
		"/big":      big,
		"/upload":   upload,
		"/redirect": redirect,
	}
}

// authenticated accepts the header, and on WebSocket paths the query as well,
// for a browser cannot give a WebSocket a header.
func (a *Agent) authenticated(r *http.Request) bool {
	if a.isKey(r.Header.Get(keyHeader)) {
		return true
	}
	socket := r.URL.Path == "/ws" || strings.HasPrefix(r.URL.Path, eventsPrefix)
	return socket && a.isKey(r.URL.Query().Get("session_api_key"))
}

func (a *Agent) isKey(given string) bool {
	return a.cfg.SessionKey != "" && subtle.ConstantTimeCompare([]byte(given), []byte(a.cfg.SessionKey)) == 1
}

func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
}

// preflight answers as the real server's CORS layer does: on every path, and without a key.
func preflight(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Methods", r.Header.Get("Access-Control-Request-Method"))
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		w.Header().Set("Access-Control-Allow-Headers", asked)
	}
	w.WriteHeader(http.StatusOK)
}

func allowOrigin(w http.ResponseWriter, r *http.Request) {
	if origin := r.Header.Get("Origin"); origin != "" {
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		w.Header().Add("Vary", "Origin")
	}
}

func fail(w http.ResponseWriter, status int, detail string) {
	answer(w, status, map[string]string{"detail": detail})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone, there is nobody to tell
}
