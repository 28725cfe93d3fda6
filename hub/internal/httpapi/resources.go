package httpapi

import (
	"net/http"

	"github.com/hubferry/hubferry/hub/internal/entity"
)

func (h *handler) listHubs(r *http.Request) (reply, error) {
	if !reads(r) {
		return reply{}, notAllowed(r)
	}
	hubs, err := page(r, h.ns.Hubs())
	if err != nil {
		return reply{}, err
	}
	f := feed{Title: text("EventHubs")}
	for _, hub := range hubs {
		f.Entries = append(f.Entries, h.hubEntry(r, hub))
	}
	return reply{status: http.StatusOK, feed: &f}, nil
}

// hub serves one hub.
func (h *handler) hub(r *http.Request, res resource) (reply, error) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		hub, err := h.ns.Hub(res.hub)
		if err != nil {
			return reply{}, err
		}
		return reply{status: http.StatusOK, entry: h.hubEntry(r, hub)}, nil
	case http.MethodPut:
		return h.putHub(r, res)
	case http.MethodDelete:
		if err := h.ns.DeleteHub(r.Context(), res.hub); err != nil {
			return reply{}, err
		}
		return reply{status: http.StatusOK}, nil
	}
	return reply{}, notAllowed(r)
}

// putHub creates a hub or, with If-Match, changes it.
func (h *handler) putHub(r *http.Request, res resource) (reply, error) {
	in, err := readInput(r)
	if err != nil {
		return reply{}, err
	}
	update := r.Header.Get("If-Match") != ""
	spec := entity.HubSpec{Name: res.hub, Retention: h.retention}
	if update {
		hub, err := h.ns.Hub(res.hub)
		if err != nil {
			return reply{}, err
		}
		spec = hub.Spec()
	}
	if err := in.Hub.apply(&spec); err != nil {
		return reply{}, err
	}
	if update {
		hub, err := h.ns.UpdateHub(r.Context(), spec)
		if err != nil {
			return reply{}, err
		}
		return reply{status: http.StatusOK, entry: h.hubEntry(r, hub)}, nil
	}
	hub, err := h.ns.CreateHub(r.Context(), spec)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusCreated, entry: h.hubEntry(r, hub)}, nil
}

func (h *handler) hubEntry(r *http.Request, hub *entity.Hub) *entry {
	e := h.entry(r, hub.Name(), hub.Name(), hub.CreatedAt(), hub.UpdatedAt())
	e.Content.Hub = describeHub(hub)
	return e
}

func (h *handler) listGroups(r *http.Request, res resource) (reply, error) {
	if !reads(r) {
		return reply{}, notAllowed(r)
	}
	hub, err := h.ns.Hub(res.hub)
	if err != nil {
		return reply{}, err
	}
	groups, err := page(r, hub.Groups())
	if err != nil {
		return reply{}, err
	}
	f := feed{Title: text("ConsumerGroups")}
	for _, g := range groups {
		f.Entries = append(f.Entries, h.groupEntry(r, hub, g))
	}
	return reply{status: http.StatusOK, feed: &f}, nil
}

// group serves one consumer group.
func (h *handler) group(r *http.Request, res resource) (reply, error) {
	hub, err := h.ns.Hub(res.hub)
	if err != nil {
		return reply{}, err
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		g, err := hub.Group(res.group)
		if err != nil {
			return reply{}, err
		}
		return reply{status: http.StatusOK, entry: h.groupEntry(r, hub, g)}, nil
	case http.MethodPut:
		in, err := readInput(r)
		if err != nil {
			return reply{}, err
		}
		if r.Header.Get("If-Match") != "" {
			return reply{}, badRequest("A consumer group cannot be changed; delete it and create it again.")
		}
		g, err := hub.CreateGroup(r.Context(), res.group, in.Group.UserMetadata)
		if err != nil {
			return reply{}, err
		}
		return reply{status: http.StatusCreated, entry: h.groupEntry(r, hub, g)}, nil
	case http.MethodDelete:
		if err := hub.DeleteGroup(r.Context(), res.group); err != nil {
			return reply{}, err
		}
		return reply{status: http.StatusOK}, nil
	}
	return reply{}, notAllowed(r)
}

func (h *handler) groupEntry(r *http.Request, hub *entity.Hub, g *entity.Group) *entry {
	e := h.entry(r, g.Name(), hub.Name()+"/consumergroups/"+g.Name(), g.CreatedAt(), g.CreatedAt())
	e.Content.Group = describeGroup(g)
	return e
}

// partitions serves one partition or all of them, as a consumer group sees
// them.
func (h *handler) partitions(r *http.Request, res resource) (reply, error) {
	if !reads(r) {
		return reply{}, notAllowed(r)
	}
	hub, err := h.ns.Hub(res.hub)
	if err != nil {
		return reply{}, err
	}
	g, err := hub.Group(res.group)
	if err != nil {
		return reply{}, err
	}
	path := hub.Name() + "/consumergroups/" + g.Name() + "/partitions/"
	one := func(p *entity.Partition) *entry {
		e := h.entry(r, p.ID(), path+p.ID(), hub.CreatedAt(), hub.CreatedAt())
		e.Content.Partition = describePartition(p)
		return e
	}
	if res.kind == onePartition {
		p, err := hub.Partition(res.partition)
		if err != nil {
			return reply{}, err
		}
		return reply{status: http.StatusOK, entry: one(p)}, nil
	}
	parts, err := page(r, hub.Partitions())
	if err != nil {
		return reply{}, err
	}
	f := feed{Title: text("Partitions")}
	for _, p := range parts {
		f.Entries = append(f.Entries, one(p))
	}
	return reply{status: http.StatusOK, feed: &f}, nil
}

func reads(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}
