package agent

import (
	"net/http"
	"os"
	"time"
)

// health answers /alive, /health and /ready alike, so that one switch makes a
// sandbox look unready to every client and to every probe.
func (a *Agent) health(w http.ResponseWriter, r *http.Request) {
	if a.cfg.Faults.Hang {
		<-r.Context().Done()
		return
	}
	if !a.ready() {
		fail(w, http.StatusServiceUnavailable, "not ready")
		return
	}
	answer(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (a *Agent) ready() bool {
	if time.Since(a.started) < a.cfg.Faults.ReadyAfter {
		return false
	}
	if a.cfg.Faults.UnreadyIf == "" {
		return true
	}
	_, err := os.Stat(a.cfg.Faults.UnreadyIf)
	return err != nil
}

// serverInfo is in seconds, as the real server's.
func (a *Agent) serverInfo(w http.ResponseWriter, _ *http.Request) {
	if a.cfg.Faults.NoInfo {
		fail(w, http.StatusInternalServerError, "no information")
		return
	}
	answer(w, http.StatusOK, map[string]any{
		"uptime":    time.Since(a.started).Seconds(),
		"idle_time": a.idle().Seconds(),
	})
}

// setIdle moves the last activity ?seconds=N into the past. Idle time goes on
// from there, and the next request with the key ends it, as it would really be.
func (a *Agent) setIdle(w http.ResponseWriter, r *http.Request) {
	n, err := number(r, "seconds", 0)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	a.touch(time.Duration(n) * time.Second)
	answer(w, http.StatusOK, map[string]int{"idle_time": n})
}

// crashNow ends the process with ?code=N once the answer is on its way.
func (a *Agent) crashNow(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		fail(w, http.StatusMethodNotAllowed, "POST only")
		return
	}
	code, err := number(r, "code", a.cfg.Faults.ExitCode)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	w.Header().Set("Connection", "close")
	answer(w, http.StatusAccepted, map[string]int{"exit_code": code})
	_ = http.NewResponseController(w).Flush() // it crashes either way
	a.exit(code)
}
