package sandbox

import "time"

// Pod is what Observe and Drift need of a Kubernetes pod. pkg/kube makes it.
type Pod struct {
	Name        string
	UID         string
	Record      string // label: the record's name
	RecordUID   string // label
	RuntimeID   string // label
	Generation  int64  // label: the record's generation that made it
	Incarnation int64  // label
	Order       uint64 // resourceVersion
	CreatedAt   time.Time
	Terminating bool

	Phase   string // Pending, Running, Succeeded, Failed, Unknown
	Reason  string // pod level: Evicted, …
	Message string
	IP      string

	Scheduled        bool
	ScheduledAt      time.Time // when it got its node; zero: not known
	ScheduledReason  string    // of the PodScheduled condition when it is false
	ScheduledMessage string
	Ready            bool
	ReadyAt          time.Time // when it became so last, while it is
	ContainersReady  bool

	DisruptionReason  string // of the DisruptionTarget condition: who takes it away, EvictionByEvictionAPI, …
	DisruptionMessage string

	Container Container
	Logs      string // last lines of a failed container, filled in by the watcher
	Reach     Reach  // what a look at its public URL came to, filled in by the watcher
}

// Container is the state of the sandbox's one container.
type Container struct {
	Known          bool // the kubelet has reported it
	Running        bool
	Started        bool // its startup probe passed
	StartedAt      time.Time
	WaitingReason  string
	WaitingMessage string
	Terminated     *Termination // the current state
	LastTerminated *Termination // the state before
	RestartCount   int
}

// Termination says how a container ended.
type Termination struct {
	Reason     string // Error, OOMKilled, Completed, …
	ExitCode   int
	Message    string
	FinishedAt time.Time
}
