//go:build apiserver

package cluster_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/settings"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/objects"
)

// kinds is how each kind is made, and in which objects it shows.
var kinds = []struct {
	kind   string
	create func(context.Context, *cluster.Cluster, *sandbox.Record) error
}{
	{"Pod", func(ctx context.Context, c *cluster.Cluster, r *sandbox.Record) error {
		_, err := c.CreatePod(ctx, r, cluster.LookFirst)
		return err
	}},
	{"PersistentVolumeClaim", func(ctx context.Context, c *cluster.Cluster, r *sandbox.Record) error {
		return c.CreateVolume(ctx, r, cluster.LookFirst)
	}},
	{"Service", func(ctx context.Context, c *cluster.Cluster, r *sandbox.Record) error {
		return c.CreateRoute(ctx, r, cluster.LookFirst)
	}},
	{"Ingress", func(ctx context.Context, c *cluster.Cluster, r *sandbox.Record) error {
		return c.CreateRoute(ctx, r, cluster.LookFirst)
	}},
}

// find reads the object of a kind that a record has, nil if there is none.
func (w *world) find(r *sandbox.Record, kind string) *sandbox.Object {
	w.t.Helper()
	if kind == "Pod" {
		p, err := w.cluster().Pod(w.t.Context(), sandbox.PodName(r.RuntimeID, r.Incarnation))
		must(w.t, err)
		if p == nil {
			return nil
		}
		return &sandbox.Object{Kind: kind, Name: p.Name, UID: p.UID, RecordUID: p.RecordUID, RuntimeID: p.RuntimeID, Generation: p.Generation, Terminating: p.Terminating}
	}
	all, err := w.cluster().Objects(w.t.Context(), r.Name)
	must(w.t, err)
	for _, o := range all {
		if o.Kind == kind {
			return &o
		}
	}
	return nil
}

func (w *world) remove(o *sandbox.Object) error {
	if o.Kind == "Pod" {
		return w.cluster().DeletePod(w.t.Context(), &sandbox.Pod{Name: o.Name, UID: o.UID})
	}
	return w.cluster().DeleteObject(w.t.Context(), o)
}

func TestCreateTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	for _, k := range kinds {
		t.Run(k.kind, func(t *testing.T) {
			t.Parallel()
			r := w.record("session of " + k.kind)
			must(t, k.create(t.Context(), w.cluster(), r))
			first := w.find(r, k.kind)
			if first == nil || first.RecordUID != r.UID || first.RuntimeID != r.RuntimeID || first.Generation != r.Generation || first.Terminating {
				t.Fatalf("%+v", first)
			}
			r.Generation++ // of a later generation it is as good
			errs := make(chan error, 8)
			for range cap(errs) {
				go func() { errs <- k.create(t.Context(), w.cluster(), r) }()
			}
			for range cap(errs) {
				must(t, <-errs)
			}
			if again := w.find(r, k.kind); again == nil || *again != *first {
				t.Errorf("%+v became %+v", first, again)
			}
		})
	}
}

// The answer of a create that was made before is the pod as it is.
func TestCreatePodReturnsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	r := w.record("s")
	first, err := w.cluster().CreatePod(t.Context(), r, cluster.LookFirst)
	must(t, err)
	again, err := w.cluster().CreatePod(t.Context(), r, cluster.LookFirst)
	must(t, err)
	read, err := w.cluster().Pod(t.Context(), first.Name)
	must(t, err)
	if first.UID == "" || again.UID != first.UID || read.UID != first.UID || first.Order == 0 || first.Record != r.Name || first.Incarnation != 1 {
		t.Errorf("%+v, %+v, %+v", first, again, read)
	}
	pods, order, err := w.cluster().Pods(t.Context(), r.Name)
	must(t, err)
	if len(pods) != 1 || pods[0].UID != first.UID || order < first.Order {
		t.Errorf("%+v at %d", pods, order)
	}
	if p, err := w.cluster().Pod(t.Context(), "no-such-pod"); p != nil || err != nil {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestEnding(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	for _, k := range kinds {
		t.Run(k.kind, func(t *testing.T) {
			t.Parallel()
			r := w.record("session of " + k.kind)
			must(t, k.create(t.Context(), w.cluster(), r))
			first := w.find(r, k.kind)
			w.hold(k.kind, first.Name)
			must(t, w.remove(first))
			if o := w.find(r, k.kind); o == nil || !o.Terminating {
				t.Fatalf("%+v", o)
			}
			if err := k.create(t.Context(), w.cluster(), r); !errors.Is(err, cluster.ErrEnding) || cluster.Permanent(err) {
				t.Fatalf("%v", err)
			}
			w.release(k.kind, first.Name)
			w.until("its end", func() bool { return w.find(r, k.kind) == nil })
			must(t, k.create(t.Context(), w.cluster(), r))
			if again := w.find(r, k.kind); again == nil || again.UID == first.UID || again.Terminating {
				t.Errorf("%+v became %+v", first, again)
			}
		})
	}
}

// An object of that name which another record made is not ours: it goes with the
// collector, and converge waits for that.
func TestAnotherRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	for _, k := range kinds {
		t.Run(k.kind, func(t *testing.T) {
			t.Parallel()
			r := w.record("session of " + k.kind)
			must(t, k.create(t.Context(), w.cluster(), r))
			again := r.Clone()
			again.UID = "3f0c3d3e-0000-4000-8000-000000000000"
			if err := k.create(t.Context(), w.cluster(), again); !errors.Is(err, cluster.ErrEnding) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestDeleteByUID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	for _, k := range kinds {
		t.Run(k.kind, func(t *testing.T) {
			t.Parallel()
			r := w.record("session of " + k.kind)
			must(t, k.create(t.Context(), w.cluster(), r))
			o := w.find(r, k.kind)
			other := *o
			other.UID = "3f0c3d3e-0000-4000-8000-000000000000"
			must(t, w.remove(&other))
			if now := w.find(r, k.kind); now == nil || now.Terminating {
				t.Fatalf("deleted by its name: %+v", now)
			}
			must(t, w.remove(o))
			w.until("its end", func() bool { return w.find(r, k.kind) == nil })
			must(t, w.remove(o)) // gone is fine
		})
	}
	if err := w.cluster().DeleteObject(t.Context(), &sandbox.Object{Kind: "Node", Name: "n"}); err == nil {
		t.Error("any kind is deleted")
	}
}

// With the record goes what is left of it.
func TestCollector(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	r := w.record("s")
	for _, k := range kinds {
		must(t, k.create(t.Context(), w.cluster(), r))
	}
	must(t, w.cluster().DeleteRecord(t.Context(), r))
	for _, k := range kinds {
		w.until(k.kind+" to be collected", func() bool { return w.find(r, k.kind) == nil })
	}
}

func inRouterMode(c objects.Config) objects.Config {
	c.RoutingMode = settings.ByRouter
	return c
}

func TestRoutingModes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	for name, tt := range map[string]struct {
		mode string
		want []string
	}{
		"router":  {settings.ByRouter, []string{"PersistentVolumeClaim"}},
		"ingress": {settings.ByIngress, []string{"Ingress", "PersistentVolumeClaim", "Service"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := w.config()
			cfg.RoutingMode = tt.mode
			c := cluster.New(w.client, nil, cfg)
			r := w.record(name)
			must(t, c.CreateVolume(t.Context(), r, cluster.LookFirst))
			must(t, c.CreateRoute(t.Context(), r, cluster.LookFirst))
			all, err := c.Objects(t.Context(), r.Name)
			must(t, err)
			named, err := c.ObjectsOf(t.Context(), r.RuntimeID)
			must(t, err)
			if !slices.Equal(named, all) {
				t.Errorf("by name there is %+v, listed %+v", named, all)
			}
			var got []string
			for _, o := range all {
				got = append(got, o.Kind)
				if o.Name != r.RuntimeID || o.RecordUID != r.UID || o.Volume != (o.Kind == "PersistentVolumeClaim") {
					t.Errorf("%+v", o)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, tt.want) {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestNoVolume(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	cfg := w.config()
	cfg.WorkspaceSize = resource.Quantity{}
	c := cluster.New(w.client, nil, inRouterMode(cfg))
	r := w.record("s")
	must(t, c.CreateVolume(t.Context(), r, cluster.LookFirst))
	_, err := c.CreatePod(t.Context(), r, cluster.LookFirst)
	must(t, err)
	if all, err := c.Objects(t.Context(), r.Name); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
	if named, err := c.ObjectsOf(t.Context(), r.RuntimeID); err != nil || len(named) != 0 {
		t.Errorf("%v, %v", named, err)
	}
}

// A quota is told by the API server's own words; what is there already is not
// hurt by one that is full, whatever is looked at first.
func TestQuota(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "baseline")
			name := map[string]corev1.ResourceName{
				"Pod": "pods", "PersistentVolumeClaim": "persistentvolumeclaims", "Service": "services", "Ingress": "count/ingresses.networking.k8s.io",
			}[k.kind]
			w.quota(corev1.ResourceList{name: resource.MustParse("1")})
			one, two := w.record("one"), w.record("two")
			must(t, k.create(t.Context(), w.cluster(), one))
			err := k.create(t.Context(), w.cluster(), two)
			wants(t, err, sandbox.CodeQuota, "exceeded quota: room", "requested: "+string(name)+"=1", "used: "+string(name)+"=1", "limited: "+string(name)+"=1")
			if !cluster.Permanent(err) {
				t.Error("it is tried again")
			}
			if strings.Contains(sandbox.MessageOf(err), two.RuntimeID) {
				t.Errorf("%q", sandbox.MessageOf(err))
			}
			if w.find(two, k.kind) != nil {
				t.Error("it was made")
			}
			for range 3 {
				must(t, k.create(t.Context(), w.cluster(), one))
			}
		})
	}
	// A quota counts creates, those of what is there too, until its next recount.
	t.Run("is not used up by repeating", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "baseline")
		w.quota(corev1.ResourceList{"pods": resource.MustParse("3"), "persistentvolumeclaims": resource.MustParse("3")})
		r := w.record("s")
		for range 5 {
			_, err := w.cluster().CreatePod(t.Context(), r, cluster.LookFirst)
			must(t, err)
			must(t, w.cluster().CreateVolume(t.Context(), r, cluster.LookFirst))
		}
		q, err := w.client.CoreV1().ResourceQuotas(w.ns).Get(t.Context(), "room", metav1.GetOptions{})
		must(t, err)
		for _, name := range []corev1.ResourceName{"pods", "persistentvolumeclaims"} {
			if used := q.Status.Used[name]; used.Value() != 1 {
				t.Errorf("%s: %s are used", name, used.String())
			}
		}
	})
	t.Run("records", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "baseline")
		w.quota(corev1.ResourceList{"count/secrets": resource.MustParse("1")})
		one := w.record("one")
		_, err := w.cluster().CreateRecord(t.Context(), newRecord("two"))
		wants(t, err, sandbox.CodeQuota, "exceeded quota")
		if _, err := w.cluster().CreateRecord(t.Context(), newRecord("one")); !errors.Is(err, cluster.ErrMoved) {
			t.Errorf("one that is there: %v", err)
		}
		next := one.Clone()
		next.Fence++
		if _, err := w.cluster().UpdateRecord(t.Context(), one, next); err != nil {
			t.Error(err)
		}
	})
}

// What the cluster will never take is told at once, and is no reason to try
// again.
func TestRefused(t *testing.T) {
	t.Parallel()
	zero, max := int64(0), resource.MustParse("500m")
	for name, tt := range map[string]struct {
		level  string
		before func(*world)
		change func(*sandbox.Record)
		code   sandbox.Code
		words  []string
	}{
		"an invalid pod": {change: func(r *sandbox.Record) { r.Spec.Environment = map[string]string{"a=b": "x"} }, code: sandbox.CodeInvalid, words: []string{"spec.containers[0].env"}},
		"root under restricted": {
			level: "restricted", change: func(r *sandbox.Record) { r.Spec.RunAsUser = &zero },
			code: sandbox.CodeForbidden, words: []string{"violates PodSecurity", "restricted"},
		},
		"over a limit range": {
			before: func(w *world) {
				_, err := w.client.CoreV1().LimitRanges(w.ns).Create(w.t.Context(), &corev1.LimitRange{
					ObjectMeta: metav1.ObjectMeta{Name: "limits"},
					Spec:       corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{Type: corev1.LimitTypeContainer, Max: corev1.ResourceList{"cpu": max}}}},
				}, metav1.CreateOptions{})
				must(w.t, err)
			},
			code: sandbox.CodeForbidden, words: []string{"maximum cpu usage per Container is 500m"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			level := tt.level
			if level == "" {
				level = "baseline"
			}
			w := newWorld(t, level)
			if tt.before != nil {
				tt.before(w)
			}
			r := w.record("s")
			if tt.change != nil {
				tt.change(r)
			}
			_, err := w.cluster().CreatePod(t.Context(), r, cluster.LookFirst)
			wants(t, err, tt.code, tt.words...)
			if !cluster.Permanent(err) {
				t.Error("it is tried again")
			}
		})
	}
	t.Run("a runtime class that is not there", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "baseline")
		cfg := w.config()
		cfg.RuntimeClass = "no-such-class"
		_, err := cluster.New(w.client, nil, inRouterMode(cfg)).CreatePod(t.Context(), w.record("s"), cluster.LookFirst)
		wants(t, err, sandbox.CodeForbidden, `RuntimeClass "no-such-class" not found`)
	})
	t.Run("a record that is too large", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "baseline")
		r := newRecord("s")
		r.Spec.Environment["BIG"] = strings.Repeat("x", 1<<20)
		_, err := w.cluster().CreateRecord(t.Context(), r)
		if !cluster.Permanent(err) || strings.Contains(err.Error(), "xxx") {
			t.Errorf("%.300v", err)
		}
	})
}

// webhook makes an admission webhook of the namespace's pods, served by answer.
func (w *world) webhook(answer http.HandlerFunc) {
	w.t.Helper()
	srv := httptest.NewTLSServer(answer)
	w.t.Cleanup(srv.Close)
	path, effects := srv.URL, admissionv1.SideEffectClassNone
	hooks := w.client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	made, err := hooks.Create(w.t.Context(), &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: w.ns},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "pods.sandbar.test", SideEffects: &effects, AdmissionReviewVersions: []string{"v1"},
			ClientConfig: admissionv1.WebhookClientConfig{
				URL:      &path,
				CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}),
			},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.ns}},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	}, metav1.CreateOptions{})
	must(w.t, err)
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := hooks.Delete(ctx, made.Name, metav1.DeleteOptions{}); err != nil {
			w.t.Error(err)
		}
	})
}

// A webhook that says no says it for ever, with any code of its own; one that does not
// answer may do so in a moment.
func TestRefusedByAWebhook(t *testing.T) {
	t.Parallel()
	says := func(status string) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			var review struct{ Request struct{ UID string } }
			if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
				t.Error(err)
			}
			rw.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(rw, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":%q,"allowed":false,"status":%s}}`, review.Request.UID, status)
		}
	}
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		code   sandbox.Code // "": tried again
		words  string
	}{
		"without a code": {says(`{"message":"images must be signed"}`), sandbox.CodeForbidden, "images must be signed"},
		"with 403":       {says(`{"code":403,"message":"images must be signed"}`), sandbox.CodeForbidden, "images must be signed"},
		"with 422":       {says(`{"code":422,"message":"images must be signed"}`), sandbox.CodeForbidden, "images must be signed"},
		"out of order":   {func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) }, "", "failed calling webhook"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "baseline")
			r := w.record("s")
			w.webhook(tt.answer)
			var err error
			w.until("the webhook", func() bool {
				_, err = w.cluster().CreatePod(t.Context(), r, cluster.LookFirst)
				if err == nil { // it is not known to the API server yet
					must(t, w.remove(w.find(r, "Pod")))
				}
				return err != nil && !errors.Is(err, cluster.ErrEnding)
			})
			if !strings.Contains(err.Error(), tt.words) {
				t.Errorf("%v", err)
			}
			if tt.code != "" {
				wants(t, err, tt.code, tt.words)
			}
			if cluster.Permanent(err) != (tt.code != "") {
				t.Errorf("it is tried again: %t; %v", !cluster.Permanent(err), err)
			}
		})
	}
}

// A namespace that is being deleted takes nothing new, and lets go of what is there.
func TestNamespaceIsBeingDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	r := w.record("s")
	_, err := w.cluster().CreatePod(t.Context(), r, cluster.LookFirst)
	must(t, err)
	w.hold("Pod", sandbox.PodName(r.RuntimeID, r.Incarnation)) // else the namespace would be gone
	defer w.release("Pod", sandbox.PodName(r.RuntimeID, r.Incarnation))
	must(t, w.client.CoreV1().Namespaces().Delete(t.Context(), w.ns, metav1.DeleteOptions{}))
	other := newRecord("other")
	_, err = w.cluster().CreateRecord(t.Context(), other)
	wants(t, err, sandbox.CodeForbidden, "the namespace of the sandboxes is being deleted")
	if !cluster.Permanent(err) {
		t.Error("a record: it is tried again")
	}
	other.UID, other.AsOf = "9d2b6e0c-0000-4000-8000-000000000000", time.Now() // as if it had been made
	for _, k := range kinds {
		err := k.create(t.Context(), w.cluster(), other)
		wants(t, err, sandbox.CodeForbidden, "the namespace of the sandboxes is being deleted")
		if !cluster.Permanent(err) {
			t.Errorf("%s: it is tried again", k.kind)
		}
	}
	must(t, w.remove(w.find(r, "Pod")))
}

// What may be there in a moment is tried again.
func TestNotRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	cfg := w.config()
	cfg.ServiceAccount = "not-yet"
	c := cluster.New(w.client, nil, inRouterMode(cfg))
	r := w.record("s")
	if _, err := c.CreatePod(t.Context(), r, cluster.LookFirst); err == nil || cluster.Permanent(err) {
		t.Fatalf("%v", err)
	}
	w.account("not-yet")
	w.until("the pod", func() bool { _, err := c.CreatePod(t.Context(), r, cluster.LookFirst); return err == nil })
}

// Every golden object is taken by the API server in a namespace that enforces
// baseline, and the pod of a client that names a user, under restricted too.
func TestGoldenObjectsAreTaken(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../objects/testdata/golden/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, level := range []string{"baseline", "restricted"} {
		w := newWorld(t, level)
		w.account("sandbox")
		for _, class := range []string{"gvisor", "sysbox-prod"} {
			_, err := w.client.NodeV1().RuntimeClasses().Create(t.Context(), &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: class}, Handler: "runc"}, metav1.CreateOptions{})
			if err != nil && !apierrors.IsAlreadyExists(err) {
				t.Fatal(err)
			}
		}
		for _, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), ".yaml")
			t.Run(level+"/"+name, func(t *testing.T) {
				t.Parallel()
				body, err := os.ReadFile(file)
				must(t, err)
				for _, doc := range strings.Split(string(body), "\n---\n") {
					err := w.take(t, []byte(doc))
					// The others say nothing of their user, or want to be root.
					strict := slices.Contains([]string{"v1", "sdk", "path-mode", "resumed"}, name)
					refused := level == "restricted" && !strict && strings.Contains(doc, "kind: Pod\n")
					byPolicy := apierrors.IsForbidden(err) && strings.Contains(err.Error(), "violates PodSecurity")
					if refused && !byPolicy || !refused && err != nil {
						t.Errorf("%v", err)
					}
				}
			})
		}
	}
}

// take creates an object without keeping it.
func (w *world) take(t *testing.T, doc []byte) error {
	t.Helper()
	var meta metav1.TypeMeta
	must(t, yaml.Unmarshal(doc, &meta))
	opts := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict}
	var err error
	switch meta.Kind {
	case "Pod":
		var o corev1.Pod
		must(t, yaml.UnmarshalStrict(doc, &o))
		o.Namespace = w.ns
		_, err = w.client.CoreV1().Pods(w.ns).Create(t.Context(), &o, opts)
	case "PersistentVolumeClaim":
		var o corev1.PersistentVolumeClaim
		must(t, yaml.UnmarshalStrict(doc, &o))
		o.Namespace = w.ns
		_, err = w.client.CoreV1().PersistentVolumeClaims(w.ns).Create(t.Context(), &o, opts)
	case "Service":
		var o corev1.Service
		must(t, yaml.UnmarshalStrict(doc, &o))
		o.Namespace = w.ns
		_, err = w.client.CoreV1().Services(w.ns).Create(t.Context(), &o, opts)
	case "Ingress":
		var o networkingv1.Ingress
		must(t, yaml.UnmarshalStrict(doc, &o))
		o.Namespace = w.ns
		_, err = w.client.NetworkingV1().Ingresses(w.ns).Create(t.Context(), &o, opts)
	default:
		t.Fatalf("kind %q", meta.Kind)
	}
	return err
}

// A sandbox whose client names a user runs in a namespace that enforces
// restricted, with all that belongs to it; so does one without where root is not
// allowed.
func TestRestricted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "restricted")
	id := int64(10001)
	for name, tt := range map[string]struct {
		user *int64
		root bool
	}{"a user": {&id, true}, "the image's user, root not allowed": {nil, false}} {
		cfg := w.config()
		cfg.AllowRoot = tt.root
		c := cluster.New(w.client, nil, cfg)
		r := w.record(name)
		r.Spec.RunAsUser, r.Spec.RunAsGroup = tt.user, tt.user
		for _, k := range kinds {
			if err := k.create(t.Context(), c, r); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
