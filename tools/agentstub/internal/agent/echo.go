package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// bodyShown is how much of a body an echo repeats; the rest is only counted.
const bodyShown = 64 << 10

// Echo is the answer that tells what arrived.
type Echo struct {
	Method     string      `json:"method"`
	RawPath    string      `json:"raw_path"` // as sent, no byte changed
	Query      string      `json:"query"`
	Host       string      `json:"host"`
	RemoteAddr string      `json:"remote_addr"`
	Headers    http.Header `json:"headers"`
	Body       string      `json:"body"` // its first 64 KiB
	BodyBytes  int64       `json:"body_bytes"`
	BodySHA256 string      `json:"body_sha256"`
	Port       int         `json:"port"` // which of the stub's four
	Argv       []string    `json:"argv"`
}

func (a *Agent) echo(port int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var shown strings.Builder
		sum := sha256.New()
		n, err := io.Copy(io.MultiWriter(sum, &limited{&shown, bodyShown}), r.Body)
		if err != nil {
			fail(w, http.StatusBadRequest, "body: "+err.Error())
			return
		}
		rawPath, _, _ := strings.Cut(r.RequestURI, "?")
		answer(w, http.StatusOK, Echo{
			Method:     r.Method,
			RawPath:    rawPath,
			Query:      r.URL.RawQuery,
			Host:       r.Host,
			RemoteAddr: r.RemoteAddr,
			Headers:    r.Header,
			Body:       shown.String(),
			BodyBytes:  n,
			BodySHA256: hex.EncodeToString(sum.Sum(nil)),
			Port:       port,
			Argv:       a.cfg.Argv,
		})
	}
}

// limited passes on the first left bytes and swallows the rest.
type limited struct {
	to   io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	if _, err := l.to.Write(p[:n]); err != nil {
		return 0, fmt.Errorf("limited: %w", err)
	}
	return len(p), nil
}

// upload counts a body of any size without holding it.
func upload(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	if err != nil {
		fail(w, http.StatusBadRequest, "body: "+err.Error())
		return
	}
	answer(w, http.StatusOK, stored{Bytes: n, SHA256: hex.EncodeToString(sum.Sum(nil))})
}

// redirect sends the target as it is and sets a cookie for the whole host,
// which is what a proxy in path mode has to rewrite.
func redirect(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: "stub", Value: "1", Path: "/"})
	w.Header().Set("Location", r.URL.Query().Get("to"))
	w.WriteHeader(http.StatusFound)
}

// number is a query parameter from 0 up, or fallback where there is none.
func number(r *http.Request, name string, fallback int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s: %q is no number from 0 up", name, text)
	}
	return n, nil
}
