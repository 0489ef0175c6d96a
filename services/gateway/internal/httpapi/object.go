package httpapi

import (
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// runtimeObject is what every client generation reads, in one: contract 3.
type runtimeObject struct {
	RuntimeID      string            `json:"runtime_id"`
	ID             string            `json:"id"`
	SessionID      string            `json:"session_id"`
	URL            string            `json:"url"`
	Status         sandbox.Status    `json:"status"`
	PodStatus      sandbox.PodStatus `json:"pod_status"`
	StatusDetail   *string           `json:"status_detail"`
	SessionAPIKey  *string           `json:"session_api_key"` // null once stopped
	WorkHosts      map[string]int    `json:"work_hosts"`
	VSCodeURL      string            `json:"vscode_url,omitempty"`
	RestartCount   int               `json:"restart_count"`
	RestartReasons []string          `json:"restart_reasons"`
	PodLogs        string            `json:"pod_logs,omitempty"`
	Image          string            `json:"image,omitempty"`
	CreatedAt      string            `json:"created_at"`
}

func object(v *sandbox.View) *runtimeObject {
	o := &runtimeObject{
		RuntimeID: v.RuntimeID, ID: v.RuntimeID, SessionID: v.SessionID,
		URL: v.Route.URL, VSCodeURL: v.Route.VSCodeURL, WorkHosts: v.Route.WorkHosts,
		Status: v.Status, PodStatus: v.PodStatus,
		RestartCount: v.RestartCount, RestartReasons: v.RestartReasons,
		Image: v.Image, CreatedAt: v.CreatedAt.UTC().Format(time.RFC3339),
	}
	if v.StatusDetail != "" {
		o.StatusDetail = &v.StatusDetail
	}
	if v.Status != sandbox.StatusStopped {
		o.SessionAPIKey = &v.SessionKey
	}
	if v.Status == sandbox.StatusError {
		o.PodLogs = v.PodLogs
	}
	if o.WorkHosts == nil {
		o.WorkHosts = map[string]int{}
	}
	if o.RestartReasons == nil {
		o.RestartReasons = []string{}
	}
	return o
}
