package proxy

import (
	"errors"
	"net/http"
	"strings"
)

var errSwitch = errors.New("the sandbox switched to a protocol that was not asked for")

// modify keeps the sandbox's answer as it is, except for links that lead past
// the router or out of the sandbox's path.
func (h *Handler) modify(res *http.Response) error {
	ex := exchangeOf(res.Request)
	if res.StatusCode == http.StatusSwitchingProtocols && !switchAsked(res) {
		return errSwitch // ReverseProxy would refuse it too, and leave the connection open
	}
	if _, ok := res.Header["Content-Type"]; !ok {
		ex.out.Header()["Content-Type"] = nil // net/http would guess one
	}
	l := ex.links()
	for i, v := range res.Header["Location"] {
		res.Header["Location"][i] = l.Location(v)
	}
	for i, v := range res.Header["Set-Cookie"] {
		res.Header["Set-Cookie"][i] = l.Cookie(v)
	}
	return nil
}

func (ex *exchange) links() Links {
	return Links{Target: ex.target, Public: ex.publicHost, Pod: ex.address}
}

func switchAsked(res *http.Response) bool {
	return res.Header.Get("Upgrade") != "" &&
		strings.EqualFold(res.Header.Get("Upgrade"), res.Request.Header.Get("Upgrade")) &&
		strings.Contains(strings.ToLower(res.Header.Get("Connection")), "upgrade")
}
