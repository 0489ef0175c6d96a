package agent

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// serverSentEvents sends ?count=N events, ?interval_ms=M apart, each flushed.
func serverSentEvents(w http.ResponseWriter, r *http.Request) {
	count, interval, ok := pace(w, r, "count", "interval_ms")
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	paced(w, r, count, interval, func(i int) []byte {
		return fmt.Appendf(nil, "id: %d\ndata: {\"n\":%d}\n\n", i, i)
	})
}

// drip sends ?bytes=N bytes one by one, ?ms=M apart.
func drip(w http.ResponseWriter, r *http.Request) {
	count, interval, ok := pace(w, r, "bytes", "ms")
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	paced(w, r, count, interval, func(int) []byte { return []byte{'.'} })
}

// slow answers nothing, not even headers, for ?ms=N.
func slow(w http.ResponseWriter, r *http.Request) {
	wait, err := number(r, "ms", 0)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	if pause(r, time.Duration(wait)*time.Millisecond) {
		answer(w, http.StatusOK, map[string]int{"slept_ms": wait})
	}
}

// big sends ?bytes=N bytes with a Content-Length; byte i of every 64 KiB block
// is i modulo 251, so that a lost or doubled piece shows.
func big(w http.ResponseWriter, r *http.Request) {
	left, err := number(r, "bytes", 0)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	block := make([]byte, 64<<10)
	for i := range block {
		block[i] = byte(i % 251)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(left))
	for left > 0 {
		n, err := w.Write(block[:min(left, len(block))])
		if err != nil {
			return // the client left
		}
		left -= n
	}
}

func pace(w http.ResponseWriter, r *http.Request, countName, intervalName string) (int, time.Duration, bool) {
	count, err := number(r, countName, 1)
	if err == nil {
		var ms int
		if ms, err = number(r, intervalName, 0); err == nil {
			return count, time.Duration(ms) * time.Millisecond, true
		}
	}
	fail(w, http.StatusBadRequest, err.Error())
	return 0, 0, false
}

// paced writes and flushes count pieces; the first goes out at once.
func paced(w http.ResponseWriter, r *http.Request, count int, interval time.Duration, piece func(int) []byte) {
	flusher := http.NewResponseController(w)
	for i := range count {
		if i > 0 && !pause(r, interval) {
			return
		}
		if _, err := w.Write(piece(i)); err != nil {
			return
		}
		if err := flusher.Flush(); err != nil {
			return
		}
	}
}

// pause waits, and says false when the client left meanwhile.
func pause(r *http.Request, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}
