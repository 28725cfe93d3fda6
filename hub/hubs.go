package hub

import (
	"context"
	"fmt"
	"time"
)

// HubInfo says what a hub is.
type HubInfo struct {
	Name string
	// ID is another one each time a hub is created, also under the same name.
	ID         string
	Partitions int
	CreatedAt  time.Time
}

// Hubs lists the hubs of a namespace, by name.
func (s *Server) Hubs(namespace string) ([]HubInfo, error) {
	n := s.byID[namespace]
	if n == nil {
		return nil, fmt.Errorf("%w %q", ErrUnknownNamespace, namespace)
	}
	var all []HubInfo
	for _, h := range n.entity.Hubs() {
		all = append(all, HubInfo{Name: h.Name(), ID: h.ID(), Partitions: h.PartitionCount(), CreatedAt: h.CreatedAt()})
	}
	return all, nil
}

// CreateHub creates a hub while the server runs. It is stored when CreateHub
// returns. A hub that is there already is an error.
func (s *Server) CreateHub(ctx context.Context, namespace string, o HubOptions) error {
	n := s.byID[namespace]
	if n == nil {
		return fmt.Errorf("%w %q", ErrUnknownNamespace, namespace)
	}
	if _, err := n.entity.CreateHub(ctx, o.spec(&s.o)); err != nil {
		return fmt.Errorf("create hub %q: %w", o.Name, err)
	}
	return nil
}

// UpdateHub brings a hub to what is said here while the server runs: its retention, and its
// rules unless they are nil, become those given; groups and partitions that are missing are
// added. Fewer partitions than there are is an error. A connection keeps what a token has
// given it until the token ends, also when the key that signed it is none any more.
func (s *Server) UpdateHub(ctx context.Context, namespace string, o HubOptions) error {
	n := s.byID[namespace]
	if n == nil {
		return fmt.Errorf("%w %q", ErrUnknownNamespace, namespace)
	}
	if _, err := n.entity.Hub(o.Name); err != nil {
		return fmt.Errorf("update hub %q: %w", o.Name, err)
	}
	if _, err := n.entity.EnsureHub(ctx, o.spec(&s.o)); err != nil {
		return fmt.Errorf("update hub %q: %w", o.Name, err)
	}
	return nil
}

// DeleteHub deletes a hub with its events, and detaches those who use it.
func (s *Server) DeleteHub(ctx context.Context, namespace, name string) error {
	n := s.byID[namespace]
	if n == nil {
		return fmt.Errorf("%w %q", ErrUnknownNamespace, namespace)
	}
	if err := n.entity.DeleteHub(ctx, name); err != nil {
		return fmt.Errorf("delete hub %q: %w", name, err)
	}
	return nil
}
