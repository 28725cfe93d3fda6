package hub

import (
	"errors"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hubferry/hubferry/hub/internal/node"
	"github.com/hubferry/hubferry/hub/internal/seglog"
	"github.com/hubferry/hubferry/internal/amqp"
)

// Conditions that are useful in a Fault.
const (
	// ServerBusy is how the service throttles.
	ServerBusy = string(amqp.ErrServerBusy)
	// Timeout is an operation that took too long within the service.
	Timeout = string(amqp.ErrTimeout)
	// InternalError is a failure of the service.
	InternalError = string(amqp.ErrInternalError)
	// DetachForced is the service moving a link elsewhere.
	DetachForced = string(amqp.ErrDetachForced)
)

// Place says where a fault applies. An empty field stands for all.
type Place struct {
	Namespace, Hub, Partition string
}

func (p Place) covers(o Place) bool {
	return covers(p.Namespace, o.Namespace) && covers(p.Hub, o.Hub) && covers(p.Partition, o.Partition)
}

func covers(want, name string) bool { return want == "" || strings.EqualFold(want, name) }

// A FaultKind says what a Fault does to a send.
type FaultKind uint8

// The kinds of faults.
const (
	// FaultDelay stores the batch and answers after Fault.After.
	FaultDelay FaultKind = iota + 1
	// FaultRefuse does not store the batch and rejects it with Fault.Condition.
	FaultRefuse
	// FaultCutBefore cuts the connection before the batch is stored: it is
	// lost, and the sender cannot know.
	FaultCutBefore
	// FaultCutAfter stores the batch and cuts the connection instead of
	// answering: it is there, and the sender cannot know.
	FaultCutAfter
	// FaultCutStoreLate cuts the connection at once and stores the batch after
	// Fault.After, when the sender may long have sent it again.
	FaultCutStoreLate
	// FaultNoAnswer stores the batch and never answers; the connection stays.
	FaultNoAnswer
	// FaultDetachBefore detaches the link with Fault.Condition and does not
	// store the batch.
	FaultDetachBefore
	// FaultDetachAfter stores the batch and detaches the link with
	// Fault.Condition instead of answering.
	FaultDetachAfter
)

// Fault is something that goes wrong with sends.
type Fault struct {
	Place Place
	Kind  FaultKind
	// Condition and Text are the error of FaultRefuse and FaultDetach. Empty is
	// ServerBusy for the first and DetachForced for the others.
	Condition, Text string
	// After is the time of FaultDelay and FaultCutStoreLate.
	After time.Duration
	// Skip is the number of deliveries that pass before the fault begins.
	Skip int
	// Times is the number of deliveries that it hits; zero is all until it is
	// removed.
	Times int
}

// Faults makes a server misbehave on purpose, for tests of clients and of what
// stands on them. It is put into Options and may be changed at any time and
// from anywhere. The zero value does nothing yet. One Faults serves one server.
type Faults struct {
	mu     sync.Mutex
	active []*activeFault
	hits   int
	disk   Disk
	nodes  map[string]*node.Node
}

// Disk is how the disk behind Options.Dir fails.
type Disk struct {
	// Full makes it take nothing more: sends are refused until it has room again.
	Full bool
	// Delay is what each write and each sync takes longer.
	Delay time.Duration
}

type activeFault struct {
	Fault
	seen, hit int
}

// Add begins a fault and returns a function that ends it. When several apply
// to a delivery, the one that was added first does.
func (f *Faults) Add(fault Fault) (remove func()) {
	a := &activeFault{Fault: fault}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active = append(f.active, a)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.drop(a)
	}
}

// Clear ends all faults.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active = nil
}

// SetDisk changes how the disk fails from now on, for all hubs of the server. The zero Disk
// heals it. Storage accounts are not hit.
func (f *Faults) SetDisk(d Disk) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.disk = d
}

// openFile opens a file whose writes fail as SetDisk says.
func (f *Faults) openFile(name string, flag int, perm os.FileMode) (seglog.File, error) {
	file, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &diskFile{file, f}, nil
}

// diskFile is a file on a disk that can fail.
type diskFile struct {
	*os.File
	faults *Faults
}

// WriteAt implements seglog.File. A full disk may take a part.
func (d *diskFile) WriteAt(b []byte, at int64) (int, error) {
	if !d.faults.slow() {
		return d.File.WriteAt(b, at)
	}
	n, err := d.File.WriteAt(b[:len(b)/2], at)
	if err != nil {
		return n, err
	}
	return n, &os.PathError{Op: "write", Path: d.Name(), Err: errFull}
}

// Sync implements seglog.File.
func (d *diskFile) Sync() error {
	d.faults.slow()
	return d.File.Sync()
}

var errFull = errors.New("no space left on device, as was asked for")

// slow waits as the disk does, and reports whether it is full.
func (f *Faults) slow() (full bool) {
	f.mu.Lock()
	d := f.disk
	if d != (Disk{}) {
		f.hits++
	}
	f.mu.Unlock()
	if d.Delay > 0 {
		t := time.NewTimer(d.Delay)
		defer t.Stop()
		<-t.C
	}
	return d.Full
}

// Hits returns how often faults have hit a delivery, or a use of the disk, so far.
func (f *Faults) Hits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits
}

// drop is called with mu held.
func (f *Faults) drop(a *activeFault) {
	for i := range f.active {
		if f.active[i] == a {
			f.active = append(f.active[:i:i], f.active[i+1:]...)
			return
		}
	}
}

// Cut cuts all connections to a namespace (empty: to all) and returns how many
// there were.
func (f *Faults) Cut(namespace string) (count int) {
	for _, n := range f.at(namespace) {
		count += n.CutAll()
	}
	return count
}

// Detach detaches the links on which clients send to or receive from a place,
// and returns how many. An empty condition is DetachForced.
func (f *Faults) Detach(place Place, condition, text string) (count int) {
	for _, n := range f.at(place.Namespace) {
		count += n.DetachAll(place.Hub, place.Partition, faultError(condition, DetachForced, text))
	}
	return count
}

func (f *Faults) at(namespace string) (nodes []*node.Node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, n := range f.nodes {
		if covers(namespace, name) {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// attach makes a node known, for Cut and Detach.
func (f *Faults) attach(namespace string, n *node.Node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.nodes == nil {
		f.nodes = map[string]*node.Node{}
	}
	f.nodes[namespace] = n
}

// namespace returns what the node of a namespace asks.
func (f *Faults) namespace(name string) node.Injector { return injector{f, name} }

type injector struct {
	f         *Faults
	namespace string
}

// Send implements node.Injector.
func (i injector) Send(hub, partition string) node.Verdict {
	f := i.f
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.active {
		if !a.Place.covers(Place{i.namespace, hub, partition}) {
			continue
		}
		if a.seen++; a.seen <= a.Skip {
			continue
		}
		a.hit++
		f.hits++
		if a.Times > 0 && a.hit >= a.Times {
			f.drop(a)
		}
		return a.verdict()
	}
	return node.Verdict{}
}

func (a *activeFault) verdict() node.Verdict {
	switch a.Kind {
	case FaultDelay:
		return node.Verdict{AnswerAfter: a.After}
	case FaultRefuse:
		return node.Verdict{Refuse: faultError(a.Condition, ServerBusy, a.Text)}
	case FaultCutBefore:
		return node.Verdict{Drop: true, Cut: true}
	case FaultCutAfter:
		return node.Verdict{Cut: true}
	case FaultCutStoreLate:
		return node.Verdict{StoreAfter: a.After, Cut: true}
	case FaultNoAnswer:
		return node.Verdict{Silent: true}
	case FaultDetachBefore:
		return node.Verdict{Drop: true, Detach: faultError(a.Condition, DetachForced, a.Text)}
	case FaultDetachAfter:
		return node.Verdict{Detach: faultError(a.Condition, DetachForced, a.Text)}
	}
	return node.Verdict{}
}

func faultError(condition, def, text string) *amqp.Error {
	if condition == "" {
		condition = def
	}
	if text == "" {
		text = "A fault that was asked for."
	}
	return &amqp.Error{Condition: amqp.Symbol(condition), Description: text}
}
