package stack

import (
	"context"
	"errors"
	"os"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Remove takes a stack's namespaces and its folder away; its processes must have
// ended. Kubernetes empties the namespaces by itself.
func Remove(ctx context.Context, client kubernetes.Interface, o Options) error {
	var errs []error
	for _, ns := range []string{o.SandboxNamespace, o.SystemNamespace} {
		err := client.CoreV1().Namespaces().Delete(ctx, ns, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, os.RemoveAll(o.Dir))...)
}
