package stack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gateways "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"
	"sigs.k8s.io/yaml"
)

const (
	gatewayGroup  = "gateway.networking.k8s.io"
	gatewayModule = "sigs.k8s.io/gateway-api"
	gatewayName   = "sandbar"
	certSecret    = "sandbar-gateway-tls"
)

// InstallGatewayAPI applies the CRDs of the standard channel, which lie in the
// module that the provisioner is built with, and waits until they are served.
func InstallGatewayAPI(ctx context.Context, repo, kubeconfig string) error {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", gatewayModule)
	cmd.Dir, cmd.Env = filepath.Join(repo, "tools"), append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("find %s: %w", gatewayModule, err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "config", "crd", "standard", gatewayGroup+"_*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("%s holds no CRDs: %w", gatewayModule, err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	for _, file := range files {
		if err := applyCRD(ctx, client, file); err != nil {
			return fmt.Errorf("apply %s: %w", filepath.Base(file), err)
		}
	}
	return nil
}

// applyCRD applies one file; the policy against downgrades, which lies among
// them, is of no use to a cluster that lives for a day.
func applyCRD(ctx context.Context, client dynamic.Interface, file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var crd unstructured.Unstructured
	if err := yaml.Unmarshal(raw, &crd.Object); err != nil {
		return err
	}
	if crd.GetKind() != "CustomResourceDefinition" {
		return nil
	}
	api := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	delete(crd.Object, "status")
	if _, err := api.Apply(ctx, crd.GetName(), &crd, metav1.ApplyOptions{FieldManager: "devstack", Force: true}); err != nil {
		return err
	}
	w, err := api.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + crd.GetName()})
	if err != nil {
		return err
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		if o, ok := e.Object.(*unstructured.Unstructured); ok && established(o) {
			return nil
		}
	}
	return ctx.Err()
}

func established(crd *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == "Established" && c["status"] == "True" {
			return true
		}
	}
	return false
}

// installGateway makes the class and the shared Gateway, which sandboxes of the
// stack's own namespace may hang on.
func (s *Stack) installGateway(ctx context.Context, client kubernetes.Interface) error {
	if err := InstallGatewayAPI(ctx, s.Repo, s.Cluster.Kubeconfig); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", s.Cluster.Kubeconfig)
	if err != nil {
		return err
	}
	api, err := gateways.NewForConfig(config)
	if err != nil {
		return err
	}
	class := &gatewayv1.GatewayClass{
		ObjectMeta: metav1.ObjectMeta{Name: s.className()},
		Spec:       gatewayv1.GatewayClassSpec{ControllerName: "traefik.io/gateway-controller"},
	}
	if _, err := api.GatewayV1().GatewayClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	if err := s.certSecret(ctx, client); err != nil {
		return err
	}
	// A stack that comes up again may have another port or certificate.
	old := api.GatewayV1().Gateways(s.SystemNamespace)
	if err := old.Delete(ctx, gatewayName, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	_, err = old.Create(ctx, s.gateway(), metav1.CreateOptions{})
	return err
}

func (s *Stack) gateway() *gatewayv1.Gateway {
	listener := gatewayv1.Listener{
		Name: "web", Port: gatewayv1.PortNumber(s.RouterPort), Protocol: gatewayv1.HTTPProtocolType,
		AllowedRoutes: &gatewayv1.AllowedRoutes{Namespaces: &gatewayv1.RouteNamespaces{
			From:     new(gatewayv1.NamespacesFromSelector),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: s.SandboxNamespace}},
		}},
	}
	if s.Controller.Cert != "" {
		listener.Protocol = gatewayv1.HTTPSProtocolType
		listener.TLS = &gatewayv1.ListenerTLSConfig{CertificateRefs: []gatewayv1.SecretObjectReference{{Name: certSecret}}}
	}
	return &gatewayv1.Gateway{
		ObjectMeta: metav1.ObjectMeta{Name: gatewayName, Namespace: s.SystemNamespace},
		Spec: gatewayv1.GatewaySpec{
			GatewayClassName: gatewayv1.ObjectName(s.className()), Listeners: []gatewayv1.Listener{listener},
		},
	}
}

func (s *Stack) certSecret(ctx context.Context, client kubernetes.Interface) error {
	if s.Controller.Cert == "" {
		return nil
	}
	cert, err := os.ReadFile(s.Controller.Cert)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(s.Controller.Key)
	if err != nil {
		return err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: certSecret, Namespace: s.SystemNamespace}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: cert, corev1.TLSPrivateKeyKey: key},
	}
	_, err = client.CoreV1().Secrets(s.SystemNamespace).Create(ctx, secret, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = client.CoreV1().Secrets(s.SystemNamespace).Update(ctx, secret, metav1.UpdateOptions{})
	}
	return err
}
