package stubapi

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
)

// longest is how long a watch lasts whose client does not say; the real server
// takes 30 to 60 minutes.
const longest = 30 * time.Minute

// stream writes the events of one watch.
type stream struct {
	w    http.ResponseWriter
	t    target
	sel  labels.Selector
	form runtime.SerializerInfo
}

func (s *Server) watch(w http.ResponseWriter, r *http.Request, t target, sel labels.Selector) {
	q := r.URL.Query()
	last := longest
	if n, err := strconv.Atoi(q.Get("timeoutSeconds")); err == nil && n > 0 {
		last = time.Duration(n) * time.Second
	}
	ctx, cancel := context.WithTimeout(r.Context(), last)
	defer cancel()
	out := stream{w: w, t: t, sel: sel, form: answers(r)}
	from, _ := strconv.ParseUint(q.Get("resourceVersion"), 10, 64)
	w.Header().Set("Content-Type", out.form.MediaType+";stream=watch")
	w.WriteHeader(http.StatusOK)
	if q.Get("sendInitialEvents") == "true" || from == 0 {
		all, version := s.store.list(t.resource, t.key.Namespace, sel)
		for _, e := range all {
			if out.send(watch.Added, e.object) != nil {
				return
			}
		}
		from = version
		if q.Get("sendInitialEvents") == "true" && out.bookmark(version) != nil {
			return
		}
	}
	s.follow(ctx, out, from)
}

// follow sends what comes after a version until the watch ends.
func (s *Server) follow(ctx context.Context, out stream, from uint64) {
	for {
		events, changed, err := s.store.since(out.t.resource, from)
		if err != nil {
			_ = out.send(watch.Error, status(http.StatusGone, metav1.StatusReasonExpired, err.Error()))
			return
		}
		for _, e := range events {
			from = e.rv
			if out.event(e) != nil {
				return
			}
		}
		if err := http.NewResponseController(out.w).Flush(); err != nil {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (o stream) event(e event) error {
	was, is := selects(e.old, o.t.key.Namespace, o.sel), selects(e.next, o.t.key.Namespace, o.sel)
	switch {
	case is && was:
		return o.send(watch.Modified, e.next.object)
	case is:
		return o.send(watch.Added, e.next.object)
	case was:
		return o.send(watch.Deleted, e.old.object)
	}
	return nil
}

func (o stream) send(kind watch.EventType, obj runtime.Object) error {
	var inner, outer bytes.Buffer
	if err := o.form.Serializer.Encode(obj, &inner); err != nil {
		return err
	}
	event := &metav1.WatchEvent{Type: string(kind), Object: runtime.RawExtension{Raw: inner.Bytes()}}
	if err := o.form.StreamSerializer.Encode(event, &outer); err != nil {
		return err
	}
	_, err := o.form.StreamSerializer.NewFrameWriter(o.w).Write(outer.Bytes())
	return err
}

// bookmark says that the first events were all.
func (o stream) bookmark(version uint64) error {
	list := resources[o.t.resource]()
	kinds, _, err := scheme.Scheme.ObjectKinds(list)
	if err != nil {
		return err
	}
	kind := kinds[0]
	kind.Kind = strings.TrimSuffix(kind.Kind, "List")
	obj, err := scheme.Scheme.New(kind)
	if err != nil {
		return err
	}
	mark := obj.(object) // of whose list is known, the object is too
	mark.GetObjectKind().SetGroupVersionKind(kind)
	mark.SetResourceVersion(strconv.FormatUint(version, 10))
	mark.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	return o.send(watch.Bookmark, mark)
}
