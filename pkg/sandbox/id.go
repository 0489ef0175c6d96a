package sandbox

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"math/big"
	"regexp"
	"strings"
)

// DefaultTenant owns what the plain API_KEY starts.
const DefaultTenant = "default"

// MaxSessionIDLength is the longest session id that is accepted, in bytes. The
// longest that a known client sends is 49.
const MaxSessionIDLength = 256

var (
	tenantPattern    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)
	runtimeIDPattern = regexp.MustCompile(`^[a-z]{16}$`)
	recordPattern    = regexp.MustCompile(`^sandbox-[a-z2-7]{26}$`)
	lowerBase32      = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
)

// ValidTenant reports whether s can name a tenant: 1 to 32 of a-z, 0-9 and -,
// neither first nor last a -, so that it can stand in a subject, a label and a
// KV key as it is.
func ValidTenant(s string) bool { return tenantPattern.MatchString(s) }

// ValidRuntimeID reports whether s has the form that NewRuntimeID makes.
func ValidRuntimeID(s string) bool { return runtimeIDPattern.MatchString(s) }

// ValidRecordName reports whether s has the form that RecordName makes.
func ValidRecordName(s string) bool { return recordPattern.MatchString(s) }

// ValidSessionID says what is wrong with a session id, or nil. Any text is
// allowed that can travel in a URL path and in JSON unchanged.
func ValidSessionID(s string) error {
	switch {
	case s == "":
		return Errorf(CodeInvalid, "session_id is required")
	case len(s) > MaxSessionIDLength:
		return Errorf(CodeInvalid, "session_id has %d bytes, at most %d are allowed", len(s), MaxSessionIDLength)
	case strings.ToValidUTF8(s, "\uFFFD") != s:
		return Errorf(CodeInvalid, "session_id is not valid UTF-8")
	case s == "." || s == "..":
		return Errorf(CodeInvalid, "session_id %q cannot stand in a URL path", s)
	}
	for _, r := range s {
		if r < 0x20 || r == 0x7f || r == ',' {
			return Errorf(CodeInvalid, "session_id holds %q, which is not allowed", r)
		}
	}
	return nil
}

// RecordName is the name of the record of a session: a function of tenant and
// session id alone, so that the API server makes it unique. It is a DNS label,
// a subject token and a KV key token.
func RecordName(tenant, sessionID string) string {
	return "sandbox-" + hashOf(tenant, sessionID)
}

// hashOf is 26 characters that no other tenant and name share.
func hashOf(tenant, name string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s%s", len(tenant), tenant, name))
	return lowerBase32.EncodeToString(sum[:16])
}

// LedgerName is the name of the Secret that says what a key of a tenant holds.
func LedgerName(tenant, key string) string { return "ledger-" + hashOf(tenant, key) }

// NewPlace returns the name of a new place in a ledger: 11 random characters.
func NewPlace() string { return NewKey()[:11] }

// NewRuntimeID returns 16 random lower-case letters (75 bits).
func NewRuntimeID() string {
	b := make([]byte, 16)
	for i := range b {
		n, err := rand.Int(rand.Reader, big.NewInt(26))
		if err != nil {
			panic(err) // crypto/rand does not fail on a supported system
		}
		b[i] = byte('a' + n.Int64())
	}
	return string(b)
}

// NewKey returns a fresh session key or secret key: 32 random bytes in
// unpadded URL-safe base64, 43 characters.
func NewKey() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return base64.RawURLEncoding.EncodeToString(b)
}

// PodName is the name of the pod of one incarnation.
func PodName(runtimeID string, incarnation int64) string {
	return fmt.Sprintf("%s-%d", runtimeID, incarnation)
}
