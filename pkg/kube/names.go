// Package kube is how records and sandboxes look in Kubernetes, for the services
// that talk to it: the codec of a record, names and labels, and a pod as
// pkg/sandbox sees it.
package kube

import (
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Labels of records and of what belongs to them.
const (
	LabelComponent   = "sandbar.io/component" // ComponentRecord, ComponentLedger, or ComponentSandbox on all else
	LabelTenant      = "sandbar.io/tenant"
	LabelRuntimeID   = "sandbar.io/runtime-id"
	LabelRecord      = "sandbar.io/record"
	LabelRecordUID   = "sandbar.io/record-uid"
	LabelGeneration  = "sandbar.io/generation" // of the record, that made the object
	LabelIncarnation = "sandbar.io/incarnation"

	ComponentRecord  = "record"
	ComponentLedger  = "ledger"
	ComponentSandbox = "sandbox"
)

// Selectors of the informers.
const (
	RecordSelector  = LabelComponent + "=" + ComponentRecord
	SandboxSelector = LabelComponent + "=" + ComponentSandbox
)

// KindVolume is the kind of sandbox.Object that holds the workspace.
const KindVolume = "PersistentVolumeClaim"

// RecordLabels are the labels of a record's Secret.
func RecordLabels(r *sandbox.Record) map[string]string {
	return map[string]string{
		LabelComponent: ComponentRecord,
		LabelTenant:    r.Tenant,
		LabelRuntimeID: r.RuntimeID,
	}
}

// ObjectLabels are the labels of what converge makes for a record.
func ObjectLabels(r *sandbox.Record) map[string]string {
	return map[string]string{
		LabelComponent:   ComponentSandbox,
		LabelTenant:      r.Tenant,
		LabelRuntimeID:   r.RuntimeID,
		LabelRecord:      r.Name,
		LabelRecordUID:   r.UID,
		LabelGeneration:  strconv.FormatInt(r.Generation, 10),
		LabelIncarnation: strconv.FormatInt(r.Incarnation, 10),
	}
}

// Owner makes an object go with its record: the collector removes what is left.
func Owner(r *sandbox.Record) []metav1.OwnerReference {
	yes, no := true, false
	return []metav1.OwnerReference{{
		APIVersion: "v1", Kind: "Secret", Name: r.Name, UID: uid(r.UID),
		Controller: &yes, BlockOwnerDeletion: &no,
	}}
}

// SelectorOf selects what belongs to these records, one at least.
func SelectorOf(records ...string) string {
	if len(records) == 1 {
		return SandboxSelector + "," + LabelRecord + "=" + records[0]
	}
	return SandboxSelector + "," + LabelRecord + " in (" + strings.Join(records, ",") + ")"
}

// RecordOf is the name of the record that an object belongs to, by its label.
func RecordOf(m metav1.Object) string { return m.GetLabels()[LabelRecord] }

// ObjectOf reads the labels of an object that converge made.
func ObjectOf(m metav1.Object, kind string) sandbox.Object {
	l := m.GetLabels()
	return sandbox.Object{
		Kind: kind, Name: m.GetName(), UID: string(m.GetUID()), RecordUID: l[LabelRecordUID],
		RuntimeID: l[LabelRuntimeID], Generation: number(l[LabelGeneration]),
		Terminating: m.GetDeletionTimestamp() != nil, Volume: kind == KindVolume,
	}
}

// number reads what we wrote; anything else is 0, older than all.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
