package checkpoint

import (
	"context"
	"maps"
	"time"

	"github.com/hubferry/hubferry"
)

// rounds is the goroutine that balances. What only it uses is here, without a lock.
type rounds struct {
	b     *Balancer
	judge *judge

	places  map[string]*hubferry.Place
	fresh   time.Time // when places was read
	checked bool      // the group was found to be ours (G-10)

	last    map[string]string // who owned what in the last round
	changed time.Time         // when that changed last
	idle    time.Time         // since when something is free that nobody takes
	warned  map[string]bool   // owners that were reported
	left    []string          // partitions whose record has our name for nothing
	unread  bool              // checkpoints could not be read, so it is no use to claim more
}

func newRounds(b *Balancer) *rounds {
	return &rounds{b: b, judge: newJudge(b.o.Expiry), warned: map[string]bool{}}
}

// run balances until the context ends. While partitions move it does so four times per
// interval, otherwise once; after a failure it backs off.
func (r *rounds) run(ctx context.Context) {
	b := r.b
	failures := 0
	for {
		settled, err := r.round(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			b.fail(err)
			if failures++; failures == 1 {
				b.o.Log.Warn("partitions could not be balanced, trying again", "group", b.o.Group.String(), "error", err)
			}
			if hubferry.KindOf(err) == hubferry.Fatal && !r.checked {
				b.refuse(err)
				return
			}
			if !pause(ctx, b.jitter(min(b.o.Interval, b.o.Interval/20<<min(failures, 8))), nil) {
				return
			}
			continue
		}
		if failures > 0 {
			b.o.Log.Info("partitions are balanced again", "group", b.o.Group.String(), "attempts", failures+1)
		}
		failures = 0
		b.well()
		next := b.calm()
		if !settled && time.Since(r.changed) < 3*b.o.Interval {
			next = b.jitter(b.o.Interval / 4)
		}
		if !pause(ctx, next, b.hurry) {
			return
		}
	}
}

// fail tells Next of an error.
func (b *Balancer) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = err
	poke(b.wake)
}

// well notes that a round went well, and forgets an error that Next has not returned.
func (b *Balancer) well() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault, b.rounded = nil, time.Now()
}

// refuse makes all calls of Next return an error.
func (b *Balancer) refuse(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused = err
	poke(b.wake)
}

// round is one round: look, plan, act.
func (r *rounds) round(ctx context.Context) (settled bool, err error) {
	if err := r.refresh(ctx); err != nil {
		return false, err
	}
	if !r.checked {
		if err := r.check(ctx); err != nil {
			return false, err
		}
	}
	r.b.tidy()
	if err := r.attend(ctx); err != nil {
		return false, err
	}
	if err := r.deliver(ctx); err != nil {
		return false, err // what we have must be moved before we take more
	}
	began := time.Now()
	records, present, err := r.listBoth(ctx)
	if err != nil {
		return false, err
	}
	v, etags := r.look(records, present, began)
	p := v.make()
	r.watch(v, &p)
	r.shed(p.shed)
	if err := r.take(ctx, p, etags); err != nil {
		return false, err
	}
	return p.settled, r.deliver(ctx)
}

// tidy drops claims that Next has not returned and should not.
func (b *Balancer) tidy() {
	b.mu.Lock()
	defer b.unlock()
	now := time.Now()
	for partition, c := range b.held {
		switch {
		case !c.given && (c.closing || c.gone):
			c.drop() // nobody else will release it
		case !c.ready && now.Sub(c.taken) > b.o.Expiry:
			c.drop() // others may be able to read its checkpoint
			b.rest(partition)
		}
	}
}

// refresh asks the source for its partitions, once in a while.
func (r *rounds) refresh(ctx context.Context) error {
	if r.places != nil && time.Since(r.fresh) < r.b.o.Refresh {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, max(r.b.patience, 30*time.Second))
	defer cancel()
	found, err := hubferry.PlacesOf(limited, r.b.o.Source)
	if err != nil && r.places != nil {
		r.b.o.Log.Warn("partitions could not be listed; going on with those known", "group", r.b.o.Group.String(), "error", err)
		r.fresh = time.Now()
		return nil
	}
	if err != nil {
		return err
	}
	places := make(map[string]*hubferry.Place, len(found))
	for _, p := range found {
		places[p.Partition] = p
	}
	if r.places != nil && len(places) != len(r.places) {
		r.b.o.Log.Info("the number of partitions has changed", "group", r.b.o.Group.String(), "before", len(r.places), "now", len(places))
	}
	r.places, r.fresh = places, time.Now()
	return nil
}

// list lists ownership records and notes them, and the store's time.
func (r *rounds) list(ctx context.Context, group hubferry.ID) ([]hubferry.Ownership, error) {
	ctx, cancel := context.WithTimeout(ctx, r.b.patience)
	defer cancel()
	records, err := r.b.o.Store.ListOwnership(ctx, group)
	if err != nil {
		return nil, err
	}
	r.judge.observe(group, records, time.Now())
	r.readClock(ctx)
	return records, nil
}

// listBoth is list for the group and its presence group.
func (r *rounds) listBoth(ctx context.Context) (records, present []hubferry.Ownership, err error) {
	records, present, err = r.b.listBoth(ctx)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	r.judge.observe(r.b.o.Group, records, now)
	r.judge.observe(r.b.presence, present, now)
	r.readClock(ctx)
	return records, present, nil
}

// readClock notes the store's time, by its clock or by what we wrote last.
func (r *rounds) readClock(ctx context.Context) {
	if c, ok := r.b.o.Store.(Clock); ok {
		if t, err := c.ServerTime(ctx); err == nil {
			r.judge.read(t, time.Now())
		}
		return
	}
	r.b.mu.Lock()
	last := r.b.written
	r.b.written = reading{}
	r.b.mu.Unlock()
	if !last.at.IsZero() {
		r.judge.read(last.store, last.at)
	}
}

// look makes a view of listings that began at a time, and ends claims that another owner
// has taken.
func (r *rounds) look(records, present []hubferry.Ownership, began time.Time) (*view, map[string]string) {
	b := r.b
	now := time.Now()
	v := &view{me: b.o.Owner, owner: make(map[string]string, len(r.places)), barred: map[string]bool{}, foreign: r.foreign}
	for partition := range r.places {
		v.owner[partition] = ""
	}
	etags := make(map[string]string, len(records))
	members := map[string]bool{b.o.Owner: true}
	for _, o := range present {
		if o.Owner != "" && o.Owner != b.o.Owner && !r.judge.expired(o, now) {
			members[o.Owner] = true
		}
	}
	r.left = r.left[:0]
	b.mu.Lock()
	defer b.unlock()
	for _, o := range records {
		partition := o.ID.Partition
		etags[partition] = o.ETag
		if _, ok := v.owner[partition]; !ok {
			continue // a partition that is not, or not yet, in our list
		}
		owner := o.Owner
		c := b.held[partition]
		if c != nil && owner != b.o.Owner && c.confirmed.Before(began) {
			c.lose("another owner took it over: " + owner)
		}
		switch {
		case owner == "" || r.judge.expired(o, now):
			owner = ""
		case owner == b.o.Owner && c == nil && !b.orphans[partition].IsZero():
			r.left = append(r.left, partition)
			owner = ""
		case owner == b.o.Owner && c == nil && !b.freed[partition].Before(began):
			v.barred[partition] = true // the listing is older than our release
			owner = ""
		case owner == b.o.Owner && c == nil:
			owner += "\x00" // somebody had our name before us, or has it, too
		}
		v.owner[partition] = owner
		if owner != "" {
			members[owner] = true
			r.report(owner, partition)
		}
	}
	r.own(v, now)
	for m := range members {
		v.members = append(v.members, m)
	}
	return v, etags
}

// own lays what we know of ourselves over what the listings say. The caller holds b.mu.
func (r *rounds) own(v *view, now time.Time) {
	b := r.b
	for partition, c := range b.held {
		owner, ok := v.owner[partition]
		switch {
		case !ok:
		case !c.gone:
			v.owner[partition] = b.o.Owner // also when it was claimed after the listing began
			if c.closing {
				v.ending++
			}
		case owner == b.o.Owner:
			v.ending++ // lost, but not released: not ours to take, not yet another's
		default:
			v.barred[partition] = true
			if !now.Before(c.begun.Add(b.o.Expiry)) {
				// Whatever was on its way is over: as good as released.
				delete(b.held, partition)
				delete(v.barred, partition)
			}
		}
	}
	for partition, until := range b.orphans {
		if now.After(until) {
			delete(b.orphans, partition)
		}
	}
	for partition, at := range b.freed {
		if now.Sub(at) > b.o.Expiry {
			delete(b.freed, partition)
		}
	}
	for partition, pause := range b.resting {
		if now.Before(pause.until) {
			v.barred[partition] = true
		} else if now.After(pause.until.Add(b.o.Expiry)) {
			delete(b.resting, partition)
		}
	}
}

// watch notes what changes between rounds, and takes what others leave lying.
func (r *rounds) watch(v *view, p *plan) {
	now := time.Now()
	if !maps.Equal(v.owner, r.last) {
		r.last, r.changed = v.owner, now
	}
	free := v.free()
	if len(free) == 0 {
		r.idle = time.Time{}
		return
	}
	if r.idle.IsZero() {
		r.idle = now
	}
	if len(p.claim) > 0 || p.shed > 0 || now.Sub(r.idle) < 2*r.b.o.Interval {
		return
	}
	// Whoever it belongs to by the shares does not take it. Better we than nobody.
	for _, partition := range free {
		if !v.barred[partition] {
			p.claim = append(p.claim, partition)
			r.idle = now
			return
		}
	}
}

// shed asks the engine for some claims back.
func (r *rounds) shed(n int) {
	b := r.b
	if n == 0 {
		return
	}
	if b.o.Strategy == Balanced {
		n = (n + 7) / 8
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.youngest() {
		if n == 0 {
			return
		}
		if c.gone || c.closing {
			continue
		}
		c.end()
		if n--; !c.given {
			poke(b.hurry) // for tidy to drop it
		}
	}
}

// rest keeps us from taking a partition again at once. The caller holds b.mu.
func (b *Balancer) rest(partition string) {
	d := b.resting[partition].next
	if d == 0 {
		d = b.o.Interval / 2
	}
	b.resting[partition] = rest{until: time.Now().Add(d), next: min(2*d, b.o.Expiry)}
}
