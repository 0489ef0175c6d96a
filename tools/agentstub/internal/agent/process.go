package agent

import (
	"net/http"
	"os"
	"slices"
	"strings"
)

// env answers the value of ?name=, or without it the names of all variables.
func env(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	if name == "" {
		names := []string{}
		for _, pair := range os.Environ() {
			name, _, _ := strings.Cut(pair, "=")
			names = append(names, name)
		}
		slices.Sort(names)
		answer(w, http.StatusOK, map[string][]string{"names": names})
		return
	}
	value, set := os.LookupEnv(name)
	if !set {
		fail(w, http.StatusNotFound, "no variable "+name)
		return
	}
	answer(w, http.StatusOK, map[string]string{"name": name, "value": value})
}

func (a *Agent) argv(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string][]string{"argv": a.cfg.Argv})
}

// Identity is who the process is, for tests of security contexts.
type Identity struct {
	UID      int    `json:"uid"`
	GID      int    `json:"gid"`
	Groups   []int  `json:"groups"`
	PID      int    `json:"pid"`
	Hostname string `json:"hostname"`
	Dir      string `json:"cwd"`
	// Status holds the kernel's words of /proc/self/status by their names:
	// CapEff, CapPrm, CapBnd, CapInh, CapAmb, NoNewPrivs, Seccomp.
	Status map[string]string `json:"status"`
}

func whoami(w http.ResponseWriter, _ *http.Request) {
	id := Identity{UID: os.Getuid(), GID: os.Getgid(), PID: os.Getpid(), Status: map[string]string{}}
	// What cannot be read stays empty: the answer is still worth having.
	groups, _ := os.Getgroups()
	id.Groups = append([]int{}, groups...)
	id.Hostname, _ = os.Hostname()
	id.Dir, _ = os.Getwd()
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		if strings.HasPrefix(key, "Cap") || key == "NoNewPrivs" || key == "Seccomp" {
			id.Status[key] = strings.TrimSpace(value)
		}
	}
	answer(w, http.StatusOK, id)
}
