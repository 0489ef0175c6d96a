package deploy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/sandbar-io/sandbar/pkg/settings"
)

// Read decodes the manifests of deploy/, in the order of their names, with these
// namespaces in place of its own.
func Read(repo, system, sandboxes string) ([]runtime.Object, error) {
	files, err := filepath.Glob(filepath.Join(repo, "deploy", "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("%s holds no manifests", filepath.Join(repo, "deploy"))
	}
	renamed := strings.NewReplacer(systemNamespace, system, sandboxNamespace, sandboxes)
	var all []runtime.Object
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
		docs := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw)))
		for {
			doc, err := docs.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
			}
			o, _, err := scheme.Codecs.UniversalDeserializer().Decode([]byte(renamed.Replace(string(doc))), nil, nil)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
			}
			all = append(all, o)
		}
	}
	return all, nil
}

// manifests are those of deploy/ with all filled in that is to be replaced.
func (o Options) manifests(images map[string]string, old map[string]corev1.Secret) ([]runtime.Object, error) {
	all, err := Read(o.Repo, o.SystemNamespace, o.SandboxNamespace)
	if err != nil {
		return nil, err
	}
	files, err := o.mountedFiles()
	if err != nil {
		return nil, err
	}
	// Before the Deployments, which are told the versions of what they read.
	all = slices.Insert(all, slices.IndexFunc(all, isSecret), files...)
	// Where a controller leads to sandboxes each has routes of its own.
	if mode, set := o.setting("ROUTING_MODE"); set && mode != settings.ByRouter {
		all = slices.DeleteFunc(all, func(m runtime.Object) bool {
			i, ok := m.(*networkingv1.Ingress)
			return ok && i.Name == "router"
		})
	}
	for _, m := range all {
		if err := o.fill(m, images, old); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func isSecret(m runtime.Object) bool { _, ok := m.(*corev1.Secret); return ok }

func (o Options) fill(m runtime.Object, images map[string]string, old map[string]corev1.Secret) error {
	switch m := m.(type) {
	case *corev1.Namespace:
		m.Annotations = map[string]string{madeBy: manager}
	case *corev1.ConfigMap:
		if m.Name == "sandbar" {
			o.configure(m)
		}
	case *corev1.Secret:
		was := old[m.Name]
		return o.secret(m, was.Data)
	case *networkingv1.Ingress:
		return o.hosts(m)
	case *appsv1.Deployment:
		if n, ok := o.Replicas[m.Name]; ok && n > 0 {
			replicas := int32(n)
			m.Spec.Replicas = &replicas
		}
		return o.containers(&m.Spec.Template.Spec, images)
	case *appsv1.StatefulSet:
		if o.StorageClass != "" {
			for i := range m.Spec.VolumeClaimTemplates {
				m.Spec.VolumeClaimTemplates[i].Spec.StorageClassName = &o.StorageClass
			}
		}
		if err := o.containers(&m.Spec.Template.Spec, images); err != nil {
			return err
		}
		if o.NATSImage == "" {
			return ownNATS(&m.Spec.Template.Spec)
		}
	}
	return nil
}

func (o Options) containers(pod *corev1.PodSpec, images map[string]string) error {
	for i := range pod.Containers {
		c := &pod.Containers[i]
		if c.Image = images[c.Name]; c.Image == "" {
			return fmt.Errorf("deploy/ has a container %q, for which there is no image", c.Name)
		}
		if o.CPURequest != "" {
			c.Resources.Requests[corev1.ResourceCPU] = resource.MustParse(o.CPURequest) // settle has parsed it
		}
	}
	return nil
}

// ownNATS runs tools/natsserver, which takes the configuration's path and nothing
// else, in place of nats-server --config path.
func ownNATS(pod *corev1.PodSpec) error {
	for i := range pod.Containers {
		c := &pod.Containers[i]
		if c.Name != "nats" {
			continue
		}
		at := slices.Index(c.Args, "--config")
		if at < 0 || at+1 >= len(c.Args) {
			return fmt.Errorf("deploy/ runs NATS with %q, which names no --config", c.Args)
		}
		c.Command, c.Args = []string{"/usr/local/bin/" + natsServer}, []string{c.Args[at+1]}
	}
	return nil
}

// The host names of deploy/50-ingress.yaml. The API's must not be below the base
// domain, so it is beside it.
const (
	exampleBase = "sandbox.example.com"
	exampleAPI  = "runtime-api.example.com"
)

// Hosts are the API's host name and the base domain of the sandboxes.
func (o Options) Hosts() (api, base string) {
	base, set := o.setting("BASE_DOMAIN")
	if !set || base == "" {
		return exampleAPI, exampleBase
	}
	_, above, _ := strings.Cut(base, ".")
	return strings.TrimSuffix("runtime-api."+above, "."), base
}

func (o Options) hosts(m *networkingv1.Ingress) error {
	api, base := o.Hosts()
	rename := func(host string) string {
		switch host {
		case exampleAPI:
			return api
		case exampleBase:
			return base
		case "*." + exampleBase:
			if s, _ := o.setting("URL_SEPARATOR"); s == "-" {
				_, above, _ := strings.Cut(base, ".")
				return "*." + above
			}
			return "*." + base
		}
		return ""
	}
	for i := range m.Spec.Rules {
		if m.Spec.Rules[i].Host = rename(m.Spec.Rules[i].Host); m.Spec.Rules[i].Host == "" {
			return fmt.Errorf("deploy/'s Ingress %s has a host that is none of the three known ones", m.Name)
		}
	}
	for i := range m.Spec.TLS {
		for j, host := range m.Spec.TLS[i].Hosts {
			m.Spec.TLS[i].Hosts[j] = rename(host)
		}
	}
	if scheme, _ := o.setting("URL_SCHEME"); scheme == "http" {
		m.Spec.TLS = nil
	}
	return nil
}

func (o Options) installation(objects []runtime.Object, images map[string]string) *Installation {
	i := &Installation{SystemNamespace: o.SystemNamespace, SandboxNamespace: o.SandboxNamespace, Images: images}
	for _, m := range objects {
		s, ok := m.(*corev1.Secret)
		if !ok {
			continue
		}
		switch s.Name {
		case "sandbar-api-key":
			i.APIKey = string(s.Data["API_KEY"])
		case "sandbar-nats":
			i.SubscriberPassword = string(s.Data["subscriber"])
		}
	}
	return i
}

func nameOf(m runtime.Object) string {
	name := m.GetObjectKind().GroupVersionKind().Kind
	if meta, ok := m.(metav1.Object); ok {
		name += " " + meta.GetName()
	}
	return name
}
