//go:build system

package system_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// noTime makes the API server refuse all that the provisioners ask, with 429, as one
// does that has too much to do. It returns how many requests were refused so far, and
// what ends it. A level without a share lets one request through as long as there is
// no other; so there is one, which does not end.
func (r *rig) noTime(t *testing.T) (refused func() int, end func()) {
	t.Helper()
	ctx, api, name := t.Context(), bed.kube.FlowcontrolV1(), r.SystemNamespace
	none := int32(0)
	level := &flowcontrolv1.PriorityLevelConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: flowcontrolv1.PriorityLevelConfigurationSpec{
			Type: flowcontrolv1.PriorityLevelEnablementLimited,
			Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{
				NominalConcurrencyShares: &none, LendablePercent: &none, BorrowingLimitPercent: &none,
				LimitResponse: flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject},
			},
		},
	}
	flow := &flowcontrolv1.FlowSchema{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: flowcontrolv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: name}, MatchingPrecedence: 100,
			Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
				Subjects: []flowcontrolv1.Subject{{
					Kind: rbacv1.ServiceAccountKind, ServiceAccount: &flowcontrolv1.ServiceAccountSubject{Namespace: r.SystemNamespace, Name: "provisioner"},
				}},
				ResourceRules: []flowcontrolv1.ResourcePolicyRule{{
					Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}, Namespaces: []string{"*"}, ClusterScope: true,
				}},
			}},
		},
	}
	remove := func(ctx context.Context) {
		_ = api.FlowSchemas().Delete(ctx, name, metav1.DeleteOptions{}) // either may be gone
		_ = api.PriorityLevelConfigurations().Delete(ctx, name, metav1.DeleteOptions{})
	}
	t.Cleanup(func() { remove(context.WithoutCancel(ctx)) })
	if _, err := api.PriorityLevelConfigurations().Create(ctx, level, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	made, err := api.FlowSchemas().Create(ctx, flow, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	metric := func(of string) (n int) {
		raw, err := bed.kube.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
		if err != nil {
			t.Fatal(err)
		}
		value := regexp.MustCompile(`(?m)^` + of + `\{flow_schema="` + name + `".*\} (\S+)$`)
		for _, m := range value.FindAllStringSubmatch(string(raw), -1) {
			v, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			n += int(v)
		}
		return n
	}
	caller, url := r.asProvisioner(t)
	// A request without end that comes before counts elsewhere, for a minute.
	waitFor(t, "the API server knows where the provisioner's requests belong", func(ctx context.Context) (string, bool) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err.Error(), false
		}
		resp, err := caller.Do(req)
		if err != nil {
			return err.Error(), false
		}
		_ = resp.Body.Close()
		of := resp.Header.Get(flowcontrolv1.ResponseHeaderMatchedFlowSchemaUID)
		return resp.Status + " by the schema " + of, of == string(made.UID)
	})
	stop := askSlowly(t, caller, url, func() bool { return metric("apiserver_flowcontrol_current_executing_requests") > 0 })
	t.Cleanup(stop)
	refused = func() int { return metric("apiserver_flowcontrol_rejected_requests_total") }
	return refused, func() { stop(); remove(ctx) }
}

// asProvisioner is a caller with the provisioner's credentials, and what it asks for.
func (r *rig) asProvisioner(t *testing.T) (caller *http.Client, secrets string) {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(r.Dir, "provisioner.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	if caller, err = rest.HTTPClientFor(cfg); err != nil {
		t.Fatal(err)
	}
	return caller, cfg.Host + "/api/v1/namespaces/" + r.SandboxNamespace + "/secrets"
}

// askSlowly keeps one request under way whose body comes to no end, until stop. The
// API server may have refused it, or ends it after a minute; then it is sent anew. It
// returns once the server works on one.
func askSlowly(t *testing.T, caller *http.Client, url string, working func() bool) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var sent atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			sent.Add(1)
			ask(ctx, caller, url)
			select {
			case <-time.After(pollEvery):
			case <-ctx.Done():
			}
		}
	}()
	last, since := int64(-1), time.Now()
	// Not as often as others are looked at: the API server's metrics are megabytes.
	err := client.Poll(t.Context(), 300*time.Millisecond, waitLimit, func(context.Context) (string, bool) {
		if n := sent.Load(); n != last || !working() {
			last, since = n, time.Now()
		}
		return fmt.Sprintf("it was sent %d times", last), time.Since(since) > time.Second
	})
	if err != nil {
		t.Fatalf("the API server works on none: %v", err)
	}
	return sync.OnceFunc(func() {
		cancel()
		<-ended
		caller.CloseIdleConnections()
	})
}

// ask sends a request that has no end, until it is answered or ctx ends.
func ask(ctx context.Context, caller *http.Client, url string) {
	body, more := io.Pipe()
	defer more.Close()
	go func() { _, _ = more.Write([]byte("{")) }() // or nobody reads it
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", "application/json")
	if resp, err := caller.Do(req); err == nil {
		_ = resp.Body.Close()
	}
}

// TestKubernetesHasNoTime: a real API server answers 429. Changes are refused within
// a second, with the time to come again, and each costs one request; reads go on;
// and once there is time again all works, with nothing left of what was refused. Not
// parallel: it measures.
func TestKubernetesHasNoTime(t *testing.T) {
	r := newRig(t, "busy", stack.Options{Gateways: 2, Provisioners: 2})
	if _, err := r.api(0).Start(t.Context(), body(t, "before")); err != nil {
		t.Fatal(err)
	}
	before := waitStatus(t, r.api(0), "before", "running")
	refused, end := r.noTime(t)
	waitFor(t, "the API server refuses", func(ctx context.Context) (string, bool) {
		_, err := r.api(0).Resume(ctx, before.RuntimeID) // changes nothing where it is not refused
		return fmt.Sprint(err), client.StatusOf(err) == http.StatusServiceUnavailable
	})
	begun := refused()
	const changes = 20
	for i := range changes {
		request := client.Request{Method: http.MethodPost, Path: "/start", Body: body(t, fmt.Sprint("refused-", i))}
		if i%2 == 1 {
			request = client.Request{Method: http.MethodPost, Path: "/pause", Body: client.ByID(before.RuntimeID)}
		}
		a, err := r.api(i%2).Do(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		if a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || a.Took > time.Second ||
			!strings.Contains(string(a.Body), "nothing was done") {
			t.Errorf("%s, Retry-After %q, after %s", a, a.Header.Get("Retry-After"), a.Took)
		}
	}
	if n := refused() - begun; n != changes {
		t.Errorf("%d changes cost %d requests", changes, n)
	}
	for _, api := range r.apis() {
		if _, err := api.Session(t.Context(), "before"); err != nil {
			t.Errorf("a read: %v", err)
		}
	}
	end()
	waitFor(t, "it has time again", func(ctx context.Context) (string, bool) {
		_, err := r.api(0).Start(ctx, body(t, "after"))
		return fmt.Sprint(err), err == nil
	})
	waitStatus(t, r.api(1), "after", "running")
	all, err := r.api(0).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 {
		t.Errorf("there are %d sandboxes: %v", len(all), all)
	}
}
