package proxy

import (
	"context"
	"net"
	"net/netip"
	"strconv"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
)

// Views is the state of all sandboxes.
type Views interface {
	Label(label string) *views.Seen
	Runtime(runtimeID string) *views.Seen
	// ReadIndex returns nil once the two above know all that was known anywhere
	// when it was called; it takes 250 ms at most.
	ReadIndex(ctx context.Context) error
}

// Decide says what a request for the sandbox of this view (nil: there is none)
// is answered; nil means that it is passed on. confirmed: the view was looked up
// after a read index.
func Decide(v *sandbox.View, confirmed bool) *Answer {
	switch {
	case serves(v):
		return nil
	case v == nil || v.Status == sandbox.StatusStopped:
		if !confirmed {
			return answerUnconfirmed
		}
		if v == nil {
			return answerUnknown
		}
		return answerStopped
	case v.Status == sandbox.StatusPaused:
		return answerPaused
	case v.Status == sandbox.StatusError:
		return answerError
	}
	return answerStarting
}

// serves reports whether the sandbox can be dialled. A pod that runs and is not
// ready is not told of as running, and gets no traffic.
func serves(v *sandbox.View) bool {
	if v == nil || v.Status != sandbox.StatusRunning {
		return false
	}
	a, err := netip.ParseAddr(v.Address) // never a name: nothing is looked up
	return err == nil && !a.IsUnspecified() && !a.IsMulticast() && a.Zone() == ""
}

// address is where the sandbox's service is dialled: nothing of it comes from
// the request.
func address(v *sandbox.View, port int) string {
	return net.JoinHostPort(v.Address, strconv.Itoa(port))
}

// lookUp finds a view by host label; a runtime id is one in either HOST_LABEL
// mode, and no session id that looks like one is a label.
func lookUp(known Views, label string) *sandbox.View {
	s := known.Label(label)
	if s == nil && sandbox.ValidRuntimeID(label) {
		s = known.Runtime(label)
	}
	if s == nil {
		return nil
	}
	return s.View
}

// find returns the view that a request goes to, or its answer. Memory lags by up
// to 250 ms, so all but "it runs" is looked up again after a read index: the
// first request after a client was told "ready" must be passed on by any router.
func find(ctx context.Context, views Views, label string) (*sandbox.View, *Answer) {
	if v := lookUp(views, label); serves(v) {
		return v, nil
	}
	confirmed := views.ReadIndex(ctx) == nil
	v := lookUp(views, label)
	return v, Decide(v, confirmed)
}
