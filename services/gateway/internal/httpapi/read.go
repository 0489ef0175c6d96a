package httpapi

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gorilla/mux"

	"github.com/sandbar-io/sandbar/pkg/obs"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
)

// maxBatch is ten times what clients ask for at once.
const maxBatch = 1000

// HeaderViewAge tells the age in milliseconds of a list that could not be
// confirmed.
const HeaderViewAge = "Sandbar-View-Age"

func (a *api) session(c *call) (any, error) {
	id, err := pathID(c)
	if err != nil {
		return nil, err
	}
	c.fields = append(c.fields, obs.SessionID(id))
	look := func() *views.Seen { return a.Views.Memory().Session(c.key.Tenant, id) }
	// A session that was stopped may just have been started again by another
	// gateway: that it is stopped is no more certain than that it is not there.
	if stopped(look()) {
		if err := a.Views.ReadIndex(c.r.Context()); err != nil {
			return nil, err
		}
	}
	v, err := a.exact(c.r.Context(), look)
	if err != nil {
		return nil, err
	}
	a.claim(v)
	return seen{v}, nil
}

// claim says that the sandbox's client knows of it. A list says nothing: it is
// also how others count.
func (a *api) claim(v *views.Seen) {
	if v != nil && active(v.View) {
		a.Claims.Claim(v.View)
	}
}

func stopped(v *views.Seen) bool { return v != nil && v.Status == sandbox.StatusStopped }

func (a *api) runtime(c *call) (any, error) {
	id, err := pathID(c)
	if err != nil {
		return nil, err
	}
	v, err := a.byRuntime(c, id)
	if err != nil {
		return nil, err
	}
	a.claim(v)
	return seen{v}, nil
}

// byRuntime is the view of the caller's sandbox of this runtime id; another
// tenant's is not there.
func (a *api) byRuntime(c *call, id string) (*views.Seen, error) {
	return a.exact(c.r.Context(), func() *views.Seen {
		v := a.Views.Memory().Runtime(id)
		if v == nil || v.Tenant != c.key.Tenant {
			return nil
		}
		return v
	})
}

// exact looks into memory, and again after a read index if nothing is there:
// only then is it certain.
func (a *api) exact(ctx context.Context, look func() *views.Seen) (*views.Seen, error) {
	v := look()
	if v == nil {
		if err := a.Views.ReadIndex(ctx); err != nil {
			return nil, err
		}
		if v = look(); v == nil {
			return nil, sandbox.Errorf(sandbox.CodeNotFound, "there is no such sandbox")
		}
	}
	return v, nil
}

// sessionsBatch answers by position, null for what is not there.
func (a *api) sessionsBatch(c *call) (any, error) {
	query, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "the query is malformed")
	}
	ids := splitIDs(query["ids"])
	if len(ids) > maxBatch {
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "ids: %d were asked for, at most %d are answered", len(ids), maxBatch)
	}
	out, certain := a.sessions(c.key.Tenant, ids)
	if !certain {
		if err := a.Views.ReadIndex(c.r.Context()); err != nil {
			return nil, err
		}
		out, _ = a.sessions(c.key.Tenant, ids)
	}
	return out, nil
}

// sessions looks ids up; certain is false if one is not there or stopped.
func (a *api) sessions(tenant string, ids []string) (out batch, certain bool) {
	out, certain = a.Views.Memory().Sessions(tenant, ids), true
	for _, v := range out {
		a.claim(v)
		certain = certain && v != nil && !stopped(v)
	}
	return out, certain
}

// splitIDs takes ids that are repeated, joined by commas, or both.
func splitIDs(values []string) []string {
	var ids []string
	for _, value := range values {
		ids = slices.Grow(ids, min(maxBatch, strings.Count(value, ","))+1)
		for id := range strings.SplitSeq(value, ",") {
			if id != "" {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// tenantList shows what runs or is about to: a client counts every element as
// running.
func (a *api) tenantList(c *call) (any, error) {
	if err := a.Views.ReadIndex(c.r.Context()); err != nil {
		s := a.Views.Status()
		if !s.Ready {
			return nil, err
		}
		c.header.Set(HeaderViewAge, strconv.FormatInt(s.Age.Milliseconds(), 10))
	}
	all, _ := strconv.ParseBool(c.r.URL.Query().Get("show_all"))
	return list(a.Views.Memory().Shelves(c.key.Tenant), all), nil
}

// pathID is the path's last segment, which travels escaped.
func pathID(c *call) (string, error) {
	id, err := url.PathUnescape(mux.Vars(c.r)["id"])
	if err != nil {
		return "", sandbox.Errorf(sandbox.CodeInvalid, "the path is malformed")
	}
	return id, nil
}
