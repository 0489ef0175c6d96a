package auth

import (
	"errors"
	"net/http"
)

// CheckSecret is of a fork that Traefik uses and that is not published. Nothing in
// a development cluster asks for a password, so nobody is let in by one.
func CheckSecret(_, _ string) bool { return false }

// RequireAuthStale is of that fork as well.
func (a *DigestAuth) RequireAuthStale(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, errors.ErrUnsupported.Error(), http.StatusNotImplemented)
}
