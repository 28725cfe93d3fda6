package main

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
)

// proxy counts the requests that pass, by container and kind.
type proxy struct {
	address string

	mu      sync.Mutex
	count   map[string]map[string]int
	refused map[string]int
}

func startProxy(ctx context.Context, to string) (*proxy, error) {
	p := &proxy{}
	p.reset()
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: to})
	forward.ModifyResponse = p.answered
	forward.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) } // the end, mostly
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {                       //nolint:gosec // no stranger reaches it
		p.asked(r)
		forward.ServeHTTP(w, r)
	})}
	var err error
	p.address, err = listen(ctx, func(l net.Listener) error {
		context.AfterFunc(ctx, func() { _ = server.Close() })
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return p, err
}

// containerOf is the second part of a path: the first is the account.
func containerOf(r *http.Request) string {
	parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/"), "/", 3)
	if len(parts) < 2 {
		return ""
	}
	return parts[1]
}

func (p *proxy) asked(r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := containerOf(r)
	if p.count[c] == nil {
		p.count[c] = map[string]int{}
	}
	p.count[c][kindOf(r.Method, r.URL.Path, r.URL.RawQuery)]++
}

// answered counts what failed, except that something is not there yet or not any more what it was.
func (p *proxy) answered(r *http.Response) error {
	switch r.StatusCode {
	case http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed:
		return nil
	}
	if r.StatusCode >= http.StatusBadRequest {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.refused[containerOf(r.Request)]++
	}
	return nil
}

func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count, p.refused = map[string]map[string]int{}, map[string]int{}
}

func (p *proxy) counts(container string) (byKind map[string]int, refused int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.count[container]), p.refused[container]
}
