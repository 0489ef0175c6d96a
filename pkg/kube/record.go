package kube

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Data keys of a record's Secret. Session keys have numbers: the kubelet may
// read the Secret through a cache that lags, and so finds a new key either right
// or not at all.
const (
	dataRecord = "record"
	// DataSecretKey holds OH_SECRET_KEY.
	DataSecretKey = "secret_key"
	sessionPrefix = "session_key."
)

// AnnotationSession shows the session id to people.
const AnnotationSession = "sandbar.io/session-id"

// SecretType is the type of a record's Secret.
const SecretType corev1.SecretType = "sandbar.io/record"

// recordVersion is written by this code. A record of a higher one is not
// touched.
const recordVersion = 1

// DataSessionKey is the data key of session key number n.
func DataSessionKey(n int) string { return sessionPrefix + strconv.Itoa(n) }

// wireRecord is the JSON under dataRecord. What a newer version writes besides
// goes through Record.Unknown.
type wireRecord struct {
	Version     int             `json:"version"`
	Tenant      string          `json:"tenant"`
	SessionID   string          `json:"session_id"`
	RuntimeID   string          `json:"runtime_id"`
	Original    string          `json:"original"`
	Desired     sandbox.Desired `json:"desired"`
	Generation  int64           `json:"generation"`
	Incarnation int64           `json:"incarnation"`
	Fence       uint64          `json:"fence"`
	LastCommand string          `json:"last_command"`
	Reason      string          `json:"reason"`
	Holder      string          `json:"holder"`
	Place       string          `json:"place"`
	Spec        sandbox.Spec    `json:"spec"`
	Route       sandbox.Route   `json:"route"`
	KeyNumber   int             `json:"key_number"`
	CreatedAt   time.Time       `json:"created_at"`
	ChangedAt   time.Time       `json:"changed_at"`
	Begun       int64           `json:"begun"`
	BegunAt     time.Time       `json:"begun_at"`
}

// EncodeRecord makes the Secret of a record.
func EncodeRecord(r *sandbox.Record) (*corev1.Secret, error) {
	body, err := encode(r)
	if err != nil {
		return nil, err
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: r.Name, Labels: RecordLabels(r), Annotations: map[string]string{AnnotationSession: r.SessionID},
		},
		Type: SecretType,
		Data: map[string][]byte{
			dataRecord: body, DataSecretKey: []byte(r.SecretKey), DataSessionKey(r.KeyNumber): []byte(r.SessionKey),
		},
	}, nil
}

// EncodeUpdate makes the JSON merge patch that turns the Secret of prev into the
// one of next, and fails with a conflict if it is not prev any more. Labels and
// annotations of others stay. Of the session keys the last two stay: a pod of
// the incarnation before may still read its own.
func EncodeUpdate(prev, next *sandbox.Record) ([]byte, error) {
	body, err := encode(next)
	if err != nil {
		return nil, err
	}
	data := map[string]any{
		dataRecord: body, DataSecretKey: []byte(next.SecretKey), DataSessionKey(next.KeyNumber): []byte(next.SessionKey),
	}
	for n := next.KeyNumber - 4; n < next.KeyNumber-1; n++ {
		if n > 0 {
			data[DataSessionKey(n)] = nil
		}
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{
			"uid": prev.UID, "resourceVersion": prev.ResourceVersion, "labels": RecordLabels(next),
		},
		"data": data,
	})
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	return patch, nil
}

func encode(r *sandbox.Record) ([]byte, error) {
	body, err := sandbox.EncodeKnown(wireRecord{
		Version: recordVersion, Tenant: r.Tenant, SessionID: r.SessionID, RuntimeID: r.RuntimeID, Original: r.Original,
		Desired: r.Desired, Generation: r.Generation, Incarnation: r.Incarnation, Fence: r.Fence,
		LastCommand: r.LastCommand, Reason: r.Reason, Holder: r.Holder, Place: r.Place, Spec: r.Spec, Route: r.Route, KeyNumber: r.KeyNumber,
		CreatedAt: r.CreatedAt, ChangedAt: r.ChangedAt, Begun: r.Begun, BegunAt: r.BegunAt,
	}, r.Unknown)
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	return body, nil
}

// DecodeRecord reads a record from its Secret. It trusts nothing in it: the name
// must be the one of tenant and session, so that nobody can make one sandbox
// stand for another.
func DecodeRecord(s *corev1.Secret) (*sandbox.Record, error) {
	var w wireRecord
	later, err := sandbox.DecodeKnown(s.Data[dataRecord], &w)
	if err != nil {
		return nil, fmt.Errorf("record %s cannot be read: %w", s.Name, err)
	}
	switch {
	case w.Version > recordVersion:
		return nil, fmt.Errorf("record %s has version %d, this program knows %d", s.Name, w.Version, recordVersion)
	case sandbox.RecordName(w.Tenant, w.SessionID) != s.Name || !sandbox.ValidTenant(w.Tenant):
		return nil, fmt.Errorf("record %s is another session's", s.Name)
	case !sandbox.ValidRuntimeID(w.RuntimeID):
		return nil, fmt.Errorf("record %s has a malformed runtime id", s.Name)
	case w.Desired != sandbox.Running && w.Desired != sandbox.Paused && w.Desired != sandbox.Stopped:
		return nil, fmt.Errorf("record %s wants %.32q", s.Name, w.Desired)
	}
	return &sandbox.Record{
		Name: s.Name, UID: string(s.UID), ResourceVersion: s.ResourceVersion,
		Tenant: w.Tenant, SessionID: w.SessionID, RuntimeID: w.RuntimeID, Original: w.Original, Desired: w.Desired,
		Generation: w.Generation, Incarnation: w.Incarnation, Fence: w.Fence, LastCommand: w.LastCommand, Reason: w.Reason,
		Holder: w.Holder, Place: w.Place,
		Spec: w.Spec, Route: w.Route,
		SessionKey: string(s.Data[DataSessionKey(w.KeyNumber)]), KeyNumber: w.KeyNumber,
		SecretKey: string(s.Data[DataSecretKey]),
		CreatedAt: w.CreatedAt, ChangedAt: w.ChangedAt, Begun: w.Begun, BegunAt: w.BegunAt, Unknown: later,
	}, nil
}

func uid(s string) types.UID { return types.UID(s) }
