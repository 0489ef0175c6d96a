package kube_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// randomRecord is any record that the services can write.
func randomRecord(r *rand.Rand) *sandbox.Record {
	word := func() string {
		letters := []rune("aZ09-_./ =\"\\<>&'é日\u2028\n\x00")
		out := make([]rune, r.IntN(12))
		for i := range out {
			out[i] = letters[r.IntN(len(letters))]
		}
		return string(out)
	}
	id := func() *int64 {
		if r.IntN(2) == 0 {
			return nil
		}
		n := r.Int64N(1 << 31)
		return &n
	}
	when := func() time.Time { return time.Unix(r.Int64N(1<<32), r.Int64N(1e9)).UTC() }
	rec := &sandbox.Record{
		UID: "uid", ResourceVersion: fmt.Sprint(r.Uint64()), Tenant: []string{"default", "a", "acme-2"}[r.IntN(3)], SessionID: "s" + word(),
		RuntimeID: sandbox.NewRuntimeID(), Original: word(), Desired: []sandbox.Desired{sandbox.Running, sandbox.Paused, sandbox.Stopped}[r.IntN(3)],
		Generation: r.Int64(), Incarnation: r.Int64(), Fence: r.Uint64(), LastCommand: word(), Reason: word(), Holder: word(), Place: word(),
		Spec: sandbox.Spec{
			Image: word(), WorkingDir: word(), ResourceFactor: r.IntN(64), RuntimeClass: word(),
			RunAsUser: id(), RunAsGroup: id(), FSGroup: id(), ImagePullPolicy: word(),
			Lifecycle: []*sandbox.Lifecycle{nil, {}, {Idle: id(), MaxAge: id(), Retention: id(), Pending: id(), Unclaimed: id()}}[r.IntN(3)],
		},
		Route:      sandbox.Route{Label: word(), URL: word(), VSCodeURL: word(), WorkHosts: map[string]int{word(): r.IntN(1 << 16), word(): 1}},
		SessionKey: sandbox.NewKey(), KeyNumber: 1 + r.IntN(9), SecretKey: sandbox.NewKey(), CreatedAt: when(), ChangedAt: when(), Begun: r.Int64(), BegunAt: when(),
	}
	for range r.IntN(4) {
		rec.Spec.Command = append(rec.Spec.Command, word())
	}
	if n := r.IntN(4); n > 0 {
		rec.Spec.Environment = map[string]string{}
		for range n {
			rec.Spec.Environment["V"+word()] = word()
		}
	}
	rec.Name = sandbox.RecordName(rec.Tenant, rec.SessionID)
	return rec
}

// stored is a record as the API server holds it.
func stored(t testing.TB, r *sandbox.Record) *corev1.Secret {
	t.Helper()
	s, err := kube.EncodeRecord(r)
	if err != nil {
		t.Fatal(err)
	}
	s.UID, s.ResourceVersion = types.UID(r.UID), r.ResourceVersion
	return s
}

// apply does to a Secret what the API server does with a merge patch.
func apply(t testing.TB, s *corev1.Secret, patch []byte) *corev1.Secret {
	t.Helper()
	before, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	after, err := jsonpatch.MergePatch(before, patch)
	if err != nil {
		t.Fatal(err)
	}
	var out corev1.Secret
	if err := json.Unmarshal(after, &out); err != nil {
		t.Fatal(err)
	}
	return &out
}

func TestRecordsAreReadBack(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		rec := randomRecord(r)
		got, err := kube.DecodeRecord(stored(t, rec))
		if err != nil || !reflect.DeepEqual(got, rec) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, got, rec)
		}
	}
}

func TestUpdatesAreReadBack(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	for range 1000 {
		prev := randomRecord(r)
		next := randomRecord(r)
		next.Name, next.Tenant, next.SessionID, next.UID, next.ResourceVersion = prev.Name, prev.Tenant, prev.SessionID, prev.UID, prev.ResourceVersion
		next.KeyNumber = prev.KeyNumber + r.IntN(2)
		s := stored(t, prev)
		s.Labels["example.org/mine"], s.Annotations["example.org/mine"] = "x", "y"
		patch, err := kube.EncodeUpdate(prev, next)
		if err != nil {
			t.Fatal(err)
		}
		s = apply(t, s, patch)
		got, err := kube.DecodeRecord(s)
		if err != nil || !reflect.DeepEqual(got, next) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, got, next)
		}
		if s.Labels["example.org/mine"] != "x" || s.Annotations["example.org/mine"] != "y" || s.Annotations[kube.AnnotationSession] != next.SessionID || s.Type != kube.SecretType {
			t.Fatalf("%+v", s.ObjectMeta)
		}
		if s.Labels[kube.LabelRuntimeID] != next.RuntimeID {
			t.Fatalf("labels are of another runtime: %v", s.Labels)
		}
	}
}

// The patch carries uid and resourceVersion, so that the API server refuses it
// where the record is another one or has moved.
func TestUpdateIsBoundToWhatWasRead(t *testing.T) {
	t.Parallel()
	prev, next := recordOf(), recordOf()
	next.ResourceVersion, next.UID = "of no interest", "of no interest"
	patch, err := kube.EncodeUpdate(prev, next)
	if err != nil {
		t.Fatal(err)
	}
	var p struct {
		Metadata struct{ UID, ResourceVersion string }
	}
	if err := json.Unmarshal(patch, &p); err != nil || p.Metadata.UID != prev.UID || p.Metadata.ResourceVersion != prev.ResourceVersion {
		t.Errorf("%+v, %v", p, err)
	}
}

// Of the session keys the present one and the one before stay.
func TestSessionKeysOverRotations(t *testing.T) {
	t.Parallel()
	rec := recordOf()
	s := stored(t, rec)
	for n := 2; n <= 8; n++ {
		next := rec.Clone()
		next.KeyNumber, next.SessionKey = n, fmt.Sprint("session-", n)
		patch, err := kube.EncodeUpdate(rec, next)
		if err != nil {
			t.Fatal(err)
		}
		before := string(s.Data[kube.DataSessionKey(n-1)])
		s = apply(t, s, patch)
		var keys []string
		for k := range s.Data {
			if strings.HasPrefix(k, "session_key.") {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		if want := []string{kube.DataSessionKey(n - 1), kube.DataSessionKey(n)}; !slices.Equal(keys, want) {
			t.Errorf("after rotation to %d: %v", n, keys)
		}
		if string(s.Data[kube.DataSessionKey(n-1)]) != before || string(s.Data[kube.DataSessionKey(n)]) != next.SessionKey {
			t.Errorf("after rotation to %d: %s", n, s.Data)
		}
		rec = next
	}
}

// What a newer version writes beside what this one knows is written back as it
// was, and never stands for what this one knows.
func TestUnknownMembersSurvive(t *testing.T) {
	t.Parallel()
	rec := recordOf()
	s := stored(t, rec)
	var m map[string]any
	if err := json.Unmarshal(s.Data["record"], &m); err != nil {
		t.Fatal(err)
	}
	m["snapshot"], m["zone"], m["DESIRED"] = map[string]any{"class": "x", "n": 1.5, "list": []any{"a", nil}}, "eu", "stopped"
	body, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	s.Data["record"] = body
	got, err := kube.DecodeRecord(s)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Unknown) != 3 {
		t.Errorf("unknown: %s", got.Unknown)
	}
	next := got.Clone()
	next.Desired, next.Generation = sandbox.Paused, next.Generation+1
	patch, err := kube.EncodeUpdate(got, next)
	if err != nil {
		t.Fatal(err)
	}
	s = apply(t, s, patch)
	var after map[string]any
	if err := json.Unmarshal(s.Data["record"], &after); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(after["snapshot"], m["snapshot"]) || after["zone"] != "eu" || after["desired"] != "paused" {
		t.Errorf("%v", after)
	}
	if back, err := kube.DecodeRecord(s); err != nil || back.Desired != sandbox.Paused || !reflect.DeepEqual(back.Unknown, got.Unknown) {
		t.Errorf("%+v, %v", back, err)
	}
}

// What a newer version adds to a spec, a route or a lifecycle goes where these go:
// over a pause and a resume by this version, and away with the spec.
func TestUnknownMembersInsideSurvive(t *testing.T) {
	t.Parallel()
	rec := recordOf()
	rec.Spec.Lifecycle = &sandbox.Lifecycle{}
	s := stored(t, rec)
	var m map[string]any
	if err := json.Unmarshal(s.Data["record"], &m); err != nil {
		t.Fatal(err)
	}
	spec, route := m["spec"].(map[string]any), m["route"].(map[string]any)
	spec["gpus"], route["ssh"] = map[string]any{"class": "<x>", "n": 2.0}, "ssh://here"
	spec["lifecycle"] = map[string]any{"hibernate_seconds": 5.0}
	body, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	s.Data["record"] = body
	change := func(change func(*sandbox.Record)) (after struct{ Spec, Route map[string]any }) {
		t.Helper()
		got, err := kube.DecodeRecord(s)
		if err != nil {
			t.Fatal(err)
		}
		next := got.Clone()
		next.Generation++
		change(next)
		patch, err := kube.EncodeUpdate(got, next)
		if err != nil {
			t.Fatal(err)
		}
		s = apply(t, s, patch)
		if err := json.Unmarshal(s.Data["record"], &after); err != nil {
			t.Fatal(err)
		}
		return after
	}
	for _, desired := range []sandbox.Desired{sandbox.Paused, sandbox.Running} {
		after := change(func(r *sandbox.Record) { r.Desired = desired })
		if !reflect.DeepEqual(after.Spec, spec) || !reflect.DeepEqual(after.Route, route) {
			t.Errorf("%s: %v, want %v and %v", desired, after, spec, route)
		}
	}
	after := change(func(r *sandbox.Record) { r.Desired, r.Spec = sandbox.Stopped, sandbox.Spec{} })
	if after.Spec["gpus"] != nil || after.Spec["lifecycle"] != nil {
		t.Errorf("a stopped one has the spec %v", after.Spec)
	}
}

// One that differs from ours by case alone is as unknown as any, though it is the only
// one: it is not lost with the next write, and does not stand for ours.
func TestAMemberOfAnotherCaseSurvives(t *testing.T) {
	t.Parallel()
	s := stored(t, recordOf())
	body := bytes.TrimSuffix(s.Data["record"], []byte("}"))
	s.Data["record"] = append(body, `,"DESIRED":"stopped"}`...)
	got, err := kube.DecodeRecord(s)
	if err != nil || got.Desired != sandbox.Running {
		t.Fatalf("%+v, %v", got, err)
	}
	next := got.Clone()
	next.Generation++
	patch, err := kube.EncodeUpdate(got, next)
	if err != nil {
		t.Fatal(err)
	}
	back, err := kube.DecodeRecord(apply(t, s, patch))
	if err != nil || back.Desired != sandbox.Running || string(back.Unknown["DESIRED"]) != `"stopped"` {
		t.Errorf("%+v, %v", back, err)
	}
}

// A reason that is taken back does not come back as an unknown member.
func TestAReasonIsTakenBack(t *testing.T) {
	t.Parallel()
	rec := recordOf()
	rec.Reason = "idle for 20m0s"
	s := stored(t, rec)
	got, err := kube.DecodeRecord(s)
	if err != nil || got.Reason != rec.Reason {
		t.Fatalf("%+v, %v", got, err)
	}
	next := got.Clone()
	next.Reason = ""
	patch, err := kube.EncodeUpdate(got, next)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := kube.DecodeRecord(apply(t, s, patch)); err != nil || back.Reason != "" {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestUnknownNeverReplacesKnown(t *testing.T) {
	t.Parallel()
	rec := recordOf()
	rec.Unknown = map[string]json.RawMessage{"tenant": json.RawMessage(`"evil"`), "desired": json.RawMessage(`"stopped"`), "new": json.RawMessage(`1`)}
	got, err := kube.DecodeRecord(stored(t, rec))
	if err != nil || got.Tenant != "acme" || got.Desired != sandbox.Running || string(got.Unknown["new"]) != "1" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestDecodeRecordTrustsNothing(t *testing.T) {
	t.Parallel()
	set := func(member string, value any) func(*corev1.Secret) {
		return func(s *corev1.Secret) {
			var m map[string]any
			if err := json.Unmarshal(s.Data["record"], &m); err != nil {
				panic(err)
			}
			m[member] = value
			s.Data["record"], _ = json.Marshal(m)
		}
	}
	body := func(text string) func(*corev1.Secret) {
		return func(s *corev1.Secret) { s.Data["record"] = []byte(text) }
	}
	for name, change := range map[string]func(*corev1.Secret){
		"another name":     func(s *corev1.Secret) { s.Name = sandbox.RecordName("acme", "t") },
		"another tenant":   set("tenant", "default"),
		"another session":  set("session_id", "t"),
		"no tenant":        set("tenant", ""),
		"no runtime id":    set("runtime_id", ""),
		"a runtime id":     set("runtime_id", "../etc"),
		"desired":          set("desired", "deleted"),
		"no desired":       set("desired", ""),
		"a newer version":  set("version", 2),
		"no data":          func(s *corev1.Secret) { s.Data = nil },
		"no record":        func(s *corev1.Secret) { delete(s.Data, "record") },
		"no JSON":          body("record"),
		"null":             body("null"),
		"a list":           body("[]"),
		"a wrong type":     set("generation", "1"),
		"a fraction":       set("generation", 1.5),
		"too large":        set("fence", 1e30),
		"a malformed time": set("created_at", "yesterday"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := stored(t, recordOf())
			change(s)
			if r, err := kube.DecodeRecord(s); err == nil {
				t.Errorf("accepted: %+v", r)
			} else if r != nil || strings.Contains(err.Error(), "session-key") {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	bad := recordOf()
	bad.Tenant = "Not-Valid"
	bad.Name = sandbox.RecordName(bad.Tenant, bad.SessionID)
	if r, err := kube.DecodeRecord(stored(t, bad)); err == nil {
		t.Errorf("accepted: %+v", r)
	}
}

// The Secret is one that the API server takes.
func TestRecordIsAValidSecret(t *testing.T) {
	t.Parallel()
	s := stored(t, recordOf())
	problems := validation.IsDNS1123Subdomain(s.Name)
	for k := range s.Data {
		problems = append(problems, validation.IsConfigMapKey(k)...)
	}
	for k := range s.Annotations {
		problems = append(problems, validation.IsQualifiedName(k)...)
	}
	if len(problems) > 0 {
		t.Errorf("%v", problems)
	}
	if string(s.Data[kube.DataSecretKey]) != "secret" || string(s.Data[kube.DataSessionKey(1)]) != "session" || len(s.Data) != 3 {
		t.Errorf("%s", s.Data)
	}
	if strings.Contains(string(s.Data["record"]), "session\"") || strings.Contains(string(s.Data["record"]), "secret") {
		t.Errorf("a key stands in the record: %s", s.Data["record"])
	}
}

func FuzzDecodeRecord(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 5 {
		rec := randomRecord(r)
		s := stored(f, rec)
		f.Add(s.Name, s.Data["record"], []byte(rec.SessionKey), []byte(rec.SecretKey))
	}
	f.Add(recordOf().Name, []byte(`{"tenant":"acme","session_id":"s","runtime_id":"abcdefghijklmnop","desired":"running","key_number":-1,"X":{}}`), []byte{0xff}, []byte{})
	f.Fuzz(func(t *testing.T, name string, body, session, secret []byte) {
		s := &corev1.Secret{Data: map[string][]byte{"record": body, "session_key.1": session, kube.DataSecretKey: secret}}
		s.Name, s.UID, s.ResourceVersion = name, "uid", "5"
		got, err := kube.DecodeRecord(s)
		if err != nil {
			if got != nil {
				t.Errorf("%+v beside %v", got, err)
			}
			return
		}
		if sandbox.RecordName(got.Tenant, got.SessionID) != name || !sandbox.ValidTenant(got.Tenant) || !sandbox.ValidRuntimeID(got.RuntimeID) {
			t.Errorf("accepted: %+v", got)
		}
		again, err := kube.EncodeRecord(got)
		if err != nil {
			return // a time that JSON does not write
		}
		again.UID, again.ResourceVersion = s.UID, s.ResourceVersion
		back, err := kube.DecodeRecord(again)
		if err != nil {
			t.Fatal(err)
		}
		a, errA := kube.EncodeUpdate(got, got)
		b, errB := kube.EncodeUpdate(back, back)
		if errA != nil || errB != nil || string(a) != string(b) {
			t.Errorf("%s\nbecame %s: %v %v", a, b, errA, errB)
		}
	})
}

// A list of 10,000 records decodes each.
func BenchmarkDecodeRecord(b *testing.B) {
	rec := recordOf()
	rec.Spec.Environment = map[string]string{"LANG": "C.UTF-8", "LOG_JSON": "true"}
	rec.Spec.Lifecycle = &sandbox.Lifecycle{}
	s := stored(b, rec)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := kube.DecodeRecord(s); err != nil {
			b.Fatal(err)
		}
	}
}
