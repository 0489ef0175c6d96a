package contract

import (
	"fmt"
	"strings"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Streams and buckets.
const (
	CommandStream   = "SANDBOX_COMMANDS"
	EventStream     = "SANDBOX_EVENTS"
	DeadStream      = "SANDBOX_DEADLETTERS"
	CommandConsumer = "provisioners" // the one durable consumer that all provisioners share

	ViewBucket     = "sandboxes"
	ActivityBucket = "activity"
	ViewStream     = "KV_" + ViewBucket
	ActivityStream = "KV_" + ActivityBucket

	// HeartbeatKey stands in the view bucket beside the views. It has no dot,
	// so it can never be a view's key.
	HeartbeatKey = "heartbeat"
)

// Subject wildcards, for streams and permissions.
const (
	AllCommands    = "sandbar.command.v1.>"
	AllReplies     = "sandbar.reply.v1.>"
	AllEvents      = "sandbar.event.v1.>"
	AllDeadLetters = "sandbar.deadletter.v1.>"
)

// PaceSubject is where gateways tell each other what holds floods back.
const PaceSubject = "sandbar.pace.v1"

const (
	commandPrefix = "sandbar.command.v1."
	replyPrefix   = "sandbar.reply.v1."
	eventPrefix   = "sandbar.event.v1."
	deadPrefix    = "sandbar.deadletter.v1."
)

// CommandSubject is where a command is published.
func CommandSubject(v sandbox.Verb, tenant, record string) string {
	return commandPrefix + string(v) + "." + tenant + "." + record
}

// ParseCommandSubject is the reverse of CommandSubject; it accepts only what
// that makes.
func ParseCommandSubject(subject string) (v sandbox.Verb, tenant, record string, err error) {
	rest, ok := strings.CutPrefix(subject, commandPrefix)
	parts := strings.Split(rest, ".")
	if !ok || len(parts) != 3 || !sandbox.ValidTenant(parts[1]) || !sandbox.ValidRecordName(parts[2]) {
		return "", "", "", fmt.Errorf("%.200q is no command subject", subject)
	}
	for _, v := range sandbox.Verbs {
		if string(v) == parts[0] {
			return v, parts[1], parts[2], nil
		}
	}
	return "", "", "", fmt.Errorf("%.64q is no verb", parts[0])
}

// ReplySubject is where the reply to a command goes: inbox is the gateway
// instance's own token.
func ReplySubject(inbox, commandID string) string { return replyPrefix + inbox + "." + commandID }

// ReplyWildcard is what one gateway instance subscribes to.
func ReplyWildcard(inbox string) string { return replyPrefix + inbox + ".*" }

// ValidReplySubject reports whether a reply may be published there, so that no
// message on the bus can make a provisioner write elsewhere.
func ValidReplySubject(s string) bool {
	rest, ok := strings.CutPrefix(s, replyPrefix)
	parts := strings.Split(rest, ".")
	return ok && len(parts) == 2 && validToken(parts[0]) && validToken(parts[1])
}

// EventSubject is where a lifecycle event is published.
func EventSubject(tenant, runtimeID string, t sandbox.EventType) string {
	return eventPrefix + tenant + "." + runtimeID + "." + string(t)
}

// EventsOf is the wildcard over one sandbox's events.
func EventsOf(tenant, runtimeID string) string {
	return eventPrefix + tenant + "." + runtimeID + ".*"
}

// DeadLetterSubject is where a command that was given up is told.
func DeadLetterSubject(v sandbox.Verb, tenant, record string) string {
	return deadPrefix + string(v) + "." + tenant + "." + record
}

// ViewKey is the key of a view in both buckets.
func ViewKey(tenant, record string) string { return tenant + "." + record }

// claimPrefix begins the keys of claims in the activity bucket. They have one
// token more than a view's key.
const claimPrefix = "claim."

// ClaimSubject is where a gateway writes the claim of a record.
func ClaimSubject(tenant, record string) string {
	return "$KV." + ActivityBucket + "." + claimPrefix + ViewKey(tenant, record)
}

// ParseClaimKey returns the view key that a key of the activity bucket is a claim
// of.
func ParseClaimKey(key string) (viewKey string, ok bool) {
	viewKey, ok = strings.CutPrefix(key, claimPrefix)
	if !ok {
		return "", false
	}
	_, _, ok = ParseViewKey(viewKey)
	return viewKey, ok
}

// ParseViewKey is the reverse of ViewKey.
func ParseViewKey(key string) (tenant, record string, ok bool) {
	tenant, record, ok = strings.Cut(key, ".")
	return tenant, record, ok && sandbox.ValidTenant(tenant) && sandbox.ValidRecordName(record)
}

// validToken: what we mint as ids on the bus.
func validToken(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			return false
		}
	}
	return true
}
