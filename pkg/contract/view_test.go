package contract_test

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

func sealer(t testing.TB, fill byte) *contract.Sealer {
	t.Helper()
	s, err := contract.NewSealer(base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(fill), 32))))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNewSealerRefuses(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{
		"nothing": "", "no base64": "%%%", "16 bytes": base64.StdEncoding.EncodeToString(make([]byte, 16)), "33 bytes": base64.StdEncoding.EncodeToString(make([]byte, 33)),
		"url form": strings.Repeat("_", 43) + "=",
	} {
		if _, err := contract.NewSealer(key); err == nil {
			t.Errorf("%s is accepted", name)
		} else if key != "" && strings.Contains(err.Error(), key) {
			t.Errorf("%s: the error shows the key", name)
		}
	}
}

func TestSealer(t *testing.T) {
	t.Parallel()
	s := sealer(t, 'a')
	v := fullView()
	s.Seal(v)
	first := v.SealedKey
	if first == "" || strings.Contains(first, v.SessionKey) {
		t.Fatalf("sealed as %q", first)
	}
	s.Seal(v)
	if v.SealedKey == first {
		t.Error("the same nonce twice")
	}
	flip := func(i int) string {
		raw, err := base64.StdEncoding.DecodeString(first)
		if err != nil {
			t.Fatal(err)
		}
		raw[(i+len(raw))%len(raw)] ^= 1
		return base64.StdEncoding.EncodeToString(raw)
	}
	for name, c := range map[string]struct {
		sealer *contract.Sealer
		change func(*sandbox.View)
		opens  bool
	}{
		"as it was":         {s, func(*sandbox.View) {}, true},
		"another sealer":    {sealer(t, 'a'), func(*sandbox.View) {}, true},
		"another key":       {sealer(t, 'b'), func(*sandbox.View) {}, false},
		"another sandbox":   {s, func(v *sandbox.View) { v.RuntimeID = "ponmlkjihgfedcba" }, false},
		"nonce tampered":    {s, func(v *sandbox.View) { v.SealedKey = flip(0) }, false},
		"key tampered":      {s, func(v *sandbox.View) { v.SealedKey = flip(12) }, false},
		"tag tampered":      {s, func(v *sandbox.View) { v.SealedKey = flip(-1) }, false},
		"cut":               {s, func(v *sandbox.View) { v.SealedKey = base64.StdEncoding.EncodeToString([]byte("short")) }, false},
		"only a nonce":      {s, func(v *sandbox.View) { v.SealedKey = base64.StdEncoding.EncodeToString(make([]byte, 12)) }, false},
		"no base64":         {s, func(v *sandbox.View) { v.SealedKey = "%%%" }, false},
		"in another's view": {s, func(v *sandbox.View) { v.Tenant, v.SessionID = "other", "other" }, true}, // the runtime id is what binds
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := v.Clone()
			got.SealedKey, got.SessionKey = first, "of before"
			c.change(got)
			err := c.sealer.Open(got)
			if c.opens && (err != nil || got.SessionKey != "the-session-key") {
				t.Errorf("%q, %v", got.SessionKey, err)
			}
			if !c.opens && (err == nil || got.SessionKey != "") {
				t.Errorf("opened: %q, %v", got.SessionKey, err)
			}
		})
	}
}

func TestSealerWithoutKey(t *testing.T) {
	t.Parallel()
	s := sealer(t, 'a')
	v := fullView()
	v.SessionKey = ""
	s.Seal(v)
	if v.SealedKey != "" {
		t.Errorf("sealed nothing as %q", v.SealedKey)
	}
	v.SessionKey = "of before"
	if err := s.Open(v); err != nil || v.SessionKey != "" {
		t.Errorf("%q, %v", v.SessionKey, err)
	}
}

// A session key never leaves a view but sealed.
func TestViewsHideTheKey(t *testing.T) {
	t.Parallel()
	v := fullView()
	sealer(t, 'a').Seal(v)
	body, err := contract.EncodeView(v)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := json.Marshal(contract.Reply{View: v})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{body, reply} {
		if strings.Contains(string(b), v.SessionKey) {
			t.Errorf("%s", b)
		}
	}
	back, err := contract.DecodeView(contract.ViewKey(v.Tenant, v.Record), body)
	if err != nil {
		t.Fatal(err)
	}
	if err := sealer(t, 'a').Open(back); err != nil || back.SessionKey != v.SessionKey {
		t.Errorf("%q, %v", back.SessionKey, err)
	}
}

func TestDecodeViewRefuses(t *testing.T) {
	t.Parallel()
	key := contract.ViewKey("acme", recordName)
	for name, c := range map[string]struct {
		key    string
		change func(*sandbox.View)
	}{
		"another tenant":     {key, func(v *sandbox.View) { v.Tenant = "default" }},
		"another session":    {key, func(v *sandbox.View) { v.SessionID = "x" }},
		"another record":     {key, func(v *sandbox.View) { v.Record = sandbox.RecordName("acme", "x") }},
		"a whole other":      {key, func(v *sandbox.View) { v.SessionID, v.Record = "x", sandbox.RecordName("acme", "x") }},
		"runtime id":         {key, func(v *sandbox.View) { v.RuntimeID = "x" }},
		"no runtime id":      {key, func(v *sandbox.View) { v.RuntimeID = "" }},
		"the heartbeat":      {contract.HeartbeatKey, func(*sandbox.View) {}},
		"a foreign key":      {"x.y", func(*sandbox.View) {}},
		"another tenant key": {contract.ViewKey("default", recordName), func(*sandbox.View) {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := fullView()
			c.change(v)
			body, err := contract.EncodeView(v)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := contract.DecodeView(c.key, body); err == nil {
				t.Errorf("accepted: %+v", got)
			}
		})
	}
	for _, body := range []string{"", "null", "[]", "{", `{"order":-1}`, `{"transitions":{}}`} {
		if got, err := contract.DecodeView(key, []byte(body)); err == nil {
			t.Errorf("%s is accepted: %+v", body, got)
		}
	}
}

func FuzzDecodeView(f *testing.F) {
	for _, v := range []*sandbox.View{fullView(), leastView()} {
		body, err := contract.EncodeView(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(contract.ViewKey(v.Tenant, v.Record), body)
	}
	s := sealer(f, 'a')
	f.Fuzz(func(t *testing.T, key string, body []byte) {
		v, err := contract.DecodeView(key, body)
		if err != nil {
			if v != nil {
				t.Errorf("%+v beside %v", v, err)
			}
			return
		}
		if contract.ViewKey(v.Tenant, v.Record) != key || sandbox.RecordName(v.Tenant, v.SessionID) != v.Record || v.SessionKey != "" {
			t.Errorf("under %q: %+v", key, v)
		}
		_ = s.Open(v)
		again, err := contract.EncodeView(v)
		if err != nil {
			t.Fatal(err)
		}
		back, err := contract.DecodeView(key, again)
		if err != nil || !sandbox.SameForReaders(back, withoutKey(v)) || sandbox.Newer(back, v) != 0 {
			t.Errorf("%+v became %+v: %v", v, back, err)
		}
	})
}

func withoutKey(v *sandbox.View) *sandbox.View {
	v = v.Clone()
	v.SessionKey = ""
	return v
}

func FuzzDecodeHeartbeat(f *testing.F) {
	for _, s := range []string{`{"leader":"w","time":"2026-03-04T05:06:07Z","complete":true,"created":"2026-03-04T05:06:07.123456789Z"}`, `{}`, `null`, `[]`, `{"complete":"true"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		h, err := contract.DecodeHeartbeat(body)
		if err != nil {
			if !reflect.DeepEqual(h, contract.Heartbeat{}) {
				t.Errorf("%+v beside %v", h, err)
			}
			return
		}
		again, err := json.Marshal(h)
		if err != nil {
			return // a time zone that JSON does not take
		}
		back, err := contract.DecodeHeartbeat(again)
		if err != nil || back.Complete != h.Complete || !back.Created.Equal(h.Created) || !back.Time.Equal(h.Time) {
			t.Errorf("%+v became %+v: %v", h, back, err)
		}
	})
}

// The bucket's creation time is compared for being equal: JSON must keep each
// nanosecond of it.
func TestHeartbeatKeepsTheBucketsTime(t *testing.T) {
	t.Parallel()
	for _, ns := range []int{0, 1, 999_999_999, 120_000_000} {
		created := time.Date(2026, 3, 4, 5, 6, 7, ns, time.Local)
		body, err := json.Marshal(contract.Heartbeat{Created: created})
		if err != nil {
			t.Fatal(err)
		}
		if h, err := contract.DecodeHeartbeat(body); err != nil || !h.Created.Equal(created) {
			t.Errorf("%v became %v: %v", created, h.Created, err)
		}
	}
}

// secrets is what never stands in an event or a dead letter.
var secrets = []string{"the-session-key", "c2VhbGVk", "environment", "session_key", "secret", "pod_logs", "panic"}

func TestEventsHoldNoSecret(t *testing.T) {
	t.Parallel()
	for _, v := range []any{contract.EventData{}, contract.DeadLetter{}} {
		allowed := map[string]bool{
			"tenant": true, "session_id": true, "runtime_id": true, "number": true, "type": true, "time": true, "reason": true, "url": true, "image": true, "incarnation": true,
			"command_id": true, "verb": true, "record": true, "sequence": true, "delivered": true, "error": true,
		}
		typ := reflect.TypeOf(v)
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			if !allowed[name] {
				t.Errorf("%s.%s: say here that it is no secret", typ, name)
			}
		}
	}
	for _, tr := range fullView().Transitions {
		e, err := contract.NewEvent(fullView(), tr)
		if err != nil {
			t.Fatal(err)
		}
		whole := string(e.Body) + e.Subject + e.ID
		for k, v := range e.Headers {
			whole += k + v
		}
		for _, s := range secrets {
			if strings.Contains(whole, s) {
				t.Errorf("%s holds %q", whole, s)
			}
		}
	}
}

func TestEventOfAnEarlierRuntime(t *testing.T) {
	t.Parallel()
	e, err := contract.NewEvent(fullView(), sandbox.Transition{RuntimeID: "ponmlkjihgfedcba", Number: 9, Type: sandbox.EventStopped, Time: born})
	if err != nil {
		t.Fatal(err)
	}
	d, err := contract.DecodeEvent(e.Body)
	if err != nil || d.URL != "" || d.Image != "" || d.Incarnation != 0 || d.RuntimeID != "ponmlkjihgfedcba" || d.SessionID != "s" {
		t.Errorf("%+v, %v", d, err)
	}
	if e.Subject != contract.EventSubject("acme", "ponmlkjihgfedcba", sandbox.EventStopped) || e.ID != "ponmlkjihgfedcba/9" {
		t.Errorf("%s %s", e.Subject, e.ID)
	}
}

// Each kind of event has a subject that its sandbox's subscribers hear, and the
// attributes that CloudEvents asks for.
func TestEveryEvent(t *testing.T) {
	t.Parallel()
	for _, typ := range []sandbox.EventType{
		sandbox.EventRequested, sandbox.EventStarting, sandbox.EventReady, sandbox.EventUnready, sandbox.EventPaused,
		sandbox.EventResumed, sandbox.EventStopped, sandbox.EventFailed, sandbox.EventRestored,
	} {
		e, err := contract.NewEvent(fullView(), sandbox.Transition{RuntimeID: runtimeID, Number: 1, Type: typ, Time: born})
		if err != nil {
			t.Fatal(err)
		}
		if !matches(contract.EventsOf("acme", runtimeID), e.Subject) {
			t.Errorf("%s", e.Subject)
		}
		for _, h := range []string{
			contract.HeaderCESpecVersion, contract.HeaderCEID, contract.HeaderCESource, contract.HeaderCEType, contract.HeaderCETime, contract.HeaderCESubject, contract.HeaderContentType,
		} {
			if e.Headers[h] == "" {
				t.Errorf("%s has no %s", typ, h)
			}
		}
	}
}
