package engine

import (
	"cmp"
	"crypto/sha256"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubferry/hubferry"
)

// passage is the way of a worker's events into one target partition: what is known to be
// there, and where to look for the rest.
type passage struct {
	worker *worker
	lane   *lane
	parked bool // some of its events wait in the screen; only the lane's goroutine uses it
	// since is the enqueued time of the first event that came, or under exact of the first that
	// the worker has read, for when there is no checkpoint to tell of which incarnation of the
	// source an event on the target is. It never changes.
	since time.Time

	mu    sync.Mutex
	sweep *sweep // what must be known before anything is sent; nil: all is known
	// begun is the highest source sequence number whose send has begun, by us or by those
	// before us as far as we have seen.
	begun    int64
	readings []reading // in order
	// notBefore is when what was sent earlier has arrived or never will (G-9).
	notBefore time.Time
	counted   int64 // duplicates are counted behind it
	doubt     int64 // up to here it is not certain that what is sent is not there yet
	search    *search
}

// reading is an end of the target partition, and the highest source sequence number whose
// send had begun when it was read.
type reading struct {
	position hubferry.Position
	high     int64
}

// maxReadings bounds what a passage keeps while its checkpoint stands still.
const maxReadings = 32

// point is an output of one source partition, in the order in which they are sent.
type point struct {
	sequence int64
	part     int
}

func (p point) compare(o point) int {
	return cmp.Or(cmp.Compare(p.sequence, o.sequence), cmp.Compare(p.part, o.part))
}

func pointOf(e *hubferry.Event) point {
	p := point{sequence: e.Pos.Sequence}
	if l := e.Lineage(); l != nil {
		p.part = l.Part
	}
	return p
}

// sweep is what must be found out for a worker before it sends: by prefix, about one target
// partition; by identity, about all of a route, because an event may be in another one than
// where it would go now.
type sweep struct {
	exact bool
	left  atomic.Int32 // partitions that are still to be read

	mu sync.Mutex
	found
}

// found is what the target holds of one source partition.
type found struct {
	any bool
	top point // the newest output; one lane sends in order, so all before it are there (G-5)
	// Under exact, the outputs themselves, and the newest of each key. Both are bounded by
	// the window of whoever sent them.
	outputs map[point]bool
	keys    map[keySum]int64
}

// keySum stands for a key.
type keySum [16]byte

func sumOf(k hubferry.Key) keySum {
	h := sha256.Sum256(append([]byte{byte(k.Kind)}, k.Bytes...))
	return keySum(h[:16])
}

// add notes an output on the target, and reports whether it had been seen before. Floor is
// the checkpoint: what lies at or below it is of no interest.
func (f *found) add(p point, k hubferry.Key, floor int64, exact bool) (twice bool) {
	twice = f.any && p.compare(f.top) <= 0
	if exact && p.sequence > floor {
		if f.outputs == nil {
			f.outputs, f.keys = map[point]bool{}, map[keySum]int64{}
		}
		twice = f.outputs[p]
		f.outputs[p] = true
		if k.Kind != hubferry.NoKey {
			s := sumOf(k)
			f.keys[s] = max(f.keys[s], p.sequence)
		}
	}
	if !f.any || p.compare(f.top) > 0 {
		f.any, f.top = true, p
	}
	return twice
}

// newest returns the sequence number of the newest output, or -1.
func (f *found) newest() int64 {
	if !f.any {
		return -1
	}
	return f.top.sequence
}

// merge adds what was found elsewhere.
func (f *found) merge(o *found) {
	if o.any && (!f.any || o.top.compare(f.top) > 0) {
		f.any, f.top = true, o.top
	}
	if o.outputs == nil {
		return
	}
	if f.outputs == nil {
		f.outputs, f.keys = map[point]bool{}, map[keySum]int64{}
	}
	for p := range o.outputs {
		f.outputs[p] = true
	}
	for k, s := range o.keys {
		f.keys[k] = max(f.keys[k], s)
	}
}

// ruling says what becomes of an output.
type ruling uint8

const (
	toSend     ruling = iota
	toWait            // for a search
	isThere           // at the target
	superseded        // it is not there, but a later event of its key is
)

// waits reports whether nothing can be said yet.
func (p *passage) waits() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.known()
}

// rule says what becomes of an output. Outputs are asked for in their order.
func (p *passage) rule(e *hubferry.Event) ruling {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sweep
	switch {
	case e.Pos.Sequence <= p.worker.proofs.high:
		return isThere // the checkpoint confirms it
	case s == nil:
		return toSend
	case s.left.Load() > 0:
		return toWait
	case !s.any:
		return toSend
	}
	at := pointOf(e)
	if !s.exact {
		if at.compare(s.top) <= 0 {
			return isThere
		}
		p.sweep = nil // those that follow lie behind it, too
		return toSend
	}
	switch {
	case s.outputs[at]:
		return isThere
	case p.lane.route == p.worker.deadRoute: // dead letters have no order
		return toSend
	case e.Key.Kind != hubferry.NoKey && s.keys[sumOf(e.Key)] > at.sequence:
		return superseded
	default:
		return toSend
	}
}

// known reports whether nothing has to be searched.
func (p *passage) known() bool { return p.sweep == nil || p.sweep.left.Load() == 0 }

// begin notes that an output is about to be sent.
func (p *passage) begin(sequence int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun = max(p.begun, sequence)
}

// note adds a reading of the partition's end that was taken before now. While it is not
// known what others have sent it would be too high.
func (p *passage) note(end hubferry.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known() {
		p.push(end)
	}
}

// push is note when p.mu is held and all is known.
func (p *passage) push(end hubferry.Position) {
	n := len(p.readings)
	switch {
	case n > 0 && p.readings[n-1].high == p.begun:
		if end.Sequence > p.readings[n-1].position.Sequence {
			p.readings[n-1].position = end
		}
		return
	case n == maxReadings:
		// Every other one will do: too few cost time only.
		kept := p.readings[:0]
		for i := 0; i < n; i += 2 {
			kept = append(kept, p.readings[i])
		}
		p.readings = kept
	}
	p.readings = append(p.readings, reading{end, p.begun})
}

// mark returns the watermark for a checkpoint: the newest reading before which nothing
// beyond the checkpoint had been sent.
func (p *passage) mark(checkpoint int64) (hubferry.Position, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range slices.Backward(p.readings) {
		if r.high <= checkpoint {
			return r.position, true
		}
	}
	return beginning, false
}

// prune forgets the readings that no checkpoint needs any more.
func (p *passage) prune(checkpoint int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.readings) > 1 && p.readings[1].high <= checkpoint {
		p.readings = p.readings[1:]
	}
}

// renew takes over how long to wait from the worker before: what it had under way when this
// passage was made has ended since.
func (p *passage) renew() {
	p.worker.passing.Lock()
	old := p.worker.inherited[p.lane]
	p.worker.passing.Unlock()
	if old == nil {
		return
	}
	old.mu.Lock()
	until := old.notBefore
	old.mu.Unlock()
	p.hold(until)
}

// hold notes that what was sent may arrive until a moment.
func (p *passage) hold(until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until.After(p.notBefore) {
		p.notBefore = until
	}
}
