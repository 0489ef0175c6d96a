package contract

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Sealer closes and opens session keys in views (AES-256-GCM). The router has
// none, and so cannot open them.
type Sealer struct{ aead cipher.AEAD }

// NewSealer takes the key of 32 bytes in base64, as `openssl rand -base64 32`
// prints it.
func NewSealer(key string) (*Sealer, error) {
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(raw) != 32 {
		return nil, fmt.Errorf("the sealing key must be 32 bytes in base64")
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	return &Sealer{aead}, nil
}

// Seal fills SealedKey from SessionKey. The runtime id is bound in, so that one
// sandbox's key cannot be shown as another's.
func (s *Sealer) Seal(v *sandbox.View) {
	v.SealedKey = ""
	if v.SessionKey == "" {
		return
	}
	nonce := make([]byte, s.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails since Go 1.24
	v.SealedKey = base64.StdEncoding.EncodeToString(s.aead.Seal(nonce, nonce, []byte(v.SessionKey), []byte(v.RuntimeID)))
}

// Open fills SessionKey from SealedKey.
func (s *Sealer) Open(v *sandbox.View) error {
	v.SessionKey = ""
	if v.SealedKey == "" {
		return nil
	}
	raw, err := base64.StdEncoding.DecodeString(v.SealedKey)
	if err != nil || len(raw) < s.aead.NonceSize() {
		return fmt.Errorf("the sealed key of %s is malformed", v.RuntimeID)
	}
	n := s.aead.NonceSize()
	key, err := s.aead.Open(nil, raw[:n], raw[n:], []byte(v.RuntimeID))
	if err != nil {
		return fmt.Errorf("the sealed key of %s does not open: is the sealing key the same in all services?", v.RuntimeID)
	}
	v.SessionKey = string(key)
	return nil
}

// EncodeView is a view as it stands in the bucket. It must have been sealed.
func EncodeView(v *sandbox.View) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode view: %w", err)
	}
	return b, nil
}

// DecodeView reads a view and checks that it stands under its own key.
func DecodeView(key string, body []byte) (*sandbox.View, error) {
	tenant, record, ok := ParseViewKey(key)
	if !ok {
		return nil, fmt.Errorf("%.200q is no view key", key)
	}
	var v sandbox.View
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, fmt.Errorf("decode view %s: %w", key, err)
	}
	if v.Tenant != tenant || v.Record != record || sandbox.RecordName(v.Tenant, v.SessionID) != record {
		return nil, fmt.Errorf("the view under %s is another sandbox's", key)
	}
	if !sandbox.ValidRuntimeID(v.RuntimeID) {
		return nil, fmt.Errorf("the view under %s has a malformed runtime id", key)
	}
	return &v, nil
}

// Heartbeat stands in the view bucket under HeartbeatKey, written by the leading
// watcher once a second.
type Heartbeat struct {
	Leader string    `json:"leader"`
	Time   time.Time `json:"time"`
	// Complete is true once a full pass over records and pods, listed after the
	// bucket was made, has been written to it. Until then an absent key says
	// nothing.
	Complete bool `json:"complete"`
	// Created is the bucket's creation time that Complete is about.
	Created time.Time `json:"created"`
	// Gaps is the time that counts against no sandbox, for the next leader; at most
	// MaxGaps.
	Gaps []sandbox.Gap `json:"gaps,omitempty"`
}

// MaxGaps bounds the gaps of a heartbeat.
const MaxGaps = 32

// DecodeHeartbeat reads a heartbeat.
func DecodeHeartbeat(body []byte) (Heartbeat, error) {
	var h Heartbeat
	if err := json.Unmarshal(body, &h); err != nil {
		return Heartbeat{}, fmt.Errorf("decode heartbeat: %w", err)
	}
	if len(h.Gaps) > MaxGaps {
		return Heartbeat{}, fmt.Errorf("heartbeat with %d gaps, at most %d are read", len(h.Gaps), MaxGaps)
	}
	return h, nil
}

// Claim says that a client asked for a sandbox since its last start or resume. It
// stands in the activity bucket, at ClaimSubject, written by a gateway.
type Claim struct {
	RuntimeID  string `json:"runtime_id"`
	Generation int64  `json:"generation"` // of the record
}

// Activity is what a router saw of a sandbox, in the activity bucket.
type Activity struct {
	RuntimeID string    `json:"runtime_id"`
	Last      time.Time `json:"last"` // of the last byte that passed
}
