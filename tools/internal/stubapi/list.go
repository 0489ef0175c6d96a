package stubapi

import (
	"net/http"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes/scheme"
)

// page is the rest of a list of which the beginning was asked for.
type page struct {
	rest    []*entry
	version uint64
}

// maxPages bounds the lists that nobody reads to their end.
const maxPages = 1000

func (s *Server) list(w http.ResponseWriter, r *http.Request, t target, sel labels.Selector) error {
	q := r.URL.Query()
	limit, _ := strconv.Atoi(q.Get("limit"))
	p, err := s.page(q.Get("continue"), t, sel)
	if err != nil {
		return err
	}
	shown, next := p.rest, ""
	if limit > 0 && len(shown) > limit {
		shown, next = shown[:limit], s.keep(page{p.rest[limit:], p.version})
	}
	out, err := listOf(t, shown, headsOnly(r))
	if err != nil {
		return err
	}
	head, err := meta.ListAccessor(out)
	if err != nil {
		return err
	}
	head.SetResourceVersion(strconv.FormatUint(p.version, 10))
	head.SetContinue(next)
	return encode(w, r, http.StatusOK, out)
}

// listOf is the list of a resource, or of its metadata alone.
func listOf(t target, shown []*entry, heads bool) (runtime.Object, error) {
	if heads {
		out := &metav1.PartialObjectMetadataList{Items: make([]metav1.PartialObjectMetadata, len(shown))}
		out.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind("PartialObjectMetadataList"))
		for i, e := range shown {
			out.Items[i].ObjectMeta = headOf(e.object)
		}
		return out, nil
	}
	out := resources[t.resource]()
	kinds, _, err := scheme.Scheme.ObjectKinds(out)
	if err != nil {
		return nil, err
	}
	out.GetObjectKind().SetGroupVersionKind(kinds[0])
	items := make([]runtime.Object, len(shown))
	for i, e := range shown {
		items[i] = e.object
	}
	return out, meta.SetList(out, items)
}

// headOf is an object's metadata, as far as anybody asks for it.
func headOf(o object) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: o.GetName(), Namespace: o.GetNamespace(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion(),
		CreationTimestamp: o.GetCreationTimestamp(), DeletionTimestamp: o.GetDeletionTimestamp(),
		Labels: o.GetLabels(), Annotations: o.GetAnnotations(), OwnerReferences: o.GetOwnerReferences(), Finalizers: o.GetFinalizers(),
	}
}

func headsOnly(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadataList")
}

// page is the list, or what is left of it.
func (s *Server) page(token string, t target, sel labels.Selector) (page, error) {
	if token == "" {
		all, version := s.store.list(t.resource, t.key.Namespace, sel)
		return page{all, version}, nil
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	p, ok := s.store.pages[token]
	if !ok {
		return page{}, errGone
	}
	delete(s.store.pages, token)
	return p, nil
}

func (s *Server) keep(p page) string {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if len(s.store.pages) >= maxPages {
		clear(s.store.pages) // whoever still reads one is told 410 and lists anew
	}
	token := string(uuid.NewUUID())
	s.store.pages[token] = p
	return token
}
