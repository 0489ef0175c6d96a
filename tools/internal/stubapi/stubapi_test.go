package stubapi_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sandbar-io/sandbar/tools/internal/stubapi"
)

func TestMain(m *testing.M) {
	// client-go's transports are kept for ever by their cache.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("golang.org/x/net/http2.(*clientConnReadLoop).run"),
		goleak.IgnoreAnyFunction("net/http.(*http2clientConnReadLoop).run"))
}

const ns = "sandboxes"

func start(t *testing.T) (*stubapi.Server, *rest.Config, kubernetes.Interface) {
	t.Helper()
	s, err := stubapi.Start(t.TempDir())
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	cfg, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	must(t, err)
	cfg.QPS = -1
	client, err := kubernetes.NewForConfig(cfg)
	must(t, err)
	return s, cfg, client
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func secret(name string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "it"}},
		Data:       map[string][]byte{"a": []byte("1"), "b": []byte("2")},
	}
}

func TestCompareAndSwap(t *testing.T) {
	t.Parallel()
	_, _, client := start(t)
	api := client.CoreV1().Secrets(ns)
	first, err := api.Create(t.Context(), secret("one"), metav1.CreateOptions{})
	must(t, err)
	if first.UID == "" || first.ResourceVersion == "" || first.Namespace != ns || first.CreationTimestamp.IsZero() {
		t.Fatalf("metadata: %+v", first.ObjectMeta)
	}
	if _, err := api.Create(t.Context(), secret("one"), metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("a name twice: %v", err)
	}
	if _, err := api.Get(t.Context(), "two", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("an unknown name: %v", err)
	}
	patch := func(rv, uid string) []byte {
		return fmt.Appendf(nil, `{"metadata":{"resourceVersion":%q,"uid":%q},"data":{"a":"Mw==","b":null}}`, rv, uid)
	}
	next, err := api.Patch(t.Context(), "one", types.MergePatchType, patch(first.ResourceVersion, string(first.UID)), metav1.PatchOptions{})
	must(t, err)
	if string(next.Data["a"]) != "3" || len(next.Data) != 1 || next.UID != first.UID || next.ResourceVersion <= first.ResourceVersion {
		t.Errorf("patched: %+v", next)
	}
	for name, p := range map[string][]byte{"old version": patch(first.ResourceVersion, string(first.UID)), "other UID": patch(next.ResourceVersion, "x")} {
		if _, err := api.Patch(t.Context(), "one", types.MergePatchType, p, metav1.PatchOptions{}); !apierrors.IsConflict(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := api.Update(t.Context(), first, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("an update of an old version: %v", err)
	}
	del := func(rv string) error {
		return api.Delete(t.Context(), "one", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &first.UID, ResourceVersion: &rv}})
	}
	if err := del(first.ResourceVersion); !apierrors.IsConflict(err) {
		t.Errorf("a delete of an old version: %v", err)
	}
	must(t, del(next.ResourceVersion))
	if err := del(next.ResourceVersion); !apierrors.IsNotFound(err) {
		t.Errorf("a second delete: %v", err)
	}
}

func TestListIsASnapshotInPages(t *testing.T) {
	t.Parallel()
	_, cfg, client := start(t)
	api := client.CoreV1().Secrets(ns)
	for i := range 7 {
		_, err := api.Create(t.Context(), secret(fmt.Sprintf("s%d", i)), metav1.CreateOptions{})
		must(t, err)
	}
	other := secret("other")
	other.Labels = nil
	_, err := api.Create(t.Context(), other, metav1.CreateOptions{})
	must(t, err)
	opts := metav1.ListOptions{LabelSelector: "app=it", Limit: 3}
	var names []string
	version := ""
	for {
		page, err := api.List(t.Context(), opts)
		must(t, err)
		for _, s := range page.Items {
			names = append(names, s.Name)
		}
		if version != "" && page.ResourceVersion != version {
			t.Errorf("version %s, then %s", version, page.ResourceVersion)
		}
		version = page.ResourceVersion
		// What changes meanwhile does not show.
		_, err = api.Create(t.Context(), secret("s6-"+page.Continue), metav1.CreateOptions{})
		must(t, err)
		if opts.Continue = page.Continue; opts.Continue == "" {
			break
		}
	}
	if got := fmt.Sprint(names); got != "[s0 s1 s2 s3 s4 s5 s6]" {
		t.Errorf("names: %s", got)
	}
	heads, err := metadata.NewForConfig(cfg)
	must(t, err)
	list, err := heads.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).Namespace(ns).
		List(t.Context(), metav1.ListOptions{LabelSelector: "app=it", Limit: 2})
	must(t, err)
	if len(list.Items) != 2 || list.Items[0].Name != "s0" || list.Items[0].Labels["app"] != "it" {
		t.Errorf("metadata: %+v", list.Items)
	}
}

func TestWatchMissesNothing(t *testing.T) {
	t.Parallel()
	s, _, client := start(t)
	api := client.CoreV1().Pods(ns)
	pod := func(name string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "it"}}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}
	}
	first, err := api.Create(t.Context(), pod("one"), metav1.CreateOptions{})
	must(t, err)
	_, err = api.Create(t.Context(), pod("two"), metav1.CreateOptions{})
	must(t, err)
	w, err := api.Watch(t.Context(), metav1.ListOptions{ResourceVersion: first.ResourceVersion, LabelSelector: "app=it"})
	must(t, err)
	defer w.Stop()
	want := func(kind watch.EventType, name string, ready bool) {
		t.Helper()
		select {
		case e := <-w.ResultChan():
			p, ok := e.Object.(*corev1.Pod)
			if !ok || e.Type != kind || p.Name != name || (p.Status.Phase == corev1.PodRunning) != ready {
				t.Fatalf("want %s %s: %s %+v", kind, name, e.Type, e.Object)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no event %s of %s", kind, name)
		}
	}
	want(watch.Added, "two", false)
	must(t, s.SetPod(ns, "one", func(p *corev1.Pod) { stubapi.Ready(p, true, "127.0.0.1") }))
	want(watch.Modified, "one", true)
	must(t, api.Delete(t.Context(), "two", metav1.DeleteOptions{}))
	want(watch.Deleted, "two", false)
}

// Who watched is told that events are missing, and neither list nor watch that begin
// afterwards know of it.
func TestForget(t *testing.T) {
	t.Parallel()
	s, _, client := start(t)
	api := client.CoreV1().Pods(ns)
	_, err := api.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "one"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}, metav1.CreateOptions{})
	must(t, err)
	old, err := api.List(t.Context(), metav1.ListOptions{})
	must(t, err)
	gone := func(w watch.Interface) {
		t.Helper()
		defer w.Stop()
		select {
		case e := <-w.ResultChan():
			if err := apierrors.FromObject(e.Object); e.Type != watch.Error || !apierrors.IsResourceExpired(err) {
				t.Errorf("%s %+v", e.Type, e.Object)
			}
		case <-time.After(10 * time.Second):
			t.Error("no word")
		}
	}
	w, err := api.Watch(t.Context(), metav1.ListOptions{ResourceVersion: old.ResourceVersion})
	must(t, err)
	s.Forget()
	gone(w)
	w, err = api.Watch(t.Context(), metav1.ListOptions{ResourceVersion: old.ResourceVersion})
	must(t, err)
	gone(w)
	now, err := api.List(t.Context(), metav1.ListOptions{})
	must(t, err)
	w, err = api.Watch(t.Context(), metav1.ListOptions{ResourceVersion: now.ResourceVersion})
	must(t, err)
	defer w.Stop()
	must(t, api.Delete(t.Context(), "one", metav1.DeleteOptions{}))
	if e := <-w.ResultChan(); e.Type != watch.Deleted || len(now.Items) != 1 {
		t.Errorf("%s, %d listed", e.Type, len(now.Items))
	}
}

// An informer lists by a watch: its beginning must end with a bookmark.
func TestInformerFollows(t *testing.T) {
	t.Parallel()
	s, _, client := start(t)
	_, err := client.CoreV1().Secrets(ns).Create(t.Context(), secret("one"), metav1.CreateOptions{})
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	f := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(ns))
	lister := f.Core().V1().Secrets().Lister().Secrets(ns)
	f.Start(ctx.Done())
	defer f.Shutdown()
	defer cancel()
	for kind, ok := range f.WaitForCacheSync(ctx.Done()) {
		if !ok {
			t.Fatalf("%v does not sync", kind)
		}
	}
	if got, err := lister.Get("one"); err != nil || string(got.Data["a"]) != "1" {
		t.Errorf("%v %v", got, err)
	}
	if n := s.Calls.All()[stubapi.Call{User: "admin", Verb: "list", Resource: "secrets"}]; n != 0 {
		t.Errorf("%d lists: the informer did not take the stream", n)
	}
}

func TestCallsAreCounted(t *testing.T) {
	t.Parallel()
	s, _, client := start(t)
	_, err := client.CoreV1().Secrets(ns).Create(t.Context(), secret("one"), metav1.CreateOptions{})
	must(t, err)
	before := s.Calls.All()
	seen := 0
	s.Before(func(context.Context, stubapi.Call) { seen++ })
	_, err = client.CoreV1().Secrets(ns).Get(t.Context(), "one", metav1.GetOptions{})
	must(t, err)
	if got := s.Calls.Since(before).String(); got != "admin get secrets ×1" || seen != 1 {
		t.Errorf("%s, seen %d", got, seen)
	}
	if s.Calls.All().Of("nobody").Total() != 0 || s.Count("secrets") != 1 {
		t.Error("counts of nobody, or of objects")
	}
}
