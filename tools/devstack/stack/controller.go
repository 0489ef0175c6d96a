package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sandbar-io/sandbar/pkg/settings"
	"github.com/sandbar-io/sandbar/tools/internal/process"
)

// Controller is the ingress controller that leads to the sandboxes of a stack in
// place of the router. It is a process, as the router is, and for the same reasons:
// it listens on this machine's own ports and dials pods by their addresses. Its
// rights are those that it would have as a pod.
type Controller struct {
	Traefik   string // the program; "": no controller
	Cert, Key string // of TLS; "": plain HTTP
	CA        string // by which the watcher trusts Cert
}

// controllerName is its process and its service account.
const controllerName = "traefik"

// stripAPIKey is the middleware that takes X-API-Key out, in Traefik's words.
const stripAPIKey = "strip-api-key"

func (s *Stack) mode() string { return lastOf(s.Settings, "ROUTING_MODE") }

// className is that of the stack's IngressClass, GatewayClass and ClusterRole, which
// have no namespace.
func (s *Stack) className() string { return "traefik-" + s.SystemNamespace }

// install makes what the controller needs in the cluster, and its kubeconfig.
func (s *Stack) install(ctx context.Context, client kubernetes.Interface) error {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: controllerName, Namespace: s.SystemNamespace}}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: s.className()}, Rules: controllerRules()}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: s.className()},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: s.className()},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: controllerName, Namespace: s.SystemNamespace}},
	}
	class := &networkingv1.IngressClass{
		ObjectMeta: metav1.ObjectMeta{Name: s.className()},
		Spec:       networkingv1.IngressClassSpec{Controller: "traefik.io/ingress-controller"},
	}
	opts := metav1.CreateOptions{}
	_, accountErr := client.CoreV1().ServiceAccounts(s.SystemNamespace).Create(ctx, account, opts)
	_, roleErr := client.RbacV1().ClusterRoles().Create(ctx, role, opts)
	_, bindingErr := client.RbacV1().ClusterRoleBindings().Create(ctx, binding, opts)
	_, classErr := client.NetworkingV1().IngressClasses().Create(ctx, class, opts)
	for _, err := range []error{accountErr, roleErr, bindingErr, classErr} {
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("install the controller: %w", err)
		}
	}
	if s.mode() == settings.ByGatewayAPI {
		if err := s.installGateway(ctx, client); err != nil {
			return fmt.Errorf("install the Gateway: %w", err)
		}
	}
	_, err := s.kubeconfig(ctx, client, controllerName)
	return err
}

// controllerRules are what Traefik's documentation asks for.
func controllerRules() []rbacv1.PolicyRule {
	read := []string{"get", "list", "watch"}
	return []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"services", "secrets", "nodes", "namespaces", "configmaps"}, Verbs: read},
		{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: read},
		{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"ingresses", "ingressclasses"}, Verbs: read},
		{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"ingresses/status"}, Verbs: []string{"update"}},
		{APIGroups: []string{gatewayGroup}, Resources: []string{
			"gatewayclasses", "gateways", "httproutes", "grpcroutes", "tlsroutes", "referencegrants", "backendtlspolicies", "listenersets",
		}, Verbs: read},
		{APIGroups: []string{gatewayGroup}, Resources: []string{
			"gatewayclasses/status", "gateways/status", "httproutes/status", "grpcroutes/status", "tlsroutes/status",
			"backendtlspolicies/status", "listenersets/status",
		}, Verbs: []string{"update", "patch"}},
	}
}

// controllerSettings are what the services are told of the controller.
func (s *Stack) controllerSettings() []string {
	if s.Controller.Traefik == "" {
		return nil
	}
	out := []string{
		// Names below the base domain are the machine's, not always its resolver's.
		"ROUTE_CHECK_ADDRESS=127.0.0.1:" + strconv.Itoa(s.RouterPort),
		"INGRESS_CLASS=" + s.className(),
		"SANDBOX_INGRESS_ANNOTATIONS=traefik.ingress.kubernetes.io/router.middlewares=" + stripAPIKey + "@file",
		"GATEWAY_NAME=" + gatewayName, "GATEWAY_NAMESPACE=" + s.SystemNamespace,
	}
	if s.Controller.CA != "" {
		out = append(out, "ROUTE_CHECK_CA_FILE="+s.Controller.CA)
	}
	return out
}

// StartController starts Traefik, and waits until it serves.
func (s *Stack) StartController(ctx context.Context) error {
	path := filepath.Join(s.Dir, "traefik.yaml")
	if err := os.WriteFile(path, []byte(s.dynamic()), 0o600); err != nil {
		return fmt.Errorf("configure the controller: %w", err)
	}
	ping, err := port(0, 0)
	if err != nil {
		return err
	}
	p, err := s.table.Start(process.Command{
		Name: controllerName, Path: s.Controller.Traefik, Argv: s.controllerArgs(path, ping),
		Env: []string{"KUBECONFIG=" + filepath.Join(s.Dir, controllerName+".kubeconfig")},
	})
	if err != nil {
		return err
	}
	return s.until(ctx, p, func() error { return get(ctx, fmt.Sprintf("http://127.0.0.1:%d/ping", ping)) })
}

func (s *Stack) controllerArgs(dynamic string, ping int) []string {
	args := []string{
		"--global.checknewversion=false", "--global.sendanonymoususage=false",
		"--entrypoints.web.address=:" + strconv.Itoa(s.RouterPort),
		// As the router: no limit on how long a request may take, and paths as they are.
		"--entrypoints.web.transport.respondingtimeouts.readtimeout=0",
		"--entrypoints.web.http.sanitizepath=false",
		fmt.Sprintf("--entrypoints.ping.address=127.0.0.1:%d", ping), "--ping=true", "--ping.entrypoint=ping",
		"--providers.file.filename=" + dynamic,
		// Changes wait for others at most so long; its default is 2 s.
		"--providers.providersthrottleduration=200ms",
	}
	for _, c := range []string{"slash", "backslash", "nullcharacter", "semicolon", "percent", "questionmark", "hash"} {
		args = append(args, "--entrypoints.web.http.encodedcharacters.allowencoded"+c+"=true")
	}
	if s.Controller.Cert != "" {
		args = append(args, "--entrypoints.web.http.tls=true")
	}
	if s.mode() == settings.ByGatewayAPI {
		return append(args, "--providers.kubernetesgateway=true",
			"--providers.kubernetesgateway.namespaces="+s.SystemNamespace+","+s.SandboxNamespace)
	}
	return append(args, "--providers.kubernetesingress=true",
		// 503 for a sandbox that is paused, not 404: clients resume on the first only.
		"--providers.kubernetesingress.allowemptyservices=true",
		"--providers.kubernetesingress.ingressclass="+s.className(), "--providers.kubernetesingress.namespaces="+s.SandboxNamespace)
}

// dynamic is the part of Traefik's configuration that routes refer to.
func (s *Stack) dynamic() string {
	var out strings.Builder
	fmt.Fprintf(&out, "http:\n  middlewares:\n    %s:\n      headers:\n        customRequestHeaders: {X-API-Key: \"\"}\n", stripAPIKey)
	if s.Controller.Cert != "" {
		fmt.Fprintf(&out, "tls:\n  stores:\n    default:\n      defaultCertificate: {certFile: %q, keyFile: %q}\n", s.Controller.Cert, s.Controller.Key)
	}
	return out.String()
}

// settleController says what does not fit together.
func (o *Options) settleController() error {
	if o.Controller.Traefik == "" {
		return nil
	}
	o.Routers = 0
	if (o.Controller.Cert == "") != (o.Controller.Key == "") {
		return errors.New("a controller's certificate and key go together")
	}
	if tls := lastOf(o.Settings, "URL_SCHEME") == "https"; tls != (o.Controller.Cert != "") {
		return errors.New("URL_SCHEME=https and a certificate (TLS_CERT_FILE, TLS_KEY_FILE) go together: the controller serves TLS by it")
	}
	return nil
}
