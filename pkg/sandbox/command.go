package sandbox

import "time"

// Verb is what a command does.
type Verb string

// The verbs. The first four are what clients ask for; reconcile and purge are
// the watcher's.
const (
	Start     Verb = "start"
	Pause     Verb = "pause"
	Resume    Verb = "resume"
	Stop      Verb = "stop"
	Reconcile Verb = "reconcile"
	Purge     Verb = "purge"
)

// Verbs lists all of them, in the order above.
var Verbs = []Verb{Start, Pause, Resume, Stop, Reconcile, Purge}

// LongestAttempt bounds one run of a command by one provisioner. An attempt's
// context ends then, and purge waits for deadline and attempt to pass.
const LongestAttempt = 20 * time.Second

// FirstShown is how long the watcher leaves a new record to the provisioner that made
// it, some ten times what making its first view takes: so long, and as far as their
// clocks agree, it does not show it.
const FirstShown = time.Second

// Command is one wish about one session.
type Command struct {
	ID        string // minted by the gateway; also its Nats-Msg-Id
	Verb      Verb
	Tenant    string
	SessionID string
	RuntimeID string // which sandbox pause, resume, stop, reconcile and purge mean
	Deadline  time.Time

	Spec      *Spec   // start only
	Limits    *Limits // start and resume; nil: none
	RotateKey bool    // a start of a paused sandbox, and a resume, make a new session key
	Fresh     bool    // start only: its sender knows of no sandbox of this session; there may be one

	// What the watcher saw when it sent the command; it acts on that only. A
	// command with a Generation moves no fence.
	Generation int64
	RecordUID  string
	PodUID     string
	Fence      uint64 // of its pause and stop: the last command that the record had accepted
	Reason     string // why, for people; of its pause and stop
}

// MaxReason bounds a Reason, in bytes.
const MaxReason = 256

// Bound reports whether the command is tied to what its sender saw.
func (c *Command) Bound() bool { return c.Generation != 0 }
