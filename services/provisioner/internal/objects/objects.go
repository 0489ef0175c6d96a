// Package objects makes the Kubernetes objects of a sandbox: a pure function of
// its record and the configuration.
package objects

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Config is what the server adds to what the client asked for.
type Config struct {
	Namespace string

	CPURequest, CPULimit       resource.Quantity // of resource factor 1
	MemoryRequest, MemoryLimit resource.Quantity
	EphemeralRequest           resource.Quantity // not scaled; zero: not set
	EphemeralLimit             resource.Quantity

	RuntimeClass   string            // where the client names none
	RuntimeClasses map[string]string // client's name → the cluster's; "" is none
	AllowRoot      bool
	Capabilities   Profile

	WorkspaceSize resource.Quantity // zero: no volume
	WorkspacePath string
	StorageClass  string // "": the cluster's default
	AccessMode    corev1.PersistentVolumeAccessMode

	ImagePullSecrets []string
	ServiceAccount   string
	NodeSelector     map[string]string
	Tolerations      []corev1.Toleration
	CASecret         string // holds CAKey; "": none
	TerminationGrace time.Duration
	StartupTimeout   time.Duration

	Ports           sandbox.Ports
	URLs            sandbox.URLPattern
	AppServerURL    string
	AppServerPublic string
	IdleTimeout     time.Duration // told to the sandbox

	RoutingMode        string // of pkg/settings; what a sandbox's route is made of
	Gateway            Gateway
	IngressClass       string
	IngressAnnotations map[string]string
	IngressTLSSecret   string
}

// Profile says which capabilities a sandbox keeps.
type Profile string

// The profiles.
const (
	ProfileAuto       Profile = "auto"       // restricted, but baseline for a sandbox that may be root
	ProfileRestricted Profile = "restricted" // none
	ProfileBaseline   Profile = "baseline"   // what a package manager running as root needs
	ProfileRuntime    Profile = "runtime"    // the container runtime's own default set
)

var baseline = []corev1.Capability{
	"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID",
}

// CAKey is the data key of the CA bundle in its Secret.
const CAKey = "ca-bundle.crt"

const (
	caPath      = "/etc/sandbar/ca"
	caVolume    = "ca-bundle"
	workVolume  = "workspace"
	safeToEvict = "cluster-autoscaler.kubernetes.io/safe-to-evict"
)

// Check says why the server does not run a spec, or nil. It is asked before a
// record is written.
func (c Config) Check(s *sandbox.Spec) error {
	if _, err := c.runtimeClass(s); err != nil {
		return err
	}
	if s.RunAsUser != nil && *s.RunAsUser == 0 && !c.AllowRoot {
		return sandbox.Errorf(sandbox.CodeForbidden, "run_as_user 0: this server does not run sandboxes as root")
	}
	return nil
}

func (c Config) runtimeClass(s *sandbox.Spec) (string, error) {
	if s.RuntimeClass == "" {
		return c.RuntimeClass, nil
	}
	class, ok := c.RuntimeClasses[s.RuntimeClass]
	if !ok {
		return "", sandbox.Errorf(sandbox.CodeInvalid,
			"runtime_class %q is not offered here; the operator maps names by RUNTIME_CLASSES", s.RuntimeClass)
	}
	return class, nil
}

func (c Config) meta(r *sandbox.Record, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, Namespace: c.Namespace, Labels: kube.ObjectLabels(r), OwnerReferences: kube.Owner(r),
	}
}

// Volume is the workspace, nil where there is none.
func (c Config) Volume(r *sandbox.Record) *corev1.PersistentVolumeClaim {
	if c.WorkspaceSize.IsZero() {
		return nil
	}
	pvc := &corev1.PersistentVolumeClaim{
		ObjectMeta: c.meta(r, r.RuntimeID),
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{c.AccessMode},
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: c.WorkspaceSize},
			},
		},
	}
	if c.StorageClass != "" {
		pvc.Spec.StorageClassName = &c.StorageClass
	}
	return pvc
}

// Pod is the pod of the record's incarnation.
func (c Config) Pod(r *sandbox.Record) (*corev1.Pod, error) {
	class, err := c.runtimeClass(&r.Spec)
	if err != nil {
		return nil, err
	}
	no := false
	grace := int64(c.TerminationGrace.Seconds())
	pod := &corev1.Pod{
		ObjectMeta: c.meta(r, sandbox.PodName(r.RuntimeID, r.Incarnation)),
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyAlways,
			Hostname:                      r.RuntimeID,
			AutomountServiceAccountToken:  &no,
			EnableServiceLinks:            &no,
			ServiceAccountName:            c.ServiceAccount,
			TerminationGracePeriodSeconds: &grace,
			NodeSelector:                  c.NodeSelector,
			Tolerations:                   c.Tolerations,
			SecurityContext:               c.podSecurity(&r.Spec),
			Containers:                    []corev1.Container{c.container(r)},
		},
	}
	pod.Annotations = map[string]string{safeToEvict: "false"}
	if class != "" {
		pod.Spec.RuntimeClassName = &class
	}
	for _, name := range c.ImagePullSecrets {
		pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
	}
	pod.Spec.Volumes = c.volumes(r)
	return pod, nil
}

func (c Config) podSecurity(s *sandbox.Spec) *corev1.PodSecurityContext {
	sc := &corev1.PodSecurityContext{
		RunAsUser: s.RunAsUser, RunAsGroup: s.RunAsGroup, FSGroup: s.FSGroup,
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	if s.RunAsUser != nil && *s.RunAsUser != 0 || !c.AllowRoot {
		// Pod Security "restricted" asks for it, and an image's own user may be root.
		yes := true
		sc.RunAsNonRoot = &yes
	}
	if sc.FSGroup == nil {
		sc.FSGroup = s.RunAsGroup
	}
	if sc.FSGroup != nil {
		policy := corev1.FSGroupChangeOnRootMismatch
		sc.FSGroupChangePolicy = &policy
	}
	return sc
}

func (c Config) container(r *sandbox.Record) corev1.Container {
	no := false
	s := &r.Spec
	out := corev1.Container{
		Name: kube.ContainerName, Image: s.Image, WorkingDir: s.WorkingDir,
		ImagePullPolicy: corev1.PullPolicy(s.ImagePullPolicy),
		Env:             c.environment(r),
		Resources:       c.resources(s.ResourceFactor),
		SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no, Capabilities: c.capabilities(s)},
		StartupProbe:    c.probe(time.Second, int32(c.StartupTimeout/time.Second)),
		ReadinessProbe:  c.probe(5*time.Second, 2),
		VolumeMounts:    c.mounts(),
		// The end of its log is the message where a program leaves none.
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
	for _, arg := range s.Command {
		out.Command = append(out.Command, literal(arg))
	}
	for _, s := range []sandbox.Service{sandbox.ServiceAgent, sandbox.ServiceVSCode, sandbox.ServiceWork1, sandbox.ServiceWork2} {
		out.Ports = append(out.Ports, corev1.ContainerPort{Name: string(s), ContainerPort: int32(c.Ports.Of(s))})
	}
	return out
}

// literal keeps Kubernetes from expanding $(NAME) in what the client sent.
func literal(s string) string { return strings.ReplaceAll(s, "$", "$$") }

func (c Config) probe(every time.Duration, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: "/alive", Port: intstr.FromInt32(int32(c.Ports.Agent)), Scheme: corev1.URISchemeHTTP,
		}},
		PeriodSeconds: int32(every / time.Second), TimeoutSeconds: 5, SuccessThreshold: 1, FailureThreshold: max(failures, 1),
	}
}

func (c Config) capabilities(s *sandbox.Spec) *corev1.Capabilities {
	profile := c.Capabilities
	if profile == ProfileAuto {
		profile = ProfileRestricted
		if c.mayBeRoot(s) {
			profile = ProfileBaseline
		}
	}
	switch profile {
	case ProfileRuntime:
		return nil
	case ProfileBaseline:
		return &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: baseline}
	case ProfileAuto, ProfileRestricted:
	}
	return &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}
}

// mayBeRoot is also true of a spec that leaves the user to the image: the legacy
// client names none, and its image starts as root and becomes another user by su. An
// image that is not root gains nothing by it, as it may not gain privileges.
func (c Config) mayBeRoot(s *sandbox.Spec) bool {
	if s.RunAsUser == nil {
		return c.AllowRoot
	}
	return *s.RunAsUser == 0
}

func (c Config) resources(factor int) corev1.ResourceRequirements {
	scaled := func(q resource.Quantity) resource.Quantity {
		q = q.DeepCopy()
		q.Mul(int64(factor))
		return q
	}
	out := corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU: scaled(c.CPURequest), corev1.ResourceMemory: scaled(c.MemoryRequest),
		},
		Limits: corev1.ResourceList{
			corev1.ResourceCPU: scaled(c.CPULimit), corev1.ResourceMemory: scaled(c.MemoryLimit),
		},
	}
	if !c.EphemeralRequest.IsZero() {
		out.Requests[corev1.ResourceEphemeralStorage] = c.EphemeralRequest
	}
	if !c.EphemeralLimit.IsZero() {
		out.Limits[corev1.ResourceEphemeralStorage] = c.EphemeralLimit
	}
	return out
}

// Requests is what a sandbox of a spec asks for: millicores, and bytes of memory.
func (c Config) Requests(s *sandbox.Spec) (cpu, memory int64) {
	r := c.resources(s.ResourceFactor).Requests
	return r.Cpu().MilliValue(), r.Memory().Value()
}

func (c Config) mounts() []corev1.VolumeMount {
	var out []corev1.VolumeMount
	if !c.WorkspaceSize.IsZero() {
		out = append(out, corev1.VolumeMount{Name: workVolume, MountPath: c.WorkspacePath})
	}
	if c.CASecret != "" {
		out = append(out, corev1.VolumeMount{Name: caVolume, MountPath: caPath, ReadOnly: true})
	}
	return out
}

func (c Config) volumes(r *sandbox.Record) []corev1.Volume {
	var out []corev1.Volume
	if !c.WorkspaceSize.IsZero() {
		out = append(out, corev1.Volume{Name: workVolume, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: r.RuntimeID},
		}})
	}
	if c.CASecret != "" {
		out = append(out, corev1.Volume{Name: caVolume, VolumeSource: corev1.VolumeSource{
			Secret: &corev1.SecretVolumeSource{SecretName: c.CASecret, Items: []corev1.KeyToPath{{Key: CAKey, Path: CAKey}}},
		}})
	}
	return out
}
