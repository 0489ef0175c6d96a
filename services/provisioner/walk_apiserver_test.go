//go:build apiserver && failpoints

package provisioner_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner"
)

// childVar makes the test's own binary a provisioner, so that it can be killed.
const childVar = "SANDBAR_TEST_PROVISIONER"

func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		os.Exit(run.Main(provisioner.Name, os.Environ(), os.Stderr, provisioner.Run))
	}
	if err := flag.Set("test.parallel", "13"); err != nil { // all lanes
		panic(err)
	}
	// Idle connections to the API server stay in client-go's cache.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("golang.org/x/net/http2.(*ClientConn).readLoop"))
}

// place is a namespace in which Kubernetes has room for some things.
type place string

const (
	roomy   place = "roomy"
	podless place = "podless" // a quota refuses each pod
	closed  place = "closed"  // a quota refuses each record
)

// way is one command, with all points that it comes by.
type way struct {
	name   string
	verb   sandbox.Verb
	place  place
	before string // how the sandbox is brought there: "", started, unlimited, paused, stopped, bare
	points []string
	racy   []string // those of the points that a journey may end without
	end    shape
}

const (
	all  = "Ingress PersistentVolumeClaim Pod Service"
	kept = "Ingress PersistentVolumeClaim Service" // of a paused one
)

// The points of what makes a sandbox run, and of every end.
var (
	makes = []string{"after-volume", "after-service", "after-route", "after-pod", "after-view"}
	ends  = []string{"before-ack", "after-ack"}
	fetch = []string{"after-fetch"}
)

func points(parts ...[]string) []string { return slices.Concat(parts...) }

var ways = []way{
	{
		name: "start", verb: sandbox.Start,
		points: points(fetch, []string{"before-run/start", "after-take", "after-record"}, makes, []string{"after-reply"}, ends),
		end:    shape{Desired: sandbox.Running, Incarnations: 1, Keys: 1, Fenced: true, Objects: all, View: sandbox.StatusStarting, Events: "requested starting", Reply: "accepted", Holds: 1},
	},
	{
		// Of what runs, and was started before its key had limits: it is noted.
		name: "again", verb: sandbox.Start, before: "unlimited",
		points: points(fetch, []string{"before-run/start", "after-note", "after-record"}, makes, []string{"after-reply"}, ends),
		end:    shape{Desired: sandbox.Running, Fenced: true, Objects: all, View: sandbox.StatusStarting, Events: "requested starting", Reply: "accepted", Holds: 1},
	},
	{
		name: "pause", verb: sandbox.Pause, before: "started",
		points: points(fetch, []string{"before-run/pause", "after-record", "after-release", "after-delete", "after-view", "after-reply"}, ends),
		end:    shape{Desired: sandbox.Paused, Generations: 1, Fenced: true, Objects: kept, View: sandbox.StatusPaused, Events: "requested starting paused", Reply: "accepted"},
	},
	{
		name: "resume", verb: sandbox.Resume, before: "paused",
		points: points(fetch, []string{"before-run/resume", "after-take", "after-record"}, makes, []string{"after-reply"}, ends),
		end:    shape{Desired: sandbox.Running, Generations: 1, Incarnations: 1, Keys: 1, Fenced: true, Objects: all, View: sandbox.StatusStarting, Events: "requested starting paused resumed starting", Reply: "accepted", Holds: 1},
	},
	{
		name: "stop", verb: sandbox.Stop, before: "started",
		points: points(fetch, []string{
			"before-run/stop", "after-record", "after-release", "after-delete", "after-delete:2", "after-delete:3", "after-delete:4", "after-view", "after-reply",
		}, ends),
		end: shape{Desired: sandbox.Stopped, Generations: 1, Fenced: true, View: sandbox.StatusStopped, Events: "requested starting stopped", Reply: "accepted"},
	},
	{
		// The watcher's, of one whose pod somebody deleted.
		name: "reconcile", verb: sandbox.Reconcile, before: "bare",
		points: points(fetch, []string{"before-run/reconcile"}, makes, ends),
		end:    shape{Desired: sandbox.Running, Objects: all, View: sandbox.StatusStarting, Events: "requested starting", Holds: 1},
	},
	{
		name: "purge", verb: sandbox.Purge, before: "stopped",
		points: points(fetch, []string{"before-run/purge", "after-release", "before-purge", "after-purge"}, ends),
		end:    shape{View: sandbox.StatusStopped, Events: "requested starting stopped"},
	},
	{
		// A start that Kubernetes refuses for good is taken back. Who died after that
		// is told that it was overtaken, which its gateway takes for "ask again".
		name: "refused", verb: sandbox.Start, place: podless,
		points: points(fetch, []string{
			"before-run/start", "after-take", "after-record", "after-volume", "after-service", "after-route", "after-rollback",
			"after-release", "after-delete", "after-delete:2", "after-view", "after-reply",
		}, ends),
		// The pod is refused while the others are made, or before.
		racy: []string{"after-volume", "after-service", "after-route", "after-delete", "after-delete:2"},
		end:  shape{Desired: sandbox.Stopped, Fenced: true, Incarnations: 1, Keys: 1, View: sandbox.StatusStopped, Events: "requested stopped", Reply: "refused"},
	},
	{
		// A start of which not even the record is made gives its place back.
		name: "full", verb: sandbox.Start, place: closed,
		points: points(fetch, []string{"before-run/start", "after-take", "after-undo", "after-reply"}, ends),
		end:    shape{Reply: "refused"},
	},
	{
		// Nobody can read it.
		name:   "malformed",
		points: points(fetch, []string{"after-deadletter", "after-reply"}),
		end:    shape{Reply: "refused", Letters: 1},
	},
}

// What may happen at a point. At one that follows no side effect no answer can be
// lost.
func whats(point string) []string {
	if strings.HasPrefix(point, "before-") || point == "after-fetch" {
		return []string{"crash", "hang"}
	}
	return []string{"crash", "hang", "error"}
}

// fault is what happens at one point.
type fault struct{ point, what string }

// journey is one command and its faults: each in a life of its own.
type journey struct {
	*way
	name    string
	session string
	faults  []fault
}

// pairsVar makes the walk one of pairs.
const pairsVar = "SANDBAR_WALK_PAIRS"

func journeys() (out []*journey) {
	for i := range ways {
		w := &ways[i]
		if w.place == "" {
			w.place = roomy
		}
		add := func(faults ...fault) {
			name := w.name
			for _, f := range faults {
				name += " " + f.point + "=" + f.what
			}
			out = append(out, &journey{way: w, name: name, faults: faults, session: fmt.Sprintf("%s-%d", w.name, len(out))})
		}
		if os.Getenv(pairsVar) != "" {
			for _, pair := range w.pairs() {
				add(fault{pair[0], "crash"}, fault{pair[1], "crash"})
			}
			continue
		}
		add() // without any
		for _, point := range w.points {
			for _, what := range whats(point) {
				add(fault{point, what})
			}
		}
	}
	return out
}

// pairs are all ordered pairs of points. Between after-fetch and before-run nothing
// is done, so that the one stands for both; and after an ack nobody goes on.
func (w *way) pairs() (out [][2]string) {
	distinct := slices.DeleteFunc(slices.Clone(w.points), func(p string) bool { return strings.HasPrefix(p, "before-run/") })
	for _, first := range distinct {
		for _, second := range distinct {
			if first != "after-ack" {
				out = append(out, [2]string{first, second})
			}
		}
	}
	return out
}

// lanes are how many namespaces of each place walk at the same time. A journey
// waits most of its time, for AckWait.
var lanes = map[place]int{roomy: 10, podless: 2, closed: 1}

// TestEveryPointIsWalked: at each point between two side effects of each command the
// provisioner dies, or its call hangs, or its answer is lost; with
// SANDBAR_WALK_PAIRS, it dies at one, and whoever goes on dies at another. All ends
// as if nothing had been, once.
func TestEveryPointIsWalked(t *testing.T) {
	byPlace := map[place][]*journey{}
	walk := journeys()
	for _, j := range walk {
		byPlace[j.place] = append(byPlace[j.place], j)
	}
	begin := time.Now()
	var both atomic.Int64
	t.Run("walk", func(t *testing.T) {
		for p, of := range byPlace {
			for n := range lanes[p] {
				var mine []*journey
				for i := n; i < len(of); i += lanes[p] {
					mine = append(mine, of[i])
				}
				t.Run(fmt.Sprintf("%s-%d", p, n), func(t *testing.T) {
					t.Parallel()
					l := newLane(t, p)
					for some := range slices.Chunk(mine, 8) { // a whole lane's at once would pass their deadlines
						l.prepare(some)
						for _, j := range some {
							t.Run(j.name, func(t *testing.T) {
								if hits := l.on(t).walk(j); hits == 2 {
									both.Add(1)
								}
							})
						}
					}
				})
			}
		}
	})
	t.Logf("%d journeys in %s; in %d of them two points were met", len(walk), time.Since(begin).Round(time.Second), both.Load())
}
