//go:build system

package system_test

import "github.com/sandbar-io/sandbar/tools/internal/overlay"

// tomorrow makes the next version of the services: each of what they write for
// others has a member more, which this version does not know.
var tomorrow = []overlay.Change{
	// A record's, and one inside of its spec.
	{
		File: "pkg/sandbox/record.go",
		Old:  "	Lifecycle       *Lifecycle        `json:\"lifecycle,omitempty\"`\n",
		New:  "	Lifecycle       *Lifecycle        `json:\"lifecycle,omitempty\"`\n	Tomorrow        string            `json:\"tomorrow,omitempty\"`\n",
	},
	{File: "pkg/sandbox/record.go", Old: "	Unknown Unknown\n", New: "	Unknown  Unknown\n	Tomorrow string\n"},
	{
		File: "pkg/sandbox/decide.go",
		Old:  "Desired: Running, Generation: gen,", New: "Tomorrow: \"of the record\", Desired: Running, Generation: gen,",
	},
	{
		File: "pkg/kube/record.go",
		Old:  "	BegunAt     time.Time       `json:\"begun_at\"`\n",
		New:  "	BegunAt     time.Time       `json:\"begun_at\"`\n	Tomorrow    string          `json:\"tomorrow\"`\n",
	},
	{File: "pkg/kube/record.go", Old: "BegunAt: r.BegunAt,\n", New: "BegunAt: r.BegunAt, Tomorrow: r.Tomorrow,\n"},
	{File: "pkg/kube/record.go", Old: "BegunAt: w.BegunAt, Unknown:", New: "BegunAt: w.BegunAt, Tomorrow: w.Tomorrow, Unknown:"},
	{
		File: "services/gateway/internal/httpapi/change.go",
		Old:  "	spec.Lifecycle = c.key.LifecycleOf(spec.Lifecycle)\n",
		New:  "	spec.Lifecycle = c.key.LifecycleOf(spec.Lifecycle)\n	spec.Tomorrow = \"of the spec\"\n",
	},
	// A command's and a reply's.
	{
		File: "pkg/sandbox/command.go",
		Old:  "	Reason     string // why, for people; of its pause and stop\n",
		New:  "	Reason     string // why, for people; of its pause and stop\n	Tomorrow   string\n",
	},
	{
		File: "pkg/contract/command.go",
		Old:  "	Reason     string          `json:\"reason,omitempty\"`\n",
		New:  "	Reason     string          `json:\"reason,omitempty\"`\n	Tomorrow   string          `json:\"tomorrow\"`\n",
	},
	{
		File: "services/gateway/internal/command/command.go",
		Old:  "	c.ID, c.Deadline = newToken(), deadline\n",
		New:  "	c.ID, c.Deadline, c.Tomorrow = newToken(), deadline, \"of the command\"\n",
	},
	{
		File: "pkg/contract/command.go",
		Old:  "	CommandID string        `json:\"command_id\"`\n",
		New:  "	CommandID string        `json:\"command_id\"`\n	Tomorrow  string        `json:\"tomorrow\"`\n",
	},
	{
		File: "services/provisioner/internal/bus/bus.go",
		Old:  "contract.Reply{CommandID: c.ID,", New: "contract.Reply{Tomorrow: \"of the reply\", CommandID: c.ID,",
	},
	// A view's, which readers can tell; the heartbeat's; an event's.
	{
		File: "pkg/sandbox/view.go",
		Old:  "	Transitions []Transition `json:\"transitions,omitempty\"` // the newest last\n",
		New:  "	Transitions []Transition `json:\"transitions,omitempty\"` // the newest last\n	Tomorrow    string       `json:\"tomorrow\"`\n",
	},
	{File: "pkg/sandbox/view.go", Old: "	return a.RecordUID == b.RecordUID &&", New: "	return a.Tomorrow == b.Tomorrow && a.RecordUID == b.RecordUID &&"},
	{
		File: "pkg/sandbox/observe.go",
		Old:  "	v := View{\n		Record: r.Name, RecordUID: r.UID,", New: "	v := View{\n		Tomorrow: \"of the view\", Record: r.Name, RecordUID: r.UID,",
	},
	{
		File: "pkg/contract/view.go",
		Old:  "	Gaps []sandbox.Gap `json:\"gaps,omitempty\"`\n",
		New:  "	Gaps     []sandbox.Gap `json:\"gaps,omitempty\"`\n	Tomorrow string        `json:\"tomorrow\"`\n",
	},
	{
		File: "services/watcher/internal/bucket/guard.go",
		Old:  "Gaps: g.Witness.Gaps(),\n", New: "Gaps: g.Witness.Gaps(), Tomorrow: \"of the heartbeat\",\n",
	},
	{
		File: "pkg/contract/event.go",
		Old:  "	Incarnation int64             `json:\"incarnation\"`\n",
		New:  "	Incarnation int64             `json:\"incarnation\"`\n	Tomorrow    string            `json:\"tomorrow\"`\n",
	},
	{File: "pkg/contract/event.go", Old: "Type: t.Type, Time: t.Time, Reason: t.Reason,\n", New: "Type: t.Type, Time: t.Time, Reason: t.Reason, Tomorrow: \"of the event\",\n"},
}
