package stubapi

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// decode reads what a client sent: protobuf, as client-go does by itself, or JSON.
func decode(body []byte) (object, error) {
	o, kind, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		return nil, err
	}
	out, ok := o.(object)
	if !ok {
		return nil, fmt.Errorf("%s has no metadata", kind)
	}
	out.GetObjectKind().SetGroupVersionKind(*kind)
	return out, nil
}

// answers is how a client wants its answer: the first form of its Accept header
// that is known.
func answers(r *http.Request) runtime.SerializerInfo {
	known := scheme.Codecs.SupportedMediaTypes()
	for form := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		media, _, err := mime.ParseMediaType(form)
		if err != nil {
			continue
		}
		if info, ok := runtime.SerializerInfoForMediaType(known, media); ok {
			return info
		}
	}
	info, _ := runtime.SerializerInfoForMediaType(known, runtime.ContentTypeJSON) // always known
	return info
}

func encode(w http.ResponseWriter, r *http.Request, code int, o runtime.Object) error {
	info := answers(r)
	var b bytes.Buffer
	if err := info.Serializer.Encode(o, &b); err != nil {
		return err
	}
	w.Header().Set("Content-Type", info.MediaType)
	w.WriteHeader(code)
	_, err := w.Write(b.Bytes())
	return err
}
