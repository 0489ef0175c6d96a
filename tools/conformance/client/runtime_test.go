package client_test

import (
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

const goodRuntime = `{"runtime_id":"agondegmivxspeyw","id":"agondegmivxspeyw","session_id":"S.1",
"url":"http://s-1.sandbar.localhost:8080","status":"running","pod_status":"ready","session_api_key":"key",
"work_hosts":{"http://work-1-s-1.sandbar.localhost:8080":12000},"restart_count":0,"restart_reasons":[],
"status_detail":null,"created_at":"2026-01-02T03:04:05Z","something":{"new":1}}`

func TestDecodeRuntime(t *testing.T) {
	t.Parallel()
	r, err := client.DecodeRuntime([]byte(goodRuntime))
	if err != nil {
		t.Fatal(err)
	}
	if r.RuntimeID != "agondegmivxspeyw" || r.WorkHosts["http://work-1-s-1.sandbar.localhost:8080"] != 12000 {
		t.Errorf("got %+v", r)
	}
}

func TestDecodeRuntimeIsStrict(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ replace, by, want string }{
		"no object":              {goodRuntime, `[]`, "not a JSON object"},
		"null":                   {goodRuntime, `null`, "not a JSON object"},
		"absent":                 {`"restart_count"`, `"restarts"`, "restart_count is absent"},
		"null id":                {`"runtime_id":"agondegmivxspeyw"`, `"runtime_id":null`, "runtime_id is null"},
		"id differs":             {`"id":"agondegmivxspeyw",`, `"id":"other",`, `id "other" is not runtime_id`},
		"no DNS label":           {`"runtime_id":"agondegmivxspeyw","id":"agondegmivxspeyw"`, `"runtime_id":"A_b"`, "no DNS label"},
		"null pod status":        {`"ready"`, `null`, "pod_status is null"},
		"unknown pod status":     {`"ready"`, `"unknown"`, `pod_status "unknown" beside`},
		"upper case":             {`"running"`, `"Running"`, "none of the contract's"},
		"ready too early":        {`"running"`, `"starting"`, `pod_status "ready" beside status "starting"`},
		"count is text":          {`"restart_count":0`, `"restart_count":"0"`, "restart_count is"},
		"count is broken":        {`"restart_count":0`, `"restart_count":0.5`, "restart_count is"},
		"reasons null":           {`"restart_reasons":[]`, `"restart_reasons":null`, "restart_reasons is null"},
		"a reason is null":       {`"restart_reasons":[]`, `"restart_reasons":[null]`, "restart_reasons is"},
		"hosts null":             {`{"http://work-1-s-1.sandbar.localhost:8080":12000}`, `null`, "work_hosts is null"},
		"port is text":           {`:12000}`, `:"12000"}`, "work_hosts is"},
		"host is no URL":         {`"http://work-1-`, `"work-1-`, "work_hosts is"},
		"no key":                 {`"key"`, `null`, "session_api_key is empty while running"},
		"key is a number":        {`"key"`, `7`, "session_api_key is 7"},
		"trailing slash":         {`:8080","status"`, `:8080/","status"`, "without a trailing slash"},
		"detail is a number":     {`"status_detail":null`, `"status_detail":3`, "status_detail is 3"},
		"logs while running":     {`"status_detail":null`, `"pod_logs":"oh"`, "pod_logs while running"},
		"created at is no time":  {`2026-01-02T03:04:05Z`, `today`, "created_at is"},
		"two problems are told":  {`"restart_count":0,"restart_reasons":[]`, `"events":[]`, "restart_reasons is absent"},
		"events are no list":     {`"status_detail":null`, `"events":{}`, "events is"},
		"session id is no text":  {`"S.1"`, `1`, "session_id is 1"},
		"container status kinds": {`"status_detail":null`, `"container_statuses":null`, "container_statuses is null"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw := strings.Replace(goodRuntime, test.replace, test.by, 1)
			_, err := client.DecodeRuntime([]byte(raw))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v does not say %q", err, test.want)
			}
		})
	}
}

func TestDecodeStoppedRuntime(t *testing.T) {
	t.Parallel()
	raw := strings.NewReplacer(`"running"`, `"stopped"`, `"ready"`, `"not found"`, `"key"`, `null`).Replace(goodRuntime)
	if _, err := client.DecodeRuntime([]byte(raw)); err != nil {
		t.Error(err)
	}
}

func TestDecodeBatch(t *testing.T) {
	t.Parallel()
	all, err := client.DecodeBatch([]byte("[null," + goodRuntime + "]"))
	if err != nil || len(all) != 2 || all[0] != nil || all[1].SessionID != "S.1" {
		t.Errorf("got %v, %v", all, err)
	}
	for _, raw := range []string{`null`, `{}`, `[{}]`, `["a"]`} {
		if all, err := client.DecodeBatch([]byte(raw)); err == nil {
			t.Errorf("%s: got %v", raw, all)
		}
	}
}

func TestDecodeList(t *testing.T) {
	t.Parallel()
	all, err := client.DecodeList([]byte(`{"runtimes":[` + goodRuntime + `],"total":1}`))
	if err != nil || len(all) != 1 {
		t.Errorf("got %v, %v", all, err)
	}
	paused := strings.NewReplacer(`"running"`, `"paused"`, `"ready"`, `"not found"`).Replace(goodRuntime)
	for _, raw := range []string{
		`[]`, `{"runtimes":[]}`, `{"runtimes":null,"total":0}`, `{"runtimes":[],"total":"0"}`,
		`{"runtimes":[],"total":1}`, `{"runtimes":[` + paused + `],"total":1}`, `{"runtimes":[null],"total":1}`,
	} {
		if all, err := client.DecodeList([]byte(raw)); err == nil {
			t.Errorf("%s: got %v", raw, all)
		}
	}
}

func FuzzDecodeRuntime(f *testing.F) {
	f.Add([]byte(goodRuntime))
	f.Add([]byte(`{"work_hosts":{"":null}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, err := client.DecodeRuntime(raw); err == nil && (r.RuntimeID == "" || r.URL == "") {
			t.Errorf("accepted %s", raw)
		}
	})
}

func TestDerivedURLs(t *testing.T) {
	t.Parallel()
	host := client.Runtime{RuntimeID: "agondegmivxspeyw", URL: "http://s-1.sandbar.localhost:8080"}
	dash := client.Runtime{RuntimeID: "agondegmivxspeyw", URL: "https://s-1-sandbar.localhost"}
	path := client.Runtime{RuntimeID: "agondegmivxspeyw", URL: "https://sandbar.localhost/agondegmivxspeyw/runtime"}
	for _, test := range []struct{ name, got, want string }{
		{"host", host.ServiceURL("vscode"), "http://vscode-s-1.sandbar.localhost:8080"},
		{"path", path.ServiceURL("work-1"), "https://sandbar.localhost/agondegmivxspeyw/work-1"},
		{"naive", host.NaiveServiceURL("work-2"), "http://work-2-s-1.sandbar.localhost:8080"},
		{"label", host.Label("sandbar.localhost"), "s-1"},
		{"label before a dash", dash.Label("sandbar.localhost"), "s-1"},
		{"other label", host.WithLabel("other", "sandbar.localhost"), "http://other.sandbar.localhost:8080"},
		{"other label before a dash", dash.WithLabel("other", "sandbar.localhost"), "https://other-sandbar.localhost"},
	} {
		if test.got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, test.got, test.want)
		}
	}
}
