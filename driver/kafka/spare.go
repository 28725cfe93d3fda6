package kafka

import (
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
)

// spare is memory of a source that is used again: under load a million records a second pass,
// and the garbage collector would have to look at all that they come in.
type spare struct {
	lots    sync.Pool // of *lot
	parcels sync.Pool // of *parcel
}

// leastParcel is from which size on the bytes of records are used again.
const leastParcel = 32 << 10

// parcel holds the bytes of the records that one partition got by one answer. Its users are
// the queue of a reader and the lots that were taken from there; the last one gives it back.
type parcel struct {
	bytes []byte
	users atomic.Int32
}

// parcel returns one with room for so many bytes, and one user. What it has room for is not
// much more than asked for, because that is what is counted (INV-6).
func (s *spare) parcel(n int) *parcel {
	if n >= leastParcel {
		if p, ok := s.parcels.Get().(*parcel); ok && cap(p.bytes) >= n && cap(p.bytes)/2 <= n {
			p.bytes = p.bytes[:0]
			p.users.Store(1)
			return p
		}
	}
	p := &parcel{bytes: make([]byte, 0, n)}
	p.users.Store(1)
	return p
}

// leave notes that a user is done with a parcel.
func (s *spare) leave(p *parcel) {
	if p.users.Add(-1) == 0 && cap(p.bytes) >= leastParcel {
		s.parcels.Put(p)
	}
}

// portion is a number of records in the queue of a reader, and where their bytes are. Parcel
// is nil if these are in the memory of the client.
type portion struct {
	parcel *parcel
	left   int
}

// lot is what the events of one Read live in.
type lot struct {
	spare   *spare
	events  []hubferry.Event
	forms   []form
	parcels []*parcel
	give    func() // free; bound once
}

// lot returns an empty one.
func (s *spare) lot() *lot {
	if l, ok := s.lots.Get().(*lot); ok {
		return l
	}
	l := &lot{spare: s}
	l.give = l.free
	return l
}

// room makes room for so many events.
func (l *lot) room(n int) {
	if cap(l.forms) < n || cap(l.events) < n {
		l.events, l.forms = make([]hubferry.Event, 0, n), make([]form, n)
	}
	l.forms = l.forms[:n]
}

// free gives back what nobody looks at any more.
func (l *lot) free() {
	clear(l.events)
	clear(l.forms)
	for _, p := range l.parcels {
		l.spare.leave(p)
	}
	clear(l.parcels)
	l.events, l.forms, l.parcels = l.events[:0], l.forms[:0], l.parcels[:0]
	l.spare.lots.Put(l)
}

// recordPool keeps the records of batches that have become events.
type recordPool struct{ pool sync.Pool }

var _ kgo.PoolRecords = (*recordPool)(nil)

// GetRecords implements kgo.PoolRecords.
func (r *recordPool) GetRecords(n int) []kgo.Record {
	if kept, ok := r.pool.Get().(*[]kgo.Record); ok && cap(*kept) >= n && cap(*kept)/4 <= n {
		return (*kept)[:0]
	}
	return make([]kgo.Record, 0, n)
}

// PutRecords implements kgo.PoolRecords.
func (r *recordPool) PutRecords(records []kgo.Record) { r.pool.Put(&records) }
