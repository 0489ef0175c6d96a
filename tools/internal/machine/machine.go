// Package machine tells how busy this machine was between two moments, so that a
// test that ran out of time can say whether it was alone with it.
package machine

import (
	"fmt"
	"time"

	"github.com/prometheus/procfs"
)

// Mark is what Linux had counted at a moment.
type Mark struct {
	at          time.Time
	core, disk  time.Duration // how long at least one task waited for it, so far
	stolen, all float64       // seconds of all cores that a host kept, and all of them; 0: Linux does not tell
}

// Now marks the moment. Where Linux tells nothing, neither does the mark.
func Now() Mark {
	m := Mark{at: time.Now()}
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return m
	}
	core, err := fs.PSIStatsForResource("cpu")
	if err != nil || core.Some == nil {
		return m
	}
	disk, err := fs.PSIStatsForResource("io")
	if err != nil || disk.Some == nil {
		return m
	}
	stat, err := fs.Stat()
	if err != nil {
		return m
	}
	m.core, m.disk = time.Duration(core.Some.Total)*time.Microsecond, time.Duration(disk.Some.Total)*time.Microsecond
	c := stat.CPUTotal
	m.stolen, m.all = c.Steal, c.User+c.Nice+c.System+c.Idle+c.Iowait+c.IRQ+c.SoftIRQ+c.Steal
	return m
}

// Since says in a line how busy the machine has been since the mark; it is empty
// where Linux does not tell.
func (m Mark) Since() string {
	now := Now()
	took := now.at.Sub(m.at)
	if m.all == 0 || took <= 0 || now.all <= m.all {
		return ""
	}
	part := func(waited time.Duration) float64 { return 100 * float64(waited) / float64(took) }
	return fmt.Sprintf("%.0f %% of the time a task waited for a core, %.0f %% for the disk; %.0f %% of the cores were stolen",
		part(now.core-m.core), part(now.disk-m.disk), 100*(now.stolen-m.stolen)/(now.all-m.all))
}
