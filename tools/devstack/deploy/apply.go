package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// applier applies objects of any kind, as `kubectl apply --server-side` does.
type applier struct {
	client   dynamic.Interface
	mapper   meta.RESTMapper
	versions map[string]string // of the ConfigMaps and Secrets that were applied
}

func apply(ctx context.Context, kubeconfig string, objects []runtime.Object) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	config.QPS = -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	about, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	groups, err := restmapper.GetAPIGroupResources(about)
	if err != nil {
		return fmt.Errorf("ask what the cluster knows: %w", err)
	}
	a := applier{client: client, mapper: restmapper.NewDiscoveryRESTMapper(groups), versions: map[string]string{}}
	for _, o := range objects {
		if err := a.apply(ctx, o); err != nil {
			return fmt.Errorf("apply %s: %w", nameOf(o), err)
		}
	}
	return nil
}

func (a applier) apply(ctx context.Context, o runtime.Object) error {
	switch o := o.(type) {
	case *appsv1.Deployment:
		a.sign(&o.Spec.Template)
	case *appsv1.StatefulSet:
		a.sign(&o.Spec.Template)
	}
	kind := o.GetObjectKind().GroupVersionKind()
	mapping, err := a.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return err
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return err
	}
	delete(fields, "status")
	u := &unstructured.Unstructured{Object: fields}
	var api dynamic.ResourceInterface = a.client.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		api = a.client.Resource(mapping.Resource).Namespace(u.GetNamespace())
	}
	done, err := api.Apply(ctx, u.GetName(), u, metav1.ApplyOptions{FieldManager: manager, Force: true})
	if err != nil {
		return err
	}
	a.versions[key(kind.Kind, u.GetName())] = done.GetResourceVersion()
	return nil
}

func key(kind, name string) string { return kind + "/" + name }

// inputs tells a pod template by which versions of its ConfigMaps and Secrets its
// pods began, so that a change replaces them.
const inputs = "sandbar.io/inputs"

func (a applier) sign(pod *corev1.PodTemplateSpec) {
	var read []string
	for _, name := range reads(pod.Spec) {
		read = append(read, name+"@"+a.versions[name])
	}
	slices.Sort(read)
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(read), " ")))
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[inputs] = hex.EncodeToString(sum[:8])
}

// reads are the ConfigMaps and Secrets that are a pod's environment or volumes.
func reads(pod corev1.PodSpec) (names []string) {
	for _, c := range pod.Containers {
		for _, from := range c.EnvFrom {
			if from.ConfigMapRef != nil {
				names = append(names, key("ConfigMap", from.ConfigMapRef.Name))
			}
		}
		for _, e := range c.Env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
				names = append(names, key("Secret", e.ValueFrom.SecretKeyRef.Name))
			}
		}
	}
	for _, v := range pod.Volumes {
		if v.ConfigMap != nil {
			names = append(names, key("ConfigMap", v.ConfigMap.Name))
		}
	}
	return names // a Secret as a volume is API_KEYS_FILE's, which is read again when it changes
}
