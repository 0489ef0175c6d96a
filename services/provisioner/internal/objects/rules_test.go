package objects_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/objects"
)

func TestServerOwnsItsVariables(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		config objects.Config
		want   map[string]string // by name, what the container sees whatever the client sent
	}{
		"subdomain mode": {plain(), map[string]string{
			"SESSION_API_KEY": sessionKey, "OH_SECRET_KEY": secretKey, "RUNTIME_ID": runtimeID, "VSCODE_PORT": "60001",
			"OH_VSCODE_PORT": "60001", "OH_RUNTIME_IDLE_TIMEOUT_SECONDS": "1200", "RUNTIME_URL": recordOf(plain(), v1()).Route.URL,
		}},
		"path mode": {inPathMode(plain()), map[string]string{
			"SESSION_API_KEY": sessionKey, "OH_SECRET_KEY": secretKey, "RUNTIME_ID": runtimeID, "VSCODE_PORT": "60001",
			"OH_VSCODE_PORT": "60001", "OH_RUNTIME_IDLE_TIMEOUT_SECONDS": "1200",
			"RUNTIME_URL": "https://run.example.org/" + runtimeID + "/runtime", "OH_WEB_URL": "https://run.example.org/" + runtimeID + "/runtime",
			"OH_VSCODE_BASE_PATH": "/" + runtimeID + "/vscode",
		}},
		"other ports": {every(), map[string]string{"VSCODE_PORT": "8001", "OH_VSCODE_PORT": "8001"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := v1()
			for name := range tt.want {
				s.Environment[name] = "the client's"
			}
			r := recordOf(tt.config, s)
			env, _ := run(t, podOf(t, tt.config, r), r)
			for name, want := range tt.want {
				if env[name] != want {
					t.Errorf("%s is %q, want %q", name, env[name], want)
				}
			}
			if env["LOG_JSON"] != "true" {
				t.Error("the client's own is lost")
			}
		})
	}
}

// What the server does not own it does not set: with OH_SESSION_API_KEYS_0 the
// agent would see its key in its shell.
func TestServerSetsNothingElse(t *testing.T) {
	t.Parallel()
	r := recordOf(plain(), minimal())
	env, command := run(t, podOf(t, plain(), r), r)
	var names []string
	for name := range env {
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{"OH_PERSISTENCE_DIR", "OH_RUNTIME_IDLE_TIMEOUT_SECONDS", "OH_SECRET_KEY", "OH_VSCODE_PORT", "RUNTIME_ID", "RUNTIME_URL", "SESSION_API_KEY", "VSCODE_PORT"}
	if !slices.Equal(names, want) {
		t.Errorf("%v", names)
	}
	if command != nil {
		t.Errorf("%q in place of the image's own", command)
	}
	if !reflect.DeepEqual(r.Spec, minimal()) {
		t.Error("the record was changed")
	}
}

// A sandbox bounds by it what it begins: a client's own limit is told, and never
// is a long time, not none.
func TestTheIdleTimeout(t *testing.T) {
	t.Parallel()
	n := func(n int64) *int64 { return &n }
	for name, c := range map[string]struct {
		server time.Duration
		asked  *sandbox.Lifecycle
		want   string
	}{
		"the server's":          {20 * time.Minute, nil, "1200"},
		"the client's":          {20 * time.Minute, &sandbox.Lifecycle{Idle: n(60)}, "60"},
		"of another clock":      {20 * time.Minute, &sandbox.Lifecycle{MaxAge: n(60)}, "1200"},
		"never, by the client":  {20 * time.Minute, &sandbox.Lifecycle{Idle: n(0)}, "2592000"},
		"never, by the server":  {0, nil, "2592000"},
		"what cannot be stored": {0, &sandbox.Lifecycle{Idle: n(1 << 62)}, "315360000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, s := plain(), minimal()
			cfg.IdleTimeout, s.Lifecycle = c.server, c.asked
			r := recordOf(cfg, s)
			if env, _ := run(t, podOf(t, cfg, r), r); env["OH_RUNTIME_IDLE_TIMEOUT_SECONDS"] != c.want {
				t.Errorf("%s, want %s", env["OH_RUNTIME_IDLE_TIMEOUT_SECONDS"], c.want)
			}
		})
	}
}

func TestDefaultsWhereAbsent(t *testing.T) {
	t.Parallel()
	const webhooks, cors = "OH_WEBHOOKS_0_BASE_URL", "OH_ALLOW_CORS_ORIGINS_0"
	for name, tt := range map[string]struct {
		server, public string
		ca             string
		sent           map[string]string
		want           map[string]string // "-": not set
	}{
		"neither known nor sent": {want: map[string]string{webhooks: "-", cors: "-", "SSL_CERT_FILE": "-"}},
		"known":                  {server: "https://app.internal", public: "https://app", want: map[string]string{webhooks: "https://app.internal/api/v1/webhooks", cors: "https://app"}},
		"with a slash":           {server: "https://app.internal/", want: map[string]string{webhooks: "https://app.internal/api/v1/webhooks", cors: "-"}},
		"sent": {
			server: "https://app.internal", public: "https://app", sent: map[string]string{webhooks: "https://mine/hooks", cors: "https://mine"},
			want: map[string]string{webhooks: "https://mine/hooks", cors: "https://mine"},
		},
		"sent empty": {server: "https://app.internal", public: "https://app", sent: map[string]string{webhooks: "", cors: ""}, want: map[string]string{webhooks: "", cors: ""}},
		"one sent":   {server: "https://app.internal", public: "https://app", sent: map[string]string{webhooks: "x"}, want: map[string]string{webhooks: "x", cors: "https://app"}},
		"a CA": {ca: "company-ca", sent: map[string]string{"CURL_CA_BUNDLE": "/mine"}, want: map[string]string{
			"SSL_CERT_FILE": "/etc/sandbar/ca/ca-bundle.crt", "REQUESTS_CA_BUNDLE": "/etc/sandbar/ca/ca-bundle.crt",
			"NODE_EXTRA_CA_CERTS": "/etc/sandbar/ca/ca-bundle.crt", "CURL_CA_BUNDLE": "/mine",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := plain()
			c.AppServerURL, c.AppServerPublic, c.CASecret = tt.server, tt.public, tt.ca
			s := minimal()
			s.Environment = tt.sent
			r := recordOf(c, s)
			env, _ := run(t, podOf(t, c, r), r)
			for name, want := range tt.want {
				got, ok := env[name]
				if ok != (want != "-") || ok && got != want {
					t.Errorf("%s is %q (%v), want %q", name, got, ok, want)
				}
			}
		})
	}
}

// What the agent server keeps must lie on the volume, or a pause takes it.
func TestPersistenceIsOnTheVolume(t *testing.T) {
	t.Parallel()
	const name = "OH_PERSISTENCE_DIR"
	for what, tt := range map[string]struct {
		path string // "": no volume
		sent map[string]string
		want string
	}{
		"the volume":       {path: "/workspace", want: "/workspace/.openhands"},
		"another path":     {path: "/data/", want: "/data/.openhands"},
		"the client's own": {path: "/workspace", sent: map[string]string{name: "/workspace/mine"}, want: "/workspace/mine"},
		"no volume":        {},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := plain()
			if c.WorkspacePath = tt.path; tt.path == "" {
				c.WorkspaceSize = resource.Quantity{}
			}
			s := minimal()
			s.Environment = tt.sent
			r := recordOf(c, s)
			env, _ := run(t, podOf(t, c, r), r)
			if got, ok := env[name]; got != tt.want || ok != (tt.want != "") {
				t.Errorf("%s is %q (%v), want %q", name, got, ok, tt.want)
			}
		})
	}
}

func TestDollarIsLiteral(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"$(SESSION_API_KEY)", "$$(SESSION_API_KEY)", "$$$(RUNTIME_ID)", "${SESSION_API_KEY}", "$HOME", "$", "$$", "$(", "$()", "a$", "$(A)$(RUNTIME_ID)", "100$ (net)", "plain",
	} {
		t.Run(s, func(t *testing.T) {
			t.Parallel()
			spec := minimal()
			spec.Environment = map[string]string{"VALUE": s, "ZZZ": s, "A": "b"}
			spec.Command = []string{"sh", "-c", s}
			r := recordOf(plain(), spec)
			env, command := run(t, podOf(t, plain(), r), r)
			if env["VALUE"] != s || env["ZZZ"] != s || command[2] != s {
				t.Errorf("%q became %q, %q and %q", s, env["VALUE"], env["ZZZ"], command[2])
			}
		})
	}
}

func TestResourceFactor(t *testing.T) {
	t.Parallel()
	base := plain()
	base.CPURequest, base.CPULimit = resource.MustParse("250m"), resource.MustParse("1500m")
	base.MemoryRequest, base.MemoryLimit = resource.MustParse("512Mi"), resource.MustParse("2Gi")
	base.EphemeralRequest, base.EphemeralLimit = resource.MustParse("1Gi"), resource.MustParse("5Gi")
	for _, tt := range []struct {
		factor                                        int
		cpuRequest, cpuLimit, memoryRequest, memLimit string
	}{
		{1, "250m", "1500m", "512Mi", "2Gi"},
		{2, "500m", "3", "1Gi", "4Gi"},
		{4, "1", "6", "2Gi", "8Gi"},
		{8, "2", "12", "4Gi", "16Gi"},
		{sandbox.MaxResourceFactor, "16", "96", "32Gi", "128Gi"},
	} {
		t.Run(text(tt.factor), func(t *testing.T) {
			t.Parallel()
			s := minimal()
			s.ResourceFactor = tt.factor
			got := podOf(t, base, recordOf(base, s)).Spec.Containers[0].Resources
			for what, q := range map[string][2]resource.Quantity{
				"cpu request":       {*got.Requests.Cpu(), resource.MustParse(tt.cpuRequest)},
				"cpu limit":         {*got.Limits.Cpu(), resource.MustParse(tt.cpuLimit)},
				"memory request":    {*got.Requests.Memory(), resource.MustParse(tt.memoryRequest)},
				"memory limit":      {*got.Limits.Memory(), resource.MustParse(tt.memLimit)},
				"ephemeral request": {*got.Requests.StorageEphemeral(), resource.MustParse("1Gi")},
				"ephemeral limit":   {*got.Limits.StorageEphemeral(), resource.MustParse("5Gi")},
			} {
				if q[0].Cmp(q[1]) != 0 {
					t.Errorf("%s is %s, want %s", what, q[0].String(), q[1].String())
				}
			}
		})
	}
	if base.CPURequest.String() != "250m" || base.MemoryLimit.String() != "2Gi" {
		t.Error("the configuration was scaled")
	}
}

func TestWorkspace(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		size, path, workingDir, want string // want: where the volume is mounted, "" nowhere
	}{
		"default":                   {"10Gi", "/workspace", "/workspace/project", "/workspace"},
		"no working dir":            {"10Gi", "/workspace", "", "/workspace"},
		"root as the working dir":   {"10Gi", "/workspace", "/", "/workspace"},
		"another working dir":       {"10Gi", "/workspace", "/openhands/code/", "/workspace"},
		"another path":              {"1Gi", "/data", "/workspace", "/data"},
		"none":                      {"0", "/workspace", "/workspace", ""},
		"none, with another suffix": {"0Gi", "/workspace", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := plain()
			c.WorkspaceSize, c.WorkspacePath = resource.MustParse(tt.size), tt.path
			s := minimal()
			s.WorkingDir = tt.workingDir
			r := recordOf(c, s)
			pod, pvc := podOf(t, c, r), c.Volume(r)
			main := pod.Spec.Containers[0]
			if main.WorkingDir != tt.workingDir {
				t.Errorf("the working dir is %q", main.WorkingDir)
			}
			if tt.want == "" {
				if pvc != nil || len(main.VolumeMounts) != 0 || len(pod.Spec.Volumes) != 0 {
					t.Errorf("%v %v %v", pvc, main.VolumeMounts, pod.Spec.Volumes)
				}
				return
			}
			if len(main.VolumeMounts) != 1 || main.VolumeMounts[0].MountPath != tt.want || main.VolumeMounts[0].ReadOnly || main.VolumeMounts[0].SubPath != "" {
				t.Errorf("%+v", main.VolumeMounts)
			}
			if len(pod.Spec.Volumes) != 1 || pod.Spec.Volumes[0].PersistentVolumeClaim.ClaimName != pvc.Name || pvc.Name != runtimeID {
				t.Errorf("%+v for %s", pod.Spec.Volumes, pvc.Name)
			}
			if got := pvc.Spec.Resources.Requests[corev1.ResourceStorage]; got.Cmp(c.WorkspaceSize) != 0 || pvc.Spec.StorageClassName != nil {
				t.Errorf("%+v", pvc.Spec)
			}
		})
	}
}

func TestUserAndGroups(t *testing.T) {
	t.Parallel()
	id := func(n int64) *int64 { return &n }
	type ids struct{ user, group, fs *int64 }
	yes := ptr(true)
	for name, tt := range map[string]struct {
		noRoot  bool
		sent    ids
		want    ids
		nonRoot *bool
	}{
		"none":                            {want: ids{}},
		"all":                             {sent: ids{id(1), id(2), id(3)}, want: ids{id(1), id(2), id(3)}, nonRoot: yes},
		"fs_group is run_as_group":        {sent: ids{id(1), id(2), nil}, want: ids{id(1), id(2), id(2)}, nonRoot: yes},
		"user and fs_group, as the SDK":   {sent: ids{id(1), nil, id(3)}, want: ids{id(1), nil, id(3)}, nonRoot: yes},
		"user alone":                      {sent: ids{id(1), nil, nil}, want: ids{id(1), nil, nil}, nonRoot: yes},
		"fs_group 0 is not absent":        {sent: ids{id(1), id(2), id(0)}, want: ids{id(1), id(2), id(0)}, nonRoot: yes},
		"root":                            {sent: ids{id(0), id(0), nil}, want: ids{id(0), id(0), id(0)}},
		"the image's user, root refused":  {noRoot: true, want: ids{}, nonRoot: yes},
		"a user, root refused":            {noRoot: true, sent: ids{user: id(1)}, want: ids{user: id(1)}, nonRoot: yes},
		"a group alone says nothing else": {sent: ids{group: id(7)}, want: ids{group: id(7), fs: id(7)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := plain()
			c.AllowRoot = !tt.noRoot
			s := minimal()
			s.RunAsUser, s.RunAsGroup, s.FSGroup = tt.sent.user, tt.sent.group, tt.sent.fs
			sc := podOf(t, c, recordOf(c, s)).Spec.SecurityContext
			if got := (ids{sc.RunAsUser, sc.RunAsGroup, sc.FSGroup}); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%+v", sc)
			}
			if !reflect.DeepEqual(sc.RunAsNonRoot, tt.nonRoot) {
				t.Errorf("runAsNonRoot is %v, want %v", sc.RunAsNonRoot, tt.nonRoot)
			}
			if (sc.FSGroupChangePolicy != nil) != (tt.want.fs != nil) || sc.FSGroup != nil && *sc.FSGroupChangePolicy != corev1.FSGroupChangeOnRootMismatch {
				t.Errorf("change policy %v", sc.FSGroupChangePolicy)
			}
		})
	}
}

func TestRuntimeClass(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		standard string
		classes  map[string]string
		sent     string
		want     string // "": none
		refused  bool
	}{
		"none anywhere":             {},
		"the server's":              {standard: "gvisor", want: "gvisor"},
		"mapped":                    {standard: "gvisor", classes: map[string]string{"sysbox-runc": "sysbox"}, sent: "sysbox-runc", want: "sysbox"},
		"mapped to none":            {standard: "gvisor", classes: map[string]string{"sysbox-runc": ""}, sent: "sysbox-runc", want: ""},
		"unknown":                   {standard: "gvisor", classes: map[string]string{"sysbox-runc": ""}, sent: "kata", refused: true},
		"unknown, no map":           {sent: "sysbox-runc", refused: true},
		"the cluster's own name":    {classes: map[string]string{"sysbox-runc": "sysbox"}, sent: "sysbox", refused: true},
		"the server's, by its name": {standard: "gvisor", sent: "gvisor", refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := plain()
			c.RuntimeClass, c.RuntimeClasses = tt.standard, tt.classes
			s := minimal()
			s.RuntimeClass = tt.sent
			pod, err := c.Pod(recordOf(c, s))
			if check := c.Check(&s); tt.refused {
				for _, err := range []error{err, check} {
					if sandbox.CodeOf(err) != sandbox.CodeInvalid || !strings.Contains(sandbox.MessageOf(err), "RUNTIME_CLASSES") || !strings.Contains(sandbox.MessageOf(err), tt.sent) {
						t.Errorf("%v", err)
					}
				}
				return
			} else if check != nil || err != nil {
				t.Fatalf("%v, %v", check, err)
			}
			got := ""
			if p := pod.Spec.RuntimeClassName; p != nil {
				if got = *p; got == "" {
					t.Error("an empty class is not none")
				}
			}
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestRootPolicy(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		allow bool
		user  *int64
		want  sandbox.Code
	}{
		"root, allowed":     {true, ptr[int64](0), ""},
		"root, not allowed": {false, ptr[int64](0), sandbox.CodeForbidden},
		"a user":            {false, ptr[int64](10001), ""},
		"the image's":       {false, nil, ""}, // the kubelet refuses root, see TestUserAndGroups
	} {
		c := plain()
		c.AllowRoot = tt.allow
		s := minimal()
		s.RunAsUser = tt.user
		if err := c.Check(&s); sandbox.CodeOf(err) != tt.want || err != nil && !strings.Contains(sandbox.MessageOf(err), "run_as_user") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	const none, some, runtimes = "drop ALL", "drop ALL, add CHOWN,DAC_OVERRIDE,FOWNER,FSETID,KILL,NET_BIND_SERVICE,SETGID,SETUID", "the runtime's"
	for name, tt := range map[string]struct {
		profile objects.Profile
		root    bool
		user    *int64
		want    string
	}{
		"auto, a user":                       {objects.ProfileAuto, true, ptr[int64](10001), none},
		"auto, root":                         {objects.ProfileAuto, true, ptr[int64](0), some},
		"auto, the image's":                  {objects.ProfileAuto, true, nil, some},
		"auto, the image's, and root is not": {objects.ProfileAuto, false, nil, none},
		"restricted, root":                   {objects.ProfileRestricted, true, ptr[int64](0), none},
		"baseline, a user":                   {objects.ProfileBaseline, true, ptr[int64](10001), some},
		"runtime, root":                      {objects.ProfileRuntime, true, ptr[int64](0), runtimes},
		"runtime, no user":                   {objects.ProfileRuntime, true, nil, runtimes},
		"restricted, no user":                {objects.ProfileRestricted, true, nil, none},
	} {
		c := plain()
		c.Capabilities, c.AllowRoot = tt.profile, tt.root
		s := minimal()
		s.RunAsUser = tt.user
		sc := podOf(t, c, recordOf(c, s)).Spec.Containers[0].SecurityContext
		got := runtimes
		if caps := sc.Capabilities; caps != nil {
			got = "drop " + join(caps.Drop)
			if len(caps.Add) > 0 {
				got += ", add " + join(caps.Add)
			}
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func join(caps []corev1.Capability) string {
	var out []string
	for _, c := range caps {
		out = append(out, string(c))
	}
	return strings.Join(out, ",")
}

// What holds for every pod, whatever client and operator want.
func TestEveryPod(t *testing.T) {
	t.Parallel()
	for configName, c := range map[string]objects.Config{"plain": plain(), "path mode": inPathMode(plain()), "every option": every()} {
		for specName, s := range map[string]sandbox.Spec{"v0": v0(), "v1": v1(), "sdk": sdk(), "minimal": minimal(), "root": root()} {
			t.Run(configName+"/"+specName, func(t *testing.T) {
				t.Parallel()
				r := recordOf(c, s)
				pod := podOf(t, c, r)
				everyPod(t, pod)
				body, err := json.Marshal(pod)
				if err != nil {
					t.Fatal(err)
				}
				for _, secret := range []string{sessionKey, secretKey} {
					if strings.Contains(string(body), secret) {
						t.Errorf("%s stands in the pod", secret)
					}
				}
			})
		}
	}
}

func everyPod(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	isFalse := func(what string, b *bool) {
		if b == nil || *b {
			t.Errorf("%s is not false", what)
		}
	}
	isFalse("enableServiceLinks", pod.Spec.EnableServiceLinks)
	isFalse("automountServiceAccountToken", pod.Spec.AutomountServiceAccountToken)
	if n := len(pod.Spec.Containers); n != 1 || len(pod.Spec.InitContainers) != 0 {
		t.Fatalf("%d containers", n)
	}
	main := pod.Spec.Containers[0]
	isFalse("allowPrivilegeEscalation", main.SecurityContext.AllowPrivilegeEscalation)
	if main.SecurityContext.Privileged != nil || pod.Spec.HostNetwork || pod.Spec.HostPID || pod.Spec.HostIPC {
		t.Error("it has privileges")
	}
	if sc := pod.Spec.SecurityContext; sc.SeccompProfile == nil || sc.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("seccomp %+v", sc.SeccompProfile)
	}
	if pod.Annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] != "false" {
		t.Errorf("%v", pod.Annotations)
	}
	if pod.Spec.RestartPolicy != corev1.RestartPolicyAlways || main.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError {
		t.Errorf("%s, %s", pod.Spec.RestartPolicy, main.TerminationMessagePolicy)
	}
	for what, p := range map[string]*corev1.Probe{"startup": main.StartupProbe, "readiness": main.ReadinessProbe} {
		if p == nil || p.HTTPGet.Path != "/alive" || p.HTTPGet.Port.IntVal != main.Ports[0].ContainerPort {
			t.Errorf("%s probe: %+v", what, p)
		}
	}
	if main.LivenessProbe != nil {
		t.Error("a liveness probe would kill a busy agent")
	}
	for _, v := range pod.Spec.Volumes {
		if v.HostPath != nil {
			t.Errorf("%s is the host's", v.Name)
		}
	}
}

// The session key is named by its number, so that a cache that lags cannot give
// an old one; the secret key is the same for the sandbox's whole life.
func TestKeysByNumber(t *testing.T) {
	t.Parallel()
	keys := func(number int) map[string]string {
		c := plain()
		r := recordOf(c, v1())
		r.KeyNumber, r.Incarnation = number, int64(number)
		out := map[string]string{}
		for _, v := range podOf(t, c, r).Spec.Containers[0].Env {
			if v.ValueFrom != nil {
				out[v.Name] = v.ValueFrom.SecretKeyRef.Key
			}
		}
		return out
	}
	for number, want := range map[int]map[string]string{
		1:  {"SESSION_API_KEY": "session_key.1", "OH_SECRET_KEY": "secret_key"},
		2:  {"SESSION_API_KEY": "session_key.2", "OH_SECRET_KEY": "secret_key"},
		17: {"SESSION_API_KEY": "session_key.17", "OH_SECRET_KEY": "secret_key"},
	} {
		if got := keys(number); !reflect.DeepEqual(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

func TestStartupTimeout(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[int]int32{0: 1, 1: 1, 90: 90, 600: 600} {
		c := plain()
		c.StartupTimeout = time.Duration(seconds) * time.Second
		p := podOf(t, c, recordOf(c, minimal())).Spec.Containers[0].StartupProbe
		if p.FailureThreshold != want || p.PeriodSeconds != 1 {
			t.Errorf("%d s: %+v", seconds, p)
		}
	}
}
