package volumes

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// workers that provision at the same time; each waits for the API server only.
const workers = 8

// Controller gives claims their volumes and takes them away again. It keeps no
// state of its own: after a restart the informers tell it everything anew.
type Controller struct {
	client  kubernetes.Interface
	root    string
	log     *zap.Logger
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	classes storagelisters.StorageClassLister
	queue   workqueue.TypedRateLimitingInterface[item]
}

// item is a claim (with a namespace) or a volume (without).
type item struct{ namespace, name string }

// New registers what it needs with the factory. Folders of local volumes are
// made in root.
func New(client kubernetes.Interface, f informers.SharedInformerFactory, root string, log *zap.Logger) (*Controller, error) {
	core, storage := f.Core().V1(), f.Storage().V1()
	c := &Controller{
		client: client, root: root, log: log,
		claims:  core.PersistentVolumeClaims().Lister(),
		volumes: core.PersistentVolumes().Lister(),
		classes: storage.StorageClasses().Lister(),
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[item](50*time.Millisecond, 5*time.Second)),
	}
	watch := []struct {
		informer cache.SharedIndexInformer
		handler  cache.ResourceEventHandler
	}{
		{core.PersistentVolumeClaims().Informer(), c.enqueue(nil)},
		{core.PersistentVolumes().Informer(), c.enqueue(c.removeFolder)},
		// A claim may be there before its class is.
		{storage.StorageClasses().Informer(), cache.ResourceEventHandlerFuncs{AddFunc: func(any) { c.enqueueClaims() }}},
	}
	for _, w := range watch {
		if _, err := w.informer.AddEventHandler(w.handler); err != nil {
			return nil, fmt.Errorf("volumes: %w", err)
		}
	}
	return c, nil
}

func (c *Controller) enqueue(deleted func(name string)) cache.ResourceEventHandler {
	add := func(o any) {
		if m, ok := o.(metav1.Object); ok {
			c.queue.Add(item{m.GetNamespace(), m.GetName()})
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    add,
		UpdateFunc: func(_, o any) { add(o) },
		DeleteFunc: func(o any) {
			if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			if m, ok := o.(metav1.Object); ok && deleted != nil {
				deleted(m.GetName())
			}
		},
	}
}

func (c *Controller) enqueueClaims() {
	for _, o := range c.listClaims() {
		c.queue.Add(item{o.Namespace, o.Name})
	}
}

// Run works until the context ends. The factory must have been started.
func (c *Controller) Run(ctx context.Context) {
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for c.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	c.queue.ShutDown()
	all.Wait()
}

func (c *Controller) next(ctx context.Context) bool {
	it, down := c.queue.Get()
	if down {
		return false
	}
	defer c.queue.Done(it)
	if err := c.sync(ctx, it); err != nil {
		c.log.Warn("volume work failed, trying again", zap.String("namespace", it.namespace), zap.String("name", it.name), zap.Error(err))
		c.queue.AddRateLimited(it)
		return true
	}
	c.queue.Forget(it)
	return true
}

func (c *Controller) sync(ctx context.Context, it item) error {
	if it.namespace == "" {
		return c.reclaim(ctx, it.name)
	}
	return c.provision(ctx, it)
}

func (c *Controller) provision(ctx context.Context, it item) error {
	claim, err := c.claims.PersistentVolumeClaims(it.namespace).Get(it.name)
	if apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		return err
	}
	if claim.Spec.StorageClassName == nil {
		return nil
	}
	class, err := c.classes.Get(*claim.Spec.StorageClassName)
	if apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		return err
	}
	if !Wanted(claim, class) {
		return nil
	}
	volume := For(claim, class, c.root)
	if volume.Spec.Local != nil {
		// As a fresh disk's root is: a pod that is not root and forgot its
		// fsGroup cannot write here either.
		if err := os.MkdirAll(volume.Spec.Local.Path, 0o755); err != nil {
			return fmt.Errorf("provision %s/%s: %w", it.namespace, it.name, err)
		}
	}
	volume, err = c.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil // by us, a moment ago; the claim just does not say so yet
	}
	if err != nil {
		return fmt.Errorf("provision %s/%s: %w", it.namespace, it.name, err)
	}
	c.log.Info("volume provisioned", zap.String("volume", volume.Name), zap.String("class", class.Name))
	if class.Provisioner == Simulated {
		return c.bind(ctx, claim, volume)
	}
	return nil
}

// bind does what Kubernetes' own controller would, which binds one claim after the
// other: six a second here, where hundreds of simulated sandboxes start at once. It
// finds nothing left to do, or was faster.
func (c *Controller) bind(ctx context.Context, claim *corev1.PersistentVolumeClaim, volume *corev1.PersistentVolume) error {
	claim, volume = Bound(claim, volume)
	status := claim.Status
	claims := c.client.CoreV1().PersistentVolumeClaims(claim.Namespace)
	_, err := c.client.CoreV1().PersistentVolumes().UpdateStatus(ctx, volume, metav1.UpdateOptions{})
	if err == nil {
		claim, err = claims.Update(ctx, claim, metav1.UpdateOptions{})
	}
	if err == nil {
		claim.Status = status
		_, err = claims.UpdateStatus(ctx, claim, metav1.UpdateOptions{})
	}
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return fmt.Errorf("bind %s: %w", volume.Name, err)
	}
	return nil
}

func (c *Controller) reclaim(ctx context.Context, name string) error {
	volume, err := c.volumes.Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		return err
	}
	if !Finished(volume) {
		return nil
	}
	if err := c.remove(name); err != nil {
		return err
	}
	err = c.client.CoreV1().PersistentVolumes().Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("reclaim %s: %w", name, err)
	}
	c.log.Info("volume removed", zap.String("volume", name))
	return nil
}

// removeFolder follows a volume that somebody deleted by hand.
func (c *Controller) removeFolder(name string) {
	if err := c.remove(name); err != nil {
		c.log.Warn("volume folder stays", zap.String("volume", name), zap.Error(err))
	}
}

func (c *Controller) remove(name string) error {
	if !strings.HasPrefix(name, "pvc-") || strings.ContainsRune(name, '/') {
		return nil // not one of ours
	}
	if err := os.RemoveAll(filepath.Join(c.root, name)); err != nil {
		return fmt.Errorf("reclaim %s: %w", name, err)
	}
	return nil
}

func (c *Controller) listClaims() []*corev1.PersistentVolumeClaim {
	claims, err := c.claims.List(labels.Everything())
	if err != nil {
		return nil // a cache that is not there yet; its own events follow
	}
	return claims
}
