package deploy

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Manifests are what Deploy applies, with images of these names.
func Manifests(o Options, old map[string]corev1.Secret) ([]runtime.Object, error) {
	if err := o.settle(); err != nil {
		return nil, err
	}
	images := map[string]string{}
	for _, r := range recipes {
		for _, p := range r.programs {
			images[p.name] = "registry:5000/" + r.name + ":1"
		}
	}
	images["nats"] = images[natsServer]
	if o.NATSImage != "" {
		images["nats"] = o.NATSImage
	}
	return o.manifests(images, old)
}
