package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Runtime is the contract's runtime object.
type Runtime struct {
	RuntimeID      string         `json:"runtime_id"`
	SessionID      string         `json:"session_id"`
	URL            string         `json:"url"`
	Status         string         `json:"status"`
	PodStatus      string         `json:"pod_status"`
	SessionAPIKey  string         `json:"session_api_key"` // "" for null
	WorkHosts      map[string]int `json:"work_hosts"`
	RestartCount   int            `json:"restart_count"`
	RestartReasons []string       `json:"restart_reasons"`
	StatusDetail   string         `json:"status_detail"` // "" for null
	PodLogs        string         `json:"pod_logs"`
}

// phases are the pod statuses that may stand beside a status. "unknown" is in
// none: it is fatal for clients.
var phases = map[string][]string{
	"starting": {"not found", "pending", "running"},
	"running":  {"ready", "running"}, // the second in a short readiness blip
	"paused":   {"not found"},
	"stopped":  {"not found"},
	"error":    {"crashloopbackoff", "failed"},
}

// maxLabel leaves room for "vscode-" in a DNS label of 63.
const maxLabel = 56

// maxPodLogs is the cap that contract 3 proposes, and some room for JSON's own.
const maxPodLogs = 16 << 10

var labelPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// DecodeRuntime reads a runtime object and says all that is wrong with it:
// fields that are absent or of another type than the strictest client takes,
// and values that do not fit each other.
func DecodeRuntime(raw []byte) (Runtime, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		return Runtime{}, fmt.Errorf("runtime object: not a JSON object: %.200s", raw)
	}
	var problems []error
	for _, check := range fieldChecks {
		value, ok := fields[check.name]
		switch {
		case !ok && check.required:
			problems = append(problems, fmt.Errorf("%s is absent", check.name))
		case ok:
			if err := check.kind(value); err != nil {
				problems = append(problems, fmt.Errorf("%s is %.200s, want %w", check.name, value, err))
			}
		}
	}
	var r Runtime
	if err := json.Unmarshal(raw, &r); err != nil {
		problems = append(problems, err)
	}
	if len(problems) == 0 {
		problems = r.problems(fields)
	}
	if err := errors.Join(problems...); err != nil {
		return Runtime{}, fmt.Errorf("runtime object %.600s:\n%w", raw, err)
	}
	return r, nil
}

var fieldChecks = []struct {
	name     string
	required bool
	kind     func(json.RawMessage) error
}{
	{"runtime_id", true, text},
	{"session_id", true, text},
	{"url", true, text},
	{"status", true, text},
	{"pod_status", true, text},
	{"session_api_key", true, textOrNull},
	{"work_hosts", true, portsByURL},
	{"restart_count", true, count},
	{"restart_reasons", true, texts},
	{"id", false, text},
	{"status_detail", false, textOrNull},
	{"pod_logs", false, anyText},
	{"container_statuses", false, list},
	{"events", false, list},
	{"image", false, text},
	{"created_at", false, moment},
	{"vscode_url", false, text},
}

func is[T any](raw json.RawMessage) (T, bool) {
	var value *T
	err := json.Unmarshal(raw, &value)
	if err != nil || value == nil {
		var none T
		return none, false
	}
	return *value, true
}

func text(raw json.RawMessage) error {
	if s, ok := is[string](raw); !ok || s == "" {
		return errors.New("a text that is not empty")
	}
	return nil
}

func anyText(raw json.RawMessage) error {
	if _, ok := is[string](raw); !ok {
		return errors.New("a text")
	}
	return nil
}

func textOrNull(raw json.RawMessage) error {
	if string(raw) == "null" {
		return nil
	}
	return anyText(raw)
}

func count(raw json.RawMessage) error {
	if n, ok := is[int](raw); !ok || n < 0 {
		return errors.New("an integer from 0 up")
	}
	return nil
}

func texts(raw json.RawMessage) error {
	all, ok := is[[]*string](raw)
	if !ok || slices.Contains(all, nil) {
		return errors.New("a list of texts")
	}
	return nil
}

func list(raw json.RawMessage) error {
	if _, ok := is[[]any](raw); !ok {
		return errors.New("a list")
	}
	return nil
}

func moment(raw json.RawMessage) error {
	if _, ok := is[time.Time](raw); !ok {
		return errors.New("a time (RFC 3339)")
	}
	return nil
}

func portsByURL(raw json.RawMessage) error {
	err := errors.New("an object of URL and port")
	hosts, ok := is[map[string]*int](raw)
	if !ok {
		return err
	}
	for host, port := range hosts {
		if port == nil || !plainURL(host) {
			return err
		}
	}
	return nil
}

// plainURL reports whether s is an absolute URL to which a path can be added.
func plainURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" &&
		u.RawQuery == "" && u.Fragment == "" && !strings.HasSuffix(s, "/")
}

func (r Runtime) problems(fields map[string]json.RawMessage) (all []error) {
	problem := func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) }
	if len(r.RuntimeID) > maxLabel || !labelPattern.MatchString(r.RuntimeID) {
		problem("runtime_id %q is no DNS label of at most %d", r.RuntimeID, maxLabel)
	}
	if id, ok := is[string](fields["id"]); ok && id != r.RuntimeID {
		problem("id %q is not runtime_id %q", id, r.RuntimeID)
	}
	if !plainURL(r.URL) {
		problem("url %q is no absolute URL without a trailing slash", r.URL)
	}
	allowed, known := phases[r.Status]
	switch {
	case !known:
		problem("status %q is none of the contract's", r.Status)
	case !slices.Contains(allowed, r.PodStatus):
		problem("pod_status %q beside status %q, want one of %q", r.PodStatus, r.Status, allowed)
	}
	if r.SessionAPIKey == "" && r.Status != "stopped" {
		problem("session_api_key is empty while %s", r.Status)
	}
	if r.PodLogs != "" && r.Status != "error" {
		problem("pod_logs while %s", r.Status)
	}
	if len(r.PodLogs) > maxPodLogs {
		problem("pod_logs has %d bytes", len(r.PodLogs))
	}
	return all
}

// DecodeBatch reads the answer of /sessions/batch: nil for each null.
func DecodeBatch(raw []byte) ([]*Runtime, error) {
	elements, ok := is[[]json.RawMessage](raw)
	if !ok {
		return nil, fmt.Errorf("batch: not a JSON array: %.200s", raw)
	}
	all := make([]*Runtime, len(elements))
	for i, element := range elements {
		if string(element) == "null" {
			continue
		}
		r, err := DecodeRuntime(element)
		if err != nil {
			return nil, fmt.Errorf("batch element %d: %w", i, err)
		}
		all[i] = &r
	}
	return all, nil
}

// DecodeList reads the answer of /list, which holds nothing but what starts or
// runs.
func DecodeList(raw []byte) ([]Runtime, error) {
	var body struct {
		Runtimes *[]json.RawMessage `json:"runtimes"`
		Total    *int               `json:"total"`
	}
	if err := json.Unmarshal(raw, &body); err != nil || body.Runtimes == nil || body.Total == nil {
		return nil, fmt.Errorf("list: not an object with runtimes and total: %.200s", raw)
	}
	if *body.Total != len(*body.Runtimes) {
		return nil, fmt.Errorf("list: total is %d beside %d runtimes", *body.Total, len(*body.Runtimes))
	}
	all := make([]Runtime, len(*body.Runtimes))
	for i, element := range *body.Runtimes {
		r, err := DecodeRuntime(element)
		if err != nil {
			return nil, fmt.Errorf("list element %d: %w", i, err)
		}
		if r.Status != "starting" && r.Status != "running" {
			return nil, fmt.Errorf("list: %s (session %q) is %s", r.RuntimeID, r.SessionID, r.Status)
		}
		all[i] = r
	}
	return all, nil
}
