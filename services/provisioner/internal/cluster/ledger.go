package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/quota"
)

// ledgerType is the type of a ledger's Secret. It holds no secret: it is one
// because the provisioner may write these, and no other kind of the like.
const ledgerType corev1.SecretType = "sandbar.io/ledger"

const (
	dataLedger = "ledger"
	// ledgerVersion is written by this code. A ledger of a higher one is not
	// touched.
	ledgerVersion = 1
)

// wireLedger is the JSON under dataLedger.
type wireLedger struct {
	Version int                               `json:"version"`
	Tenant  string                            `json:"tenant"`
	Key     string                            `json:"key"`
	Places  map[string]map[string]quota.Place `json:"places"`
	Starts  []quota.Start                     `json:"starts"`
}

// Requests is what the sandbox of a spec asks for: millicores, and bytes of memory.
func (c *Cluster) Requests(s *sandbox.Spec) (cpu, memory int64) { return c.objects.Requests(s) }

// Ledger reads a ledger live, nil if there is none.
func (c *Cluster) Ledger(ctx context.Context, tenant, key string) (*quota.Ledger, error) {
	s, err := c.client.CoreV1().Secrets(c.ns).Get(ctx, sandbox.LedgerName(tenant, key), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fail(err, "get", "secrets")
	}
	return decodeLedger(s, tenant, key)
}

// decodeLedger trusts nothing in a ledger: what cannot be read is not written
// over, as nobody could say then what runs.
func decodeLedger(s *corev1.Secret, tenant, key string) (*quota.Ledger, error) {
	var w wireLedger
	if err := json.Unmarshal(s.Data[dataLedger], &w); err != nil {
		return nil, fmt.Errorf("ledger %s cannot be read: %w", s.Name, err)
	}
	switch {
	case w.Version > ledgerVersion:
		return nil, fmt.Errorf("ledger %s has version %d, this program knows %d", s.Name, w.Version, ledgerVersion)
	case w.Tenant != tenant || w.Key != key:
		return nil, fmt.Errorf("ledger %s is another key's", s.Name)
	}
	if w.Places == nil {
		w.Places = map[string]map[string]quota.Place{}
	}
	return &quota.Ledger{
		Tenant: tenant, Key: key, UID: string(s.UID), Version: s.ResourceVersion, Places: w.Places, Starts: w.Starts,
	}, nil
}

// SwapLedger writes a ledger over the version that it was read as, or makes it.
// quota.ErrMoved if there is another.
func (c *Cluster) SwapLedger(ctx context.Context, l *quota.Ledger) error {
	body, err := json.Marshal(wireLedger{Version: ledgerVersion, Tenant: l.Tenant, Key: l.Key, Places: l.Places, Starts: l.Starts})
	if err != nil {
		return fmt.Errorf("encode ledger: %w", err)
	}
	api := c.client.CoreV1().Secrets(c.ns)
	name, data := sandbox.LedgerName(l.Tenant, l.Key), map[string][]byte{dataLedger: body}
	verb := "create"
	if l.Version == "" {
		_, err = api.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
				kube.LabelComponent: kube.ComponentLedger, kube.LabelTenant: l.Tenant,
			}},
			Type: ledgerType, Data: data,
		}, metav1.CreateOptions{})
	} else {
		var patch []byte
		verb = "patch"
		patch, err = json.Marshal(map[string]any{
			"metadata": map[string]any{"uid": l.UID, "resourceVersion": l.Version}, "data": data,
		})
		if err != nil {
			return fmt.Errorf("encode ledger: %w", err)
		}
		_, err = api.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || verb == "patch" && apierrors.IsNotFound(err) {
		return quota.ErrMoved
	}
	if err != nil {
		return fail(err, verb, "secrets")
	}
	return nil
}
