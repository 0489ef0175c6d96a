// Package agent asks the agent servers in sandboxes how long they have been
// idle. What runs there is a stranger's: an answer is bounded and believed in one
// thing only, and none changes nothing.
package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/obs"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

const (
	// workers ask at the same time; one that does not answer holds its worker for
	// askTimeout.
	workers    = 16
	askTimeout = 3 * time.Second
	// maxBody is above any known answer.
	maxBody = 64 << 10
	// maxWaiting bounds the queue; who is not taken in asks again at the next
	// look.
	maxWaiting = 1024
	// keepFor is longer than an answer is of use.
	keepFor = time.Minute
)

// question is one pod to be asked.
type question struct {
	key, uid, runtimeID, address string
}

type answer struct {
	at   time.Time
	idle time.Duration
}

// Asker asks. Its methods may be called concurrently.
type Asker struct {
	client *http.Client
	port   string
	now    func() time.Time
	log    *zap.Logger
	queue  chan question

	mu      sync.Mutex
	waiting map[string]struct{} // pod UIDs in the queue or being asked
	answers map[string]answer   // by pod UID
}

// New returns an asker of the agent server's port; Run asks for it. now is the
// system's clock.
func New(port int, now func() time.Time, log *zap.Logger) *Asker {
	return &Asker{
		client: &http.Client{
			Timeout: askTimeout,
			Transport: &http.Transport{
				Proxy: nil, DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10,
				DialContext: (&net.Dialer{Timeout: askTimeout}).DialContext,
			},
			// A stranger must not send the watcher anywhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		port: strconv.Itoa(port), now: now, log: log, queue: make(chan question, maxWaiting),
		waiting: map[string]struct{}{}, answers: map[string]answer{},
	}
}

// Answer is when the pod last told how long it has been idle, and that; the zero
// time where it did not lately.
func (a *Asker) Answer(podUID string) (at time.Time, idle time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	got := a.answers[podUID]
	return got.at, got.idle
}

// Ask has a pod asked, unless it is just being asked. The key is told of by Run
// when it has answered.
func (a *Asker) Ask(key string, p *sandbox.Pod) {
	if p == nil || !dialable(p.IP) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, asked := a.waiting[p.UID]; asked {
		return
	}
	select {
	case a.queue <- question{key, p.UID, p.RuntimeID, net.JoinHostPort(p.IP, a.port)}:
		a.waiting[p.UID] = struct{}{}
	default:
	}
}

// dialable: a pod's address is never this machine's, nor all or many machines'.
// On a development machine pods have addresses of their own too.
func dialable(ip string) bool {
	addr, err := netip.ParseAddr(ip)
	return err == nil && !addr.IsUnspecified() && !addr.IsMulticast() && !addr.IsLinkLocalUnicast() && addr.Zone() == ""
}

// Run asks until ctx ends. told gets the key of each that answered.
func (a *Asker) Run(ctx context.Context, told func(key string)) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case q := <-a.queue:
					if a.ask(ctx, q) {
						told(q.key)
					}
				}
			}
		})
	}
	wg.Wait()
}

func (a *Asker) ask(ctx context.Context, q question) bool {
	idle, err := a.idle(ctx, q.address)
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, q.uid)
	if err != nil {
		if ctx.Err() == nil {
			a.log.Debug("an agent server does not tell how long it has been idle", obs.RuntimeID(q.runtimeID), zap.Error(err))
		}
		return false
	}
	now := a.now()
	for uid, old := range a.answers {
		if age := now.Sub(old.at); age > keepFor || age < -keepFor {
			delete(a.answers, uid)
		}
	}
	a.answers[q.uid] = answer{now, idle}
	return true
}

// errNoIdleTime is an answer that says nothing of it.
var errNoIdleTime = errors.New("the answer has no idle_time of seconds")

func (a *Asker) idle(ctx context.Context, address string) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/server_info", nil)
	if err != nil {
		return 0, fmt.Errorf("ask: %w", err)
	}
	req.Header.Set("User-Agent", "sandbar-watcher")
	res, err := a.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("ask: %w", err)
	}
	defer func() { _ = res.Body.Close() }() // only read from
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the answer is %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return 0, fmt.Errorf("read the answer: %w", err)
	}
	return parse(body)
}

// parse reads idle_time, in seconds.
func parse(body []byte) (time.Duration, error) {
	var info struct {
		IdleTime *float64 `json:"idle_time"`
	}
	if err := json.Unmarshal(body, &info); err != nil {
		return 0, errNoIdleTime
	}
	if info.IdleTime == nil || math.IsNaN(*info.IdleTime) || *info.IdleTime < 0 {
		return 0, errNoIdleTime
	}
	seconds := min(*info.IdleTime, sandbox.MaxLifecycle)
	return time.Duration(seconds * float64(time.Second)), nil
}
