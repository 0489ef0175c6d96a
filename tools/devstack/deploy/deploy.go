// Package deploy installs Sandbar from deploy/ into a cluster: it makes and pushes
// the images, fills in what deploy/README.md says is to be replaced, applies the
// manifests, and waits until all of it runs. `make up KUBECONFIG=path` and
// tools/deploytest use it.
package deploy

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sandbar-io/sandbar/tools/devcluster/cluster"
)

// Options say what goes where.
type Options struct {
	Kubeconfig string // of one who may make namespaces and Roles
	Registry   string // host:port; images are pushed there over plain HTTP, and nodes pull from there
	Repo       string // the source
	Dir        string // where the images' folders are laid out; empty: below Repo

	// The two namespaces; empty: those of deploy/.
	SystemNamespace, SandboxNamespace string

	// Settings are settings of the services, KEY=value, the last of a name wins.
	// What wires the services together, and to NATS, is not theirs to say.
	Settings []string
	// Replicas by Deployment, in place of those of deploy/.
	Replicas map[string]int
	// CPURequest of each pod, in place of those of deploy/, for small machines.
	CPURequest string
	// StorageClass of NATS' volume; empty: the cluster's default.
	StorageClass string
	// Images by container, of an Installation; empty: they are built and pushed.
	Images map[string]string
	// NATSImage is run as deploy/ says; empty: an image of tools/natsserver is made,
	// for clusters that reach no public registry.
	NATSImage string

	Log func(format string, a ...any)
}

// Installation is what was deployed.
type Installation struct {
	SystemNamespace, SandboxNamespace string

	APIKey             string // of the default tenant
	SubscriberPassword string // of the NATS user subscriber
	Images             map[string]string
}

// The namespaces of deploy/.
const (
	systemNamespace  = "sandbar-system"
	sandboxNamespace = "sandbar-sandboxes"
)

// madeBy marks the namespaces that this package made. It touches no others.
const (
	madeBy  = "sandbar.io/made-by"
	manager = "devstack" // and the field manager of all that is applied
)

const (
	availableLimit = 3 * time.Minute // images are pulled, NATS gets its volume
	goneLimit      = 3 * time.Minute // the kubelet ends pods within their grace of 30 s
	pollEvery      = 250 * time.Millisecond
)

func (o *Options) settle() error {
	var wrong []error
	for name, value := range map[string]string{"kubeconfig": o.Kubeconfig, "source folder": o.Repo} {
		if value == "" {
			wrong = append(wrong, fmt.Errorf("deploy: no %s", name))
		}
	}
	if o.SystemNamespace == "" {
		o.SystemNamespace = systemNamespace
	}
	if o.SandboxNamespace == "" {
		o.SandboxNamespace = sandboxNamespace
	}
	if o.SystemNamespace == o.SandboxNamespace {
		wrong = append(wrong, errors.New("deploy: services and sandboxes need two namespaces: who reads the records must not read the keys"))
	}
	if o.CPURequest != "" {
		if _, err := resource.ParseQuantity(o.CPURequest); err != nil {
			wrong = append(wrong, fmt.Errorf("deploy: CPU request %q: %w", o.CPURequest, err))
		}
	}
	if file, _ := o.setting("TLS_CERT_FILE"); file != "" {
		wrong = append(wrong, errors.New("deploy: TLS_CERT_FILE names a file of this machine; in a cluster the certificate is a Secret: deploy/43-router.yaml says how"))
	}
	if o.Dir == "" {
		o.Dir = filepath.Join(o.Repo, ".sandbar", "deploy")
	}
	if o.Log == nil {
		o.Log = func(format string, a ...any) { fmt.Printf("deploy: "+format+"\n", a...) }
	}
	return errors.Join(wrong...)
}

// Deploy installs, or brings an installation of its own up to date: keys and
// passwords stay, and only pods whose image, settings or keys changed are replaced.
func Deploy(ctx context.Context, o Options) (*Installation, error) {
	if err := o.settle(); err != nil {
		return nil, err
	}
	if o.Registry == "" {
		return nil, errors.New("deploy: no registry, host:port, to push the images to")
	}
	client, err := cluster.Client(o.Kubeconfig)
	if err != nil {
		return nil, err
	}
	if err := o.claim(ctx, client); err != nil {
		return nil, err
	}
	images := o.Images
	if len(images) == 0 {
		if images, err = o.images(ctx); err != nil {
			return nil, err
		}
	}
	old, err := secrets(ctx, client, o.SystemNamespace)
	if err != nil {
		return nil, err
	}
	objects, err := o.manifests(images, old)
	if err != nil {
		return nil, err
	}
	o.Log("applying deploy/ into %s and %s", o.SystemNamespace, o.SandboxNamespace)
	if err := apply(ctx, o.Kubeconfig, objects); err != nil {
		return nil, err
	}
	o.Log("waiting until all is available")
	if err := waitAvailable(ctx, client, o.SystemNamespace); err != nil {
		return nil, err
	}
	return o.installation(objects, images), nil
}

// claim makes sure that nobody else's namespaces are touched, and that none of
// them is still on its way out.
func (o Options) claim(ctx context.Context, client kubernetes.Interface) error {
	for _, name := range []string{o.SystemNamespace, o.SandboxNamespace} {
		ns, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("namespace %s: %w", name, err)
		}
		if ns.Annotations[madeBy] != manager {
			return fmt.Errorf("the namespace %s is there already and was not made by this tool: "+
				"an installation by hand is kept up by hand, see deploy/README.md", name)
		}
		if ns.DeletionTimestamp != nil {
			if err := waitGone(ctx, client, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Remove deletes what Deploy made: its two namespaces and all that is in them,
// sandboxes and their volumes included. Twice is fine.
func Remove(ctx context.Context, o Options) error {
	if err := o.settle(); err != nil {
		return err
	}
	client, err := cluster.Client(o.Kubeconfig)
	if err != nil {
		return err
	}
	var made []string
	for _, name := range []string{o.SystemNamespace, o.SandboxNamespace} {
		ns, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("namespace %s: %w", name, err)
		}
		if ns.Annotations[madeBy] != manager {
			return fmt.Errorf("the namespace %s was not made by this tool, and stays", name)
		}
		made = append(made, name)
	}
	for _, name := range made {
		err := client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete namespace %s: %w", name, err)
		}
	}
	for _, name := range made {
		if err := waitGone(ctx, client, name); err != nil {
			return err
		}
	}
	return nil
}

func secrets(ctx context.Context, client kubernetes.Interface, namespace string) (map[string]corev1.Secret, error) {
	all, err := client.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("secrets that are there: %w", err)
	}
	byName := map[string]corev1.Secret{}
	for _, s := range all.Items {
		byName[s.Name] = s
	}
	return byName, nil
}

// setting is the value of the last setting of that name.
func (o Options) setting(name string) (value string, set bool) {
	for _, s := range o.Settings {
		if n, v, _ := strings.Cut(s, "="); n == name {
			value, set = v, true
		}
	}
	return value, set
}
