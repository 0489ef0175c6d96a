// Package ext stands for the extension points of Traefik's commercial edition,
// which its module replaces by a folder that is not published.
package ext

// HTTP extends the HTTP configuration by nothing.
type HTTP struct{}

// Router extends a router by nothing.
type Router struct{}
