package objects_test

import (
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/objects"
)

const runtimeID = "qwertyuiopasdfgh"

// What must never stand in a pod.
const (
	sessionKey = "SESSION-KEY-IN-CLEAR"
	secretKey  = "SECRET-KEY-IN-CLEAR"
)

var born = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func ptr[T any](v T) *T { return &v }

// plain is a configuration with all defaults of .env.example.
func plain() objects.Config {
	return objects.Config{
		Namespace:  "sandbar-sandboxes",
		CPURequest: resource.MustParse("1"), CPULimit: resource.MustParse("1"),
		MemoryRequest: resource.MustParse("2Gi"), MemoryLimit: resource.MustParse("2Gi"),
		RuntimeClasses: map[string]string{"sysbox-runc": ""},
		AllowRoot:      true, Capabilities: objects.ProfileAuto,
		WorkspaceSize: resource.MustParse("10Gi"), WorkspacePath: "/workspace", AccessMode: corev1.ReadWriteOncePod,
		TerminationGrace: 10 * time.Second, StartupTimeout: 10 * time.Minute, IdleTimeout: 20 * time.Minute,
		Ports: sandbox.DefaultPorts,
		URLs:  sandbox.URLPattern{Scheme: "https", BaseDomain: "run.example.org", Separator: "."},
	}
}

// every is a configuration with each option set.
func every() objects.Config {
	c := plain()
	c.CPURequest, c.MemoryRequest = resource.MustParse("250m"), resource.MustParse("512Mi")
	c.EphemeralRequest, c.EphemeralLimit = resource.MustParse("1Gi"), resource.MustParse("4Gi")
	c.RuntimeClass, c.RuntimeClasses = "gvisor", map[string]string{"sysbox-runc": "sysbox-prod"}
	c.Capabilities = objects.ProfileBaseline
	c.WorkspacePath, c.StorageClass, c.AccessMode = "/data", "fast", corev1.ReadWriteMany
	c.ImagePullSecrets, c.ServiceAccount, c.CASecret = []string{"pull-a", "pull-b"}, "sandbox", "company-ca"
	c.NodeSelector = map[string]string{"sandbar.io/pool": "sandboxes", "kubernetes.io/arch": "amd64"}
	c.Tolerations = []corev1.Toleration{{Key: "sandbar.io/pool", Operator: corev1.TolerationOpEqual, Value: "sandboxes", Effect: corev1.TaintEffectNoSchedule}}
	c.TerminationGrace, c.StartupTimeout = 45*time.Second, 90*time.Second
	c.Ports = sandbox.Ports{Agent: 8000, VSCode: 8001, Work1: 8011, Work2: 8012}
	c.URLs.Port, c.URLs.Separator = 8443, "-"
	c.AppServerURL, c.AppServerPublic = "https://app.internal/", "https://app.example.org"
	c.IngressClass, c.IngressTLSSecret = "nginx", "wildcard-tls"
	c.IngressAnnotations = map[string]string{"nginx.ingress.kubernetes.io/proxy-body-size": "0", "cert-manager.io/cluster-issuer": "letsencrypt"}
	return c
}

func inPathMode(c objects.Config) objects.Config {
	c.URLs.PathMode = true
	return c
}

// minimal is what the gateway makes of {"image": …, "session_id": …}.
func minimal() sandbox.Spec { return sandbox.Spec{Image: "ghcr.io/acme/agent:1", ResourceFactor: 1} }

// v0 is the body of contract 4.1 as the V0 client sends it.
func v0() sandbox.Spec {
	return sandbox.Spec{
		Image: "ghcr.io/openhands/runtime:oh_v0.59.0",
		Command: []string{
			"/openhands/micromamba/bin/micromamba", "run", "-n", "openhands", "poetry", "run", "python", "-u", "-m",
			"openhands.runtime.action_execution_server", "60000", "--working-dir", "/workspace", "--plugins", "agent_skills", "jupyter", "vscode",
		},
		WorkingDir:     "/openhands/code/",
		Environment:    map[string]string{"port": "60000", "PYTHONUNBUFFERED": "1", "VSCODE_PORT": "41234", "RUNTIME": "remote"},
		ResourceFactor: 1, RuntimeClass: "sysbox-runc",
	}
}

// v1 is the body of the V1 app server.
func v1() sandbox.Spec {
	return sandbox.Spec{
		Image:      "ghcr.io/openhands/agent-server:1.8.1-python",
		Command:    []string{"/usr/local/bin/openhands-agent-server", "--port", "60000"},
		WorkingDir: "/workspace/project",
		Environment: map[string]string{
			"LOG_JSON": "true", "OH_ENABLE_VNC": "0", "OH_CONVERSATIONS_PATH": "/workspace/conversations",
			"OH_BASH_EVENTS_DIR": "/workspace/bash_events", "WORKER_1": "12000", "WORKER_2": "12001",
			"OH_WEBHOOKS_0_BASE_URL":         "https://app.example.org/api/v1/webhooks",
			"OH_ALLOW_CORS_ORIGINS_0":        "https://app.example.org",
			"OH_LLM_API_KEY_REFRESH_HEADERS": `{"X-Session-API-Key":"${SESSION_API_KEY}"}`,
		},
		ResourceFactor: 1, RunAsUser: ptr[int64](10001), RunAsGroup: ptr[int64](10001), FSGroup: ptr[int64](10001),
	}
}

// sdk is the body of APIRemoteWorkspace; the gateway split its command.
func sdk() sandbox.Spec {
	return sandbox.Spec{
		Image:      "ghcr.io/openhands/agent-server:main-python",
		Command:    []string{"/agent-server/.venv/bin/python", "-m", "openhands.agent_server", "--port", "60000"},
		WorkingDir: "/", Environment: map[string]string{}, ResourceFactor: 4, RuntimeClass: "sysbox-runc",
		RunAsUser: ptr[int64](10001), FSGroup: ptr[int64](10001), ImagePullPolicy: "IfNotPresent",
	}
}

func root() sandbox.Spec {
	s := v1()
	s.RunAsUser, s.RunAsGroup, s.FSGroup = ptr[int64](0), ptr[int64](0), nil
	return s
}

// recordOf is a record in its first incarnation, as it is after the write.
func recordOf(c objects.Config, s sandbox.Spec) *sandbox.Record {
	const tenant, session = "acme", "3dHk9Qz1LmNoPqRsTuVwXy"
	label := runtimeID
	if !c.URLs.PathMode {
		label = sandbox.HostLabel(sandbox.LabelSession, tenant, session, runtimeID)
	}
	return &sandbox.Record{
		Name: sandbox.RecordName(tenant, session), UID: "7b6f1f6e-0000-4000-8000-00000000beef", ResourceVersion: "4711",
		Tenant: tenant, SessionID: session, RuntimeID: runtimeID, Desired: sandbox.Running,
		Generation: born.UnixMilli(), Incarnation: 1, Fence: 1, LastCommand: "c-1",
		Spec: s, Route: c.URLs.NewRoute(label, c.Ports),
		SessionKey: sessionKey, KeyNumber: 1, SecretKey: secretKey, CreatedAt: born, ChangedAt: born,
	}
}

func podOf(t *testing.T, c objects.Config, r *sandbox.Record) *corev1.Pod {
	t.Helper()
	p, err := c.Pod(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func text(n int) string { return strconv.Itoa(n) }
