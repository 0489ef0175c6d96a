package contract

import (
	"encoding/json"
	"fmt"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Pace is what one gateway tells the others at PaceSubject: who sends commands, and of those
// of tenants that flood how many go. See the gateway's internal/admission. Core NATS: what is
// missed is told again.
type Pace struct {
	Gateway string  `json:"gateway"` // a token of the process
	Tenant  string  `json:"tenant"`  // that sent the last command through it
	Waits   bool    `json:"waits"`   // a flood's command waits for the gateways' turn
	Went    uint64  `json:"went"`    // so many went by now
	Runs    int     `json:"runs"`    // so many are under way
	Probes  bool    `json:"probes"`  // it measures what a command takes alone
	Places  float64 `json:"places"`  // how many of all gateways may be, by what it measured; below 1 for that part of the time; 0: it does not know
}

// EncodePace is a pace as it stands on the bus.
func EncodePace(p Pace) ([]byte, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode pace: %w", err)
	}
	return b, nil
}

const (
	maxPace = 1 << 10 // bytes; one has some 150
	// MaxCommands is how many a gateway may be told to hold: each may have a body of 512 KiB.
	MaxCommands = 10_000
)

// DecodePace reads one.
func DecodePace(body []byte) (Pace, error) {
	var p Pace
	if len(body) > maxPace {
		return Pace{}, fmt.Errorf("a pace of %d bytes, at most %d are read", len(body), maxPace)
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return Pace{}, fmt.Errorf("decode pace: %w", err)
	}
	if !validToken(p.Gateway) || !sandbox.ValidTenant(p.Tenant) || p.Runs < 0 || p.Runs > MaxCommands || p.Places < 0 {
		return Pace{}, fmt.Errorf("the pace of gateway %.64q, tenant %.64q, %d under way of %v, is none", p.Gateway, p.Tenant, p.Runs, p.Places)
	}
	return p, nil
}
