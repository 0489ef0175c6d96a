package stack

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Secrets are made once for a stack and kept beside it.
type Secrets struct {
	APIKey     string            `json:"api_key"`
	SealingKey string            `json:"sealing_key"`
	NATS       map[string]string `json:"nats"` // user → password
}

// Users of deploy/nats/nats.conf.
var Users = []string{"gateway", "provisioner", "watcher", "router", "subscriber"}

// secrets reads the stack's secrets, or makes them.
func (s *Stack) secrets() error {
	path := filepath.Join(s.Dir, "secrets.json")
	raw, err := os.ReadFile(path)
	if err == nil {
		return json.Unmarshal(raw, &s.Secrets)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("secrets: %w", err)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	s.Secrets = Secrets{APIKey: NewAPIKey(), SealingKey: base64.StdEncoding.EncodeToString(key), NATS: map[string]string{}}
	for _, u := range append([]string{routes}, Users...) {
		s.Secrets.NATS[u] = "p" + token() // NATS' configuration wants it to begin with a letter
	}
	if raw, err = json.Marshal(s.Secrets); err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	return nil
}

func token() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// GiveRights applies namespaces, service accounts, Roles and bindings of deploy/,
// into the stack's own namespaces.
func (s *Stack) GiveRights(ctx context.Context, client kubernetes.Interface) error {
	files, err := filepath.Glob(filepath.Join(s.Repo, "deploy", "*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("deploy/ holds no manifests: %w", err)
	}
	for _, ns := range []string{s.SystemNamespace, s.SandboxNamespace} {
		o := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}
		if _, err := client.CoreV1().Namespaces().Create(ctx, o, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("make namespace %s: %w", ns, err)
		}
	}
	for _, file := range files {
		if err := s.applyFile(ctx, client, file); err != nil {
			return fmt.Errorf("apply %s: %w", filepath.Base(file), err)
		}
	}
	return nil
}

func (s *Stack) applyFile(ctx context.Context, client kubernetes.Interface, file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for doc := range strings.SplitSeq("\n"+string(raw), "\n---") {
		doc = s.rename(doc)
		if strings.TrimSpace(stripComments(doc)) == "" {
			continue
		}
		o, _, err := scheme.Codecs.UniversalDeserializer().Decode([]byte(doc), nil, nil)
		if err != nil {
			return err
		}
		if err := apply(ctx, client, o); err != nil {
			return err
		}
	}
	return nil
}

func stripComments(doc string) string {
	var out strings.Builder
	for line := range strings.Lines(doc) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			out.WriteString(line)
		}
	}
	return out.String()
}

// rename puts the stack's namespaces in place of those of deploy/.
func (s *Stack) rename(doc string) string {
	return strings.NewReplacer(defaultSystemNamespace, s.SystemNamespace, defaultSandboxNamespace, s.SandboxNamespace).Replace(doc)
}

func apply(ctx context.Context, client kubernetes.Interface, o any) error {
	var err error
	switch o := o.(type) {
	case *corev1.ServiceAccount:
		_, err = client.CoreV1().ServiceAccounts(o.Namespace).Create(ctx, o, metav1.CreateOptions{})
	case *rbacv1.Role:
		api := client.RbacV1().Roles(o.Namespace)
		if _, err = api.Create(ctx, o, metav1.CreateOptions{}); apierrors.IsAlreadyExists(err) {
			_, err = api.Update(ctx, o, metav1.UpdateOptions{})
		}
	case *rbacv1.RoleBinding:
		_, err = client.RbacV1().RoleBindings(o.Namespace).Create(ctx, o, metav1.CreateOptions{})
	}
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// tokenLife of a service account's token: longer than any stack of a developer.
const tokenLife = 7 * 24 * 3600

// kubeconfig writes the kubeconfig of a service account's own token.
func (s *Stack) kubeconfig(ctx context.Context, client kubernetes.Interface, account string) (string, error) {
	life := int64(tokenLife)
	t, err := client.CoreV1().ServiceAccounts(s.SystemNamespace).CreateToken(ctx, account,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &life}}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("token of %s: %w", account, err)
	}
	admin, err := clientcmd.LoadFromFile(s.Cluster.Kubeconfig)
	if err != nil {
		return "", fmt.Errorf("admin's kubeconfig: %w", err)
	}
	cfg := clientcmdapi.NewConfig()
	for _, c := range admin.Clusters {
		c.LocationOfOrigin = ""
		cfg.Clusters["cluster"] = c
	}
	cfg.AuthInfos[account] = &clientcmdapi.AuthInfo{Token: t.Status.Token}
	cfg.Contexts["it"] = &clientcmdapi.Context{Cluster: "cluster", AuthInfo: account, Namespace: s.SandboxNamespace}
	cfg.CurrentContext = "it"
	path := filepath.Join(s.Dir, account+".kubeconfig")
	if err := clientcmd.WriteToFile(*cfg, path); err != nil {
		return "", fmt.Errorf("kubeconfig of %s: %w", account, err)
	}
	return path, nil
}
