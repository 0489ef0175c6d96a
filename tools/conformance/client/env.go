// Package client speaks to a running Sandbar as its clients do, and looks at
// every answer as strictly as the strictest of them.
package client

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Env says where the system under test is.
type Env struct {
	APIURLs    []string          // all gateways, API_URL's first
	APIKeys    map[string]string // at least those of requiredKeys
	RouterURL  string
	BaseDomain string
	Kubeconfig string // the admin's, for facts that only the cluster knows
	Namespace  string // of records and sandboxes

	SandboxImage string // tools/agentstub
	MissingImage string // a reference that no registry has

	Simulated  Simulated
	Path       Path
	TLS        TLS
	Ingress    Controlled
	GatewayAPI Controlled
}

// Simulated is an installation whose sandboxes land on simulated nodes.
type Simulated struct{ APIURL, APIKey, Namespace string }

// Path is an installation in path mode.
type Path struct{ APIURL, APIKey, RouterURL string }

// TLS is an installation that ends TLS itself; all empty: there is none.
type TLS struct {
	APIURL, APIKey, RouterURL string
	PathRouterURL             string // a router of it in path mode
	RouterMetrics             string // of the first router, over plain HTTP
	CAFile                    string // who signed the certificate of all
}

// Controlled is an installation where a controller of the cluster leads to
// sandboxes; all empty: there is none.
type Controlled struct {
	APIURL, APIKey, Namespace string
	RouterURL                 string // the controller's
	CAFile                    string // who signed its certificate; "": it has none
}

// HTTP is a client of its API, which has no TLS, and of its sandboxes, by HTTP/2
// where they have, or with http1 by HTTP/1.1 alone.
func (c Controlled) HTTP(baseDomain string, http1 bool) (*http.Client, error) {
	if c.CAFile == "" {
		return NewHTTP(baseDomain, c.RouterURL)
	}
	out, err := NewSecure(baseDomain, c.RouterURL, c.CAFile, http1)
	if err == nil {
		out.Transport.(*http.Transport).Protocols.SetHTTP1(true)
	}
	return out, err
}

func (v *variables) controlled(prefix string) Controlled {
	return Controlled{
		APIURL: v.values[prefix+"_API_URL"], APIKey: v.values[prefix+"_API_KEY"], Namespace: v.values[prefix+"_NAMESPACE"],
		RouterURL: v.values[prefix+"_ROUTER_URL"], CAFile: v.values[prefix+"_CA_FILE"],
	}
}

// requiredKeys are of the default tenant, of another one, and of one that
// rotates session keys on resume.
var requiredKeys = []string{"default", "other", "rotating"}

// LoadEnv reads the env file that `make up` and the system tests write.
func LoadEnv(path string) (Env, error) {
	file, err := os.Open(path)
	if err != nil {
		return Env{}, fmt.Errorf("env file: %w (is the system up? SANDBAR_ENV names another file)", err)
	}
	defer func() { _ = file.Close() }() // only read
	env, err := ParseEnv(file)
	if err != nil {
		return Env{}, fmt.Errorf("env file %s:\n%w", path, err)
	}
	return env, nil
}

// ParseEnv reads lines of KEY=value and tells all problems at once. What names
// the simulated and the path installation must be there too, but may be empty:
// then those tests fail that need it.
func ParseEnv(r io.Reader) (Env, error) {
	v, err := readVariables(r)
	if err != nil {
		return Env{}, err
	}
	env := Env{
		RouterURL:    v.required("ROUTER_URL"),
		BaseDomain:   v.required("BASE_DOMAIN"),
		Kubeconfig:   v.required("KUBECONFIG"),
		Namespace:    v.required("NAMESPACE"),
		SandboxImage: v.required("SANDBOX_IMAGE"),
		MissingImage: v.required("MISSING_IMAGE"),
		Simulated: Simulated{
			APIURL: v.present("SIMULATED_API_URL"), Namespace: v.present("SIMULATED_NAMESPACE"),
			APIKey: v.or("SIMULATED_API_KEY", "API_KEY"),
		},
		Path: Path{
			APIURL: v.present("PATH_API_URL"), RouterURL: v.present("PATH_ROUTER_URL"),
			APIKey: v.or("PATH_API_KEY", "API_KEY"),
		},
	}
	env.TLS = TLS{
		APIURL: v.values["TLS_API_URL"], APIKey: v.or("TLS_API_KEY", "API_KEY"), RouterURL: v.values["TLS_ROUTER_URL"],
		PathRouterURL: v.values["TLS_PATH_ROUTER_URL"], RouterMetrics: v.values["TLS_ROUTER_METRICS"], CAFile: v.values["TLS_CA_FILE"],
	}
	env.Ingress, env.GatewayAPI = v.controlled("INGRESS"), v.controlled("GATEWAYAPI")
	env.APIURLs = gateways(v.required("API_URL"), v.required("API_URLS"))
	env.APIKeys = v.keys(v.required("API_KEY"))
	if env.Kubeconfig != "" && !filepath.IsAbs(env.Kubeconfig) {
		v.problem("KUBECONFIG must be an absolute path, tests run in another directory")
	}
	return env, errors.Join(v.problems...)
}

type variables struct {
	values   map[string]string
	problems []error
}

func readVariables(r io.Reader) (*variables, error) {
	v := &variables{values: map[string]string{}}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			v.problem("line %d is not KEY=value", n)
			continue
		}
		v.values[name] = unquote(value)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return v, nil
}

// unquote takes off the quotes that let a shell source the file.
func unquote(value string) string {
	if n := len(value); n >= 2 && value[0] == '\'' && value[n-1] == '\'' {
		return value[1 : n-1]
	}
	if text, err := strconv.Unquote(value); err == nil && value[0] == '"' {
		return text
	}
	return value
}

func (v *variables) problem(format string, args ...any) {
	v.problems = append(v.problems, fmt.Errorf(format, args...))
}

func (v *variables) present(name string) string {
	value, ok := v.values[name]
	if !ok {
		v.problem("%s is missing", name)
	}
	return strings.TrimRight(value, "/")
}

func (v *variables) required(name string) string {
	value := v.present(name)
	if _, ok := v.values[name]; ok && value == "" {
		v.problem("%s is empty", name)
	}
	return value
}

func (v *variables) or(name, fallback string) string {
	if value := v.values[name]; value != "" {
		return value
	}
	return v.values[fallback]
}

// gateways puts first before the others, once.
func gateways(first, all string) []string {
	urls := []string{first}
	for url := range strings.SplitSeq(all, ",") {
		if url = strings.TrimRight(strings.TrimSpace(url), "/"); url != "" && url != first {
			urls = append(urls, url)
		}
	}
	return urls
}

func (v *variables) keys(defaultKey string) map[string]string {
	keys := map[string]string{}
	if text := v.required("API_KEYS"); text != "" {
		if err := json.Unmarshal([]byte(text), &keys); err != nil {
			v.problem("API_KEYS is not a JSON object of name and key") // the error would quote keys
			return nil
		}
		for _, name := range requiredKeys {
			if keys[name] == "" {
				v.problem("API_KEYS has no key %q", name)
			}
		}
	}
	if defaultKey != "" && keys["default"] != "" && keys["default"] != defaultKey {
		v.problem("API_KEY is not the key %q of API_KEYS", "default")
	}
	return keys
}
