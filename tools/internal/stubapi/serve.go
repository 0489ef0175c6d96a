package stubapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
)

// resources are those that are known, with the kind of their lists.
var resources = map[string]func() runtime.Object{
	"namespaces":             func() runtime.Object { return &corev1.NamespaceList{} },
	"secrets":                func() runtime.Object { return &corev1.SecretList{} },
	"pods":                   func() runtime.Object { return &corev1.PodList{} },
	"services":               func() runtime.Object { return &corev1.ServiceList{} },
	"persistentvolumeclaims": func() runtime.Object { return &corev1.PersistentVolumeClaimList{} },
	"serviceaccounts":        func() runtime.Object { return &corev1.ServiceAccountList{} },
	"leases":                 func() runtime.Object { return &coordinationv1.LeaseList{} },
	"roles":                  func() runtime.Object { return &rbacv1.RoleList{} },
	"rolebindings":           func() runtime.Object { return &rbacv1.RoleBindingList{} },
	"ingresses":              func() runtime.Object { return &networkingv1.IngressList{} },
}

// maxBody is above what a Secret may hold.
const maxBody = 4 << 20

// target is what a path names.
type target struct {
	groupVersion string // v1, coordination.k8s.io/v1
	resource     string
	key          types.NamespacedName
	sub          string
}

// parse reads /api/v1/... and /apis/group/version/...
func parse(path string) (target, bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	var t target
	switch {
	case len(parts) > 2 && parts[0] == "api":
		t.groupVersion, parts = parts[1], parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		t.groupVersion, parts = parts[1]+"/"+parts[2], parts[3:]
	default:
		return t, false
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		t.key.Namespace, parts = parts[1], parts[2:]
	}
	t.resource = parts[0]
	if len(parts) > 1 {
		t.key.Name = parts[1]
	}
	if len(parts) > 2 {
		t.sub = parts[2]
	}
	_, known := resources[t.resource]
	return t, known && len(parts) <= 3
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t, ok := parse(r.URL.Path)
	if !ok {
		refuse(w, r, http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the requested resource")
		return
	}
	user := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if user == "" {
		refuse(w, r, http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "no token")
		return
	}
	call := Call{User: user, Verb: verb(r, t), Resource: t.resource}
	if t.sub != "" {
		call.Resource += "/" + t.sub
	}
	s.Calls.add(call)
	sel, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		refuse(w, r, http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
		return
	}
	if call.Verb == "watch" {
		s.watch(w, r, t, sel)
		return
	}
	if before := s.before.Load(); before != nil {
		(*before)(r.Context(), call)
	}
	if err := s.answer(w, r, t, call.Verb, sel); err != nil {
		tell(w, r, t, err)
	}
}

func verb(r *http.Request, t target) string {
	switch r.Method {
	case http.MethodGet:
		if r.URL.Query().Get("watch") == "true" || r.URL.Query().Get("watch") == "1" {
			return "watch"
		}
		if t.key.Name == "" {
			return "list"
		}
		return "get"
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		return "delete"
	}
	return r.Method
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, t target, verb string, sel labels.Selector) error {
	if verb == "list" {
		return s.list(w, r, t, sel)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return err
	}
	var e *entry
	code := http.StatusOK
	switch {
	case t.sub == "log":
		_, err = w.Write(nil)
		return err
	case t.sub == "token":
		return encode(w, r, http.StatusCreated, &authenticationv1.TokenRequest{
			TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenRequest"},
			Status:   authenticationv1.TokenRequestStatus{Token: t.key.Name},
		})
	case t.sub != "" && t.sub != "status":
		return fmt.Errorf("subresource %q: %w", t.sub, errMissing)
	case verb == "get":
		e, err = s.store.get(t.resource, t.key)
	case verb == "create":
		code = http.StatusCreated
		var o object
		if o, err = decode(body); err == nil {
			e, err = s.store.create(t.resource, t.key.Namespace, o)
		}
	case verb == "update":
		e, err = s.store.update(t.resource, t.key, func(object) (object, error) { return decode(body) })
	case verb == "patch":
		e, err = s.patch(t, r.Header.Get("Content-Type"), body)
	case verb == "delete":
		e, err = s.delete(t, body)
	default:
		return fmt.Errorf("%s: not allowed", verb)
	}
	if err != nil {
		return err
	}
	return encode(w, r, code, e.object)
}

func (s *Server) patch(t target, kind string, body []byte) (*entry, error) {
	if types.PatchType(kind) != types.MergePatchType {
		return nil, fmt.Errorf("patch of type %q: only merge patches are taken", kind)
	}
	return s.store.update(t.resource, t.key, func(old object) (object, error) {
		raw, err := json.Marshal(old)
		if err != nil {
			return nil, err
		}
		if raw, err = jsonpatch.MergePatch(raw, body); err != nil {
			return nil, err
		}
		return decode(raw)
	})
}

func (s *Server) delete(t target, body []byte) (*entry, error) {
	var opts metav1.DeleteOptions
	if len(body) > 0 {
		if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, &opts); err != nil {
			return nil, err
		}
	}
	return s.store.remove(t.resource, t.key, opts.Preconditions)
}

// tell answers with an error as the real server words it.
func tell(w http.ResponseWriter, r *http.Request, t target, err error) {
	code, reason := http.StatusBadRequest, metav1.StatusReasonBadRequest
	switch {
	case errors.Is(err, errMissing):
		code, reason = http.StatusNotFound, metav1.StatusReasonNotFound
	case errors.Is(err, errExists):
		code, reason = http.StatusConflict, metav1.StatusReasonAlreadyExists
	case errors.Is(err, errConflict):
		code, reason = http.StatusConflict, metav1.StatusReasonConflict
	case errors.Is(err, errGone):
		code, reason = http.StatusGone, metav1.StatusReasonExpired
	}
	refuse(w, r, int32(code), reason, fmt.Sprintf("%s %q: %v", t.resource, t.key.Name, err))
}

func refuse(w http.ResponseWriter, r *http.Request, code int32, reason metav1.StatusReason, message string) {
	_ = encode(w, r, int(code), status(code, reason, message)) // a client that is gone needs no answer
}

func status(code int32, reason metav1.StatusReason, message string) *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: code, Reason: reason, Message: message,
	}
}
