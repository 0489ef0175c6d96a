package client

import (
	"net/url"
	"strings"
)

// ServiceURL derives the URL of vscode, work-1 or work-2 as V1c and ENT do.
func (r Runtime) ServiceURL(service string) string {
	u := r.parsed()
	if strings.HasPrefix(u.Path, "/"+r.RuntimeID) {
		return u.Scheme + "://" + u.Host + "/" + r.RuntimeID + "/" + service
	}
	return u.Scheme + "://" + service + "-" + u.Host + u.Path
}

// NaiveServiceURL derives it as V1a and V1b do, who know no path mode.
func (r Runtime) NaiveServiceURL(service string) string {
	scheme, rest, _ := strings.Cut(r.URL, "://")
	return scheme + "://" + service + "-" + rest
}

// Label is what stands before the base domain in the sandbox's host name.
func (r Runtime) Label(baseDomain string) string {
	return strings.TrimRight(strings.TrimSuffix(r.parsed().Hostname(), baseDomain), ".-")
}

// WithLabel is the URL of the sandbox with this label in place of its own.
func (r Runtime) WithLabel(label, baseDomain string) string {
	u := r.parsed()
	u.Host = label + strings.TrimPrefix(u.Host, r.Label(baseDomain))
	return u.String()
}

// parsed is the URL, which DecodeRuntime has parsed before.
func (r Runtime) parsed() *url.URL {
	u, err := url.Parse(r.URL)
	if err != nil {
		return &url.URL{}
	}
	return u
}
