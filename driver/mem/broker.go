package mem

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
)

// Broker holds namespaces, each with its hubs. Its methods may be called by several
// goroutines at once.
type Broker struct {
	mu     sync.Mutex
	hubs   map[string]*Hub   // by namespace and name
	keys   map[string]string // the key that a namespace asks for
	number int               // of the hubs made so far, for incarnations
}

// NewBroker returns an empty broker.
func NewBroker() *Broker {
	return &Broker{hubs: map[string]*Hub{}, keys: map[string]string{}}
}

// HubKind is a sort of entity.
type HubKind uint8

// The kinds of a hub.
const (
	Log   HubKind = iota // partitions that keep their events: an event hub, a topic
	Queue                // events that are settled one by one; its Reader is a Settler
	Table                // rows and positions in one transaction; its Writer is a Committer
)

// HubOptions says what a hub is like. Zero values mean the documented defaults.
type HubOptions struct {
	Kind       HubKind
	Partitions int // default 1; a Queue or Table has one
	// MaxEvent bounds the size of one event in bytes. Default 1 MiB.
	MaxEvent int
	// Sparse says that the hub is compacted, so that holes in the numbers are normal.
	Sparse bool
	// Encoded makes readers deliver events as a *Form.
	Encoded bool
	// Pipeline lets a Writer have that many runs of one partition in flight: it is then
	// a Submitter. 0 means no.
	Pipeline int
	// Transactions makes the Writer of a Log a Committer, as Kafka's are.
	Transactions bool
	// NoTail makes a Writer that is no Tailer.
	NoTail bool
	// Late is what writers say in Layout.Late. Nothing is stored late by itself: see
	// Fault.Late.
	Late time.Duration
	// Lock is how long an event of a Queue stays locked after its reader is gone.
	// Default 30 s.
	Lock time.Duration
}

func (o HubOptions) withDefaults() HubOptions {
	if o.Partitions < 1 || o.Kind != Log {
		o.Partitions = 1
	}
	if o.MaxEvent == 0 {
		o.MaxEvent = 1 << 20
	}
	if o.Lock == 0 {
		o.Lock = 30 * time.Second
	}
	return o
}

// Create makes a hub. One of that name that is there already is deleted first, and the
// new one has another incarnation.
func (b *Broker) Create(namespace, name string, o HubOptions) *Hub {
	namespace, name = canonical(namespace), canonical(name)
	b.Delete(namespace, name)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.number++
	h := &Hub{
		namespace: namespace, name: name, incarnation: fmt.Sprintf("mem-%d", b.number),
		options: o.withDefaults(),
		gone:    make(chan struct{}), cut: make(chan struct{}),
		checkpoints: map[hubferry.ID]adopted{},
	}
	h.grow(h.options.Partitions)
	b.hubs[namespace+"/"+name] = h
	return h
}

// Delete removes a hub, if it is there. Its readers and writers end with an error of
// kind NotFound.
func (b *Broker) Delete(namespace, name string) {
	b.mu.Lock()
	key := canonical(namespace) + "/" + canonical(name)
	h := b.hubs[key]
	delete(b.hubs, key)
	b.mu.Unlock()
	if h != nil {
		h.end()
	}
}

// Protect makes a namespace ask for a key, which ConnectionOptions.Key must name.
func (b *Broker) Protect(namespace, key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keys[canonical(namespace)] = key
}

// Hub returns a hub, or nil if there is none of that name.
func (b *Broker) Hub(namespace, name string) *Hub {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hubs[canonical(namespace)+"/"+canonical(name)]
}

// Cut breaks every connection to a namespace: readers end, and writes that wait end
// with an error that is Unsure.
func (b *Broker) Cut(namespace string) {
	b.mu.Lock()
	var hubs []*Hub
	for _, h := range b.hubs {
		if h.namespace == canonical(namespace) {
			hubs = append(hubs, h)
		}
	}
	b.mu.Unlock()
	for _, h := range hubs {
		h.Cut(AllPartitions)
	}
}

// access is a way to one namespace of a broker, as a connection has it.
type access struct {
	broker    *Broker
	namespace string
	key       string
}

// hub returns a hub of the namespace, or the error that a service would give.
func (a access) hub(op, name string) (*Hub, error) {
	a.broker.mu.Lock()
	defer a.broker.mu.Unlock()
	if a.broker.keys[a.namespace] != a.key {
		return nil, &hubferry.Error{Kind: hubferry.Unauthorized, Op: op + " " + a.namespace + "/" + name, Hint: "set the connection's key"}
	}
	h := a.broker.hubs[a.namespace+"/"+name]
	if h == nil {
		return nil, &hubferry.Error{Kind: hubferry.NotFound, Op: op + " " + a.namespace + "/" + name, Hint: "create the hub"}
	}
	return h, nil
}

func canonical(name string) string { return strings.ToLower(name) }

func partitionID(index int) string { return strconv.Itoa(index) }
