package entity

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// table is the state of one partition in one group: an owner with an epoch,
// or receivers without, never both.
type table struct {
	owner *Receiver
	plain []*Receiver
}

// ReceiverOptions describe a receiver that attaches.
type ReceiverOptions struct {
	// Name is what error texts call it (com.microsoft:receiver-name); empty
	// is shown as nil.
	Name string
	// Epoch is the owner level, valid with HasEpoch.
	Epoch    int64
	HasEpoch bool
}

// Receiver is an open receiver of a group on a partition.
type Receiver struct {
	group     *Group
	partition int
	o         ReceiverOptions
	done      chan struct{}
	err       *Error
}

// Attach opens a receiver by the epoch rules. On success the receivers that
// it displaces have ended. The error is LinkStolen or ResourceLimitExceeded,
// with the service's text, EntityDisabled, or the reason why the hub or group
// has ended. The receiver must be closed.
func (g *Group) Attach(p *Partition, o ReceiverOptions) (*Receiver, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended != nil {
		return nil, g.ended
	}
	// Read under the lock: who changes the status ends receivers afterwards.
	if !g.hub.state.Load().spec.Status.receives() {
		return nil, disabled(g.hub.ns.o.Name, g.hub.name)
	}
	t := g.tables[p.index]
	if t == nil {
		t = &table{}
		g.tables[p.index] = t
	}
	r := &Receiver{group: g, partition: p.index, o: o, done: make(chan struct{})}
	if !o.HasEpoch {
		if t.owner != nil {
			return nil, nonEpochRefused(t.owner)
		}
		if len(t.plain) >= g.hub.ns.o.Limits.Receivers {
			return nil, tooManyReceivers(t.plain, g.hub.ns.o.Limits.Receivers)
		}
		t.plain = append(t.plain, r)
		return r, nil
	}
	if t.owner != nil && t.owner.o.Epoch > o.Epoch {
		return nil, lowerEpoch(t.owner, r)
	}
	if t.owner != nil {
		t.owner.end(stolen(t.owner, r))
	}
	for _, old := range t.plain {
		old.end(stolen(old, r))
	}
	t.owner, t.plain = r, nil
	return r, nil
}

// Done is closed when the receiver was displaced, or its group, hub or
// namespace ended. Err then tells what to say in the detach.
func (r *Receiver) Done() <-chan struct{} { return r.done }

// Err is nil until Done is closed.
func (r *Receiver) Err() *Error {
	r.group.mu.Lock()
	defer r.group.mu.Unlock()
	return r.err
}

// Close frees the receiver's place. It does not close Done. Closing twice, or
// after Done, is harmless.
func (r *Receiver) Close() {
	r.group.mu.Lock()
	defer r.group.mu.Unlock()
	t := r.group.tables[r.partition]
	if t == nil {
		return
	}
	if t.owner == r {
		t.owner = nil
	}
	t.plain = slices.DeleteFunc(t.plain, func(o *Receiver) bool { return o == r })
}

// end is called with the group locked.
func (r *Receiver) end(reason *Error) {
	if r.err == nil {
		r.err = reason
		close(r.done)
	}
}

func (r *Receiver) name() string { return cmp.Or(r.o.Name, "nil") }

func (r *Receiver) epoch() int64 {
	if !r.o.HasEpoch {
		return -1
	}
	return r.o.Epoch
}

func stolen(old, by *Receiver) *Error {
	return &Error{Condition: LinkStolen, Status: 410, Text: fmt.Sprintf(
		"New receiver '%s' with higher epoch of '%d' is created hence current receiver '%s' with epoch '%d' is getting disconnected. If you are recreating the receiver, make sure a higher epoch is used.",
		by.name(), by.epoch(), old.name(), old.epoch())}
}

func lowerEpoch(owner, r *Receiver) *Error {
	return &Error{Condition: LinkStolen, Status: 410, Text: fmt.Sprintf(
		"Receiver '%s' with a higher epoch '%d' already exists. Receiver '%s' with epoch %d cannot be created. Make sure you are creating receiver with increasing epoch value to ensure connectivity, or ensure all old epoch receivers are closed or disconnected.",
		owner.name(), owner.epoch(), r.name(), r.epoch())}
}

func nonEpochRefused(owner *Receiver) *Error {
	return &Error{Condition: LinkStolen, Status: 410, Text: fmt.Sprintf(
		"At least one receiver for the endpoint is created with epoch of '%d', and so non-epoch receiver is not allowed. Either reconnect with a higher epoch, or make sure all epoch receivers are closed or disconnected.",
		owner.epoch())}
}

func tooManyReceivers(open []*Receiver, limit int) *Error {
	names := make([]string, len(open))
	for i, r := range open {
		names[i] = r.name()
	}
	return &Error{Condition: ResourceLimitExceeded, Status: 403, Text: fmt.Sprintf(
		"Exceeded the maximum number of allowed receivers per partition in a consumer group which is %d. List of connected receivers - %s.",
		limit, strings.Join(names, ", "))}
}
