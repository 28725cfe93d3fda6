package httpapi

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/hubferry/hubferry/hub/internal/entity"
)

// maxBody bounds a description that is sent to us.
const maxBody = 1 << 20

// maxTop is the largest page of a list.
const maxTop = 1000

// Options configure a handler.
type Options struct {
	// Namespace is what is managed; required.
	Namespace *entity.Namespace
	// Retention is that of hubs whose description says nothing about it.
	Retention entity.Retention
	// Log receives what was changed, and by which rule; nil discards.
	Log *slog.Logger
}

// handler serves one namespace.
type handler struct {
	ns        *entity.Namespace
	retention entity.Retention
	log       *slog.Logger
}

// New returns the handler of a namespace. It may be mounted on any path-less
// root: it looks at the whole path.
func New(o Options) http.Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &handler{ns: o.Namespace, retention: o.Retention, log: o.Log}
}

// resource is what a path names.
type resource struct {
	kind      kind
	hub       string
	group     string
	partition string
}

type kind uint8

const (
	hubList kind = iota
	oneHub
	groupList
	oneGroup
	partitionList
	onePartition
	messages
	nothing
)

// parse reads a path. Hub names may hold slashes, so the key words are looked
// for from the right.
func parse(path string) resource {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	n := len(parts)
	word := func(fromEnd int, w string) bool { return n > fromEnd && strings.EqualFold(parts[n-fromEnd], w) }
	hub := func(fromEnd int) string { return strings.Join(parts[:n-fromEnd], "/") }
	switch {
	case parts[0] == "":
		return resource{kind: nothing}
	case strings.HasPrefix(parts[0], "$"):
		if n == 2 && strings.EqualFold(parts[0], "$Resources") && strings.EqualFold(parts[1], "EventHubs") {
			return resource{kind: hubList}
		}
		return resource{kind: nothing}
	case word(4, "consumergroups") && word(2, "partitions"):
		return resource{onePartition, hub(4), parts[n-3], parts[n-1]}
	case word(3, "consumergroups") && word(1, "partitions"):
		return resource{partitionList, hub(3), parts[n-2], ""}
	case word(2, "consumergroups"):
		return resource{oneGroup, hub(2), parts[n-1], ""}
	case word(1, "consumergroups"):
		return resource{groupList, hub(1), "", ""}
	case word(1, "messages"):
		return resource{kind: messages, hub: hub(1)}
	}
	return resource{kind: oneHub, hub: hub(0)}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/health" {
		h.health(w, r)
		return
	}
	res := parse(r.URL.Path)
	if res.kind == nothing {
		fail(w, &entity.Error{Status: http.StatusNotFound, Text: "The requested address does not exist."})
		return
	}
	claim, err := h.authorize(r)
	if err != nil {
		fail(w, err)
		return
	}
	reply, err := h.serve(r, res)
	if err != nil {
		fail(w, err)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.log.Info("changed over HTTP", "method", r.Method, "path", r.URL.Path, "rule", claim.Rule)
	}
	reply.write(w, r)
}

// health answers as the emulator's port 5300 does.
func (h *handler) health(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		fail(w, notAllowed(r))
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	status, body := http.StatusOK, `{"status":"healthy","message":"Service is healthy."}`
	if h.ns.Closed() {
		status, body = http.StatusServiceUnavailable, `{"status":"unhealthy","message":"Service not available. Please try after some time."}`
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// authorize checks the token for the path of the request.
func (h *handler) authorize(r *http.Request) (entity.Claim, error) {
	token := r.Header.Get("Authorization")
	if token == "" {
		return entity.Claim{}, &entity.Error{Status: http.StatusUnauthorized, Text: "MissingToken: The authorization header was not found."}
	}
	if bearer, ok := strings.CutPrefix(token, "Bearer "); ok {
		token = bearer
	}
	path := strings.ToLower(strings.Trim(r.URL.Path, "/"))
	if strings.HasPrefix(path, "$") {
		path = "" // a list concerns the namespace
	}
	claim, err := h.ns.Verify(token, path)
	switch e := entity.AsError(err); {
	case err != nil && e.Status == http.StatusBadRequest:
		return claim, &entity.Error{Status: http.StatusUnauthorized, Text: e.Text}
	case err != nil:
		return claim, err
	case !claim.Rights.Has(entity.Manage):
		return claim, &entity.Error{Status: http.StatusUnauthorized, Text: "Manage claims required for this operation."}
	}
	return claim, nil
}

func (h *handler) serve(r *http.Request, res resource) (reply, error) {
	switch res.kind {
	case hubList:
		return h.listHubs(r)
	case oneHub:
		return h.hub(r, res)
	case groupList:
		return h.listGroups(r, res)
	case oneGroup:
		return h.group(r, res)
	case partitionList, onePartition:
		return h.partitions(r, res)
	default:
		return reply{}, &entity.Error{Status: http.StatusNotImplemented, Text: "This server does not take events over HTTPS; send them over AMQP."}
	}
}

// page cuts a list to $skip and $top.
func page[T any](r *http.Request, all []T) ([]T, error) {
	q := r.URL.Query()
	skip, top := 0, maxTop
	for name, v := range map[string]*int{"$skip": &skip, "$top": &top} {
		if text := q.Get(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 {
				return nil, badRequest("%s: %q is not a number", name, text)
			}
			*v = n
		}
	}
	all = all[min(skip, len(all)):]
	return all[:min(top, maxTop, len(all))], nil
}

func badRequest(format string, args ...any) *entity.Error {
	return &entity.Error{Status: http.StatusBadRequest, Text: fmt.Sprintf(format, args...)}
}

func notAllowed(r *http.Request) *entity.Error {
	return &entity.Error{Status: http.StatusMethodNotAllowed, Text: "The method " + r.Method + " is not allowed here."}
}
