package checkpoint

import (
	"context"
	"slices"
	"time"

	"github.com/hubferry/hubferry"
)

// renewals renews all claims, or our presence, once per interval, and more often after a
// failure.
func (b *Balancer) renewals(ctx context.Context) {
	next, failures := b.o.Interval, 0
	for pause(ctx, next, nil) {
		began := time.Now()
		err := b.renew(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			if failures > 0 {
				b.o.Log.Info("partitions are renewed again", "group", b.o.Group.String(), "attempts", failures+1)
			}
			failures = 0
			next = max(0, b.calm()-time.Since(began))
			continue
		}
		if failures++; failures == 1 {
			b.o.Log.Warn("partitions could not be renewed, trying again", "group", b.o.Group.String(), "error", err)
		}
		next = b.jitter(min(b.o.Interval/2, b.o.Interval/20<<min(failures, 8)))
	}
}

// renewal is a record that has our name, and what it stands for.
type renewal struct {
	record hubferry.Ownership
	claim  *claim // nil for our presence
	slot   *slot  // nil for a claim
}

// renew writes our name again into all our records. What it finds to be another's is
// lost. After an error the outcome of some is unknown.
func (b *Balancer) renew(ctx context.Context) error {
	rs, unsure := b.renewable()
	if len(rs) == 0 {
		return nil
	}
	if unsure {
		// A write that failed may have been stored, with an ETag that we do not know.
		return b.adopt(ctx)
	}
	missed, err := b.rewrite(ctx, rs)
	if err != nil {
		return err
	}
	b.miss(missed)
	return nil
}

// renewable returns what has our name, and whether the outcome of an earlier write to
// some of it is unknown.
func (b *Balancer) renewable() (rs []renewal, unsure bool) {
	b.mu.Lock()
	defer b.unlock()
	rs = make([]renewal, 0, len(b.held)+1)
	now := time.Now()
	stays := false
	for _, c := range b.held {
		if !c.certain(now) {
			continue
		}
		rs = append(rs, renewal{record: hubferry.Ownership{ID: c.id, Owner: b.o.Owner, ETag: c.etag}, claim: c})
		unsure = unsure || c.unsure
		stays = stays || !c.closing
	}
	// Whoever owns a partition is seen by that. And who cannot balance must not be counted
	// on, although he may keep what he has.
	if b.slot != nil && !stays && now.Sub(b.rounded) < b.o.Expiry {
		rs = append(rs, renewal{record: b.slot.record, slot: b.slot})
		unsure = unsure || b.slot.unsure
	}
	return rs, unsure
}

// rewrite writes our name and returns the records that had changed meanwhile. With an
// error, what was not confirmed is unsure from then on.
func (b *Balancer) rewrite(ctx context.Context, rs []renewal) (missed []renewal, err error) {
	records := make([]hubferry.Ownership, len(rs))
	for i, r := range rs {
		records[i] = r.record
	}
	began := time.Now()
	got, err := b.write(ctx, records)
	ended := time.Now()
	written := make(map[hubferry.ID]hubferry.Ownership, len(got))
	for _, o := range got {
		written[o.ID] = o
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range rs {
		o, ok := written[r.record.ID]
		switch {
		case ok && r.claim != nil:
			r.claim.confirm(o.ETag, began, ended)
		case ok:
			r.slot.record, r.slot.unsure = o, false
		case err == nil:
			missed = append(missed, r)
		case r.claim != nil:
			r.claim.unsure = true
		default:
			r.slot.unsure = true
		}
		if ok {
			b.written = reading{store: o.Modified, at: ended}
		}
	}
	return missed, err
}

// miss ends what is no longer ours.
func (b *Balancer) miss(missed []renewal) {
	b.mu.Lock()
	defer b.unlock()
	for _, r := range missed {
		switch {
		case r.claim != nil:
			r.claim.lose("another owner took it over")
		case b.slot == r.slot:
			b.slot = nil
			poke(b.hurry)
		}
	}
}

// adopt is renew when the outcome of earlier writes is unknown: it looks which records
// have our name, and with which ETag, and writes those. Only the confirmed write makes a
// lease. A write that is still on its way can come in between, so it tries a few times.
func (b *Balancer) adopt(ctx context.Context) error {
	for range 3 {
		rs, _ := b.renewable()
		found, err := b.mine(ctx)
		if err != nil {
			return err
		}
		var gone, ours []renewal
		for _, r := range rs {
			etag, ok := found[r.record.ID]
			if !ok {
				gone = append(gone, r)
				continue
			}
			r.record.ETag = etag
			ours = append(ours, r)
		}
		b.miss(gone)
		if len(ours) == 0 {
			return nil
		}
		missed, err := b.rewrite(ctx, ours)
		if err != nil || len(missed) == 0 {
			return err
		}
	}
	b.o.Log.Warn("records change while they are renewed: does another process use the same owner?", "owner", b.o.Owner)
	return nil
}

// mine lists the records that have our name, by ETag.
func (b *Balancer) mine(ctx context.Context) (map[hubferry.ID]string, error) {
	records, present, err := b.listBoth(ctx)
	if err != nil {
		return nil, err
	}
	found := map[hubferry.ID]string{}
	for _, o := range slices.Concat(records, present) {
		if o.Owner == b.o.Owner {
			found[o.ID] = o.ETag
		}
	}
	return found, nil
}

// write calls ClaimOwnership, within the time that we can wait.
func (b *Balancer) write(ctx context.Context, records []hubferry.Ownership) ([]hubferry.Ownership, error) {
	ctx, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	return b.o.Store.ClaimOwnership(ctx, records)
}

// unknown is an ETag that no record has.
const unknown = "unknown"

// orphan notes that a record may have our name although we have no claim. A write that
// is still on its way may show late, hence the time. The caller holds b.mu.
func (b *Balancer) orphan(partition string) {
	b.orphans[partition] = time.Now().Add(2 * b.o.Expiry)
}

// relinquish takes our name out of a record, whatever ETag it has by now, as long as it
// stands there for a claim that may be relinquished. That is asked after the ETag was
// looked up: the store may have been so slow that we have the partition again.
func (b *Balancer) relinquish(ctx context.Context, record hubferry.Ownership, may func() bool) error {
	for range 4 {
		if record.ETag == unknown {
			etag, err := b.find(ctx, record.ID)
			if err != nil || etag == "" {
				return err
			}
			record.ETag = etag
		}
		if !may() {
			return nil
		}
		record.Owner = ""
		got, err := b.o.Store.ClaimOwnership(ctx, []hubferry.Ownership{record})
		if err != nil || len(got) == 1 {
			return err
		}
		// A renewal that was on its way has changed it, or it is another's.
		record.ETag = unknown
	}
	return &hubferry.Error{
		Kind: hubferry.Transient, Op: "relinquish " + record.ID.String(),
		Hint: "the record keeps changing: does another process use the same owner?",
	}
}

// find returns the ETag of a record if it has our name, otherwise "".
func (b *Balancer) find(ctx context.Context, id hubferry.ID) (string, error) {
	records, err := b.o.Store.ListOwnership(ctx, id.Group())
	if err != nil {
		return "", err
	}
	for _, o := range records {
		if o.ID == id && o.Owner == b.o.Owner {
			return o.ETag, nil
		}
	}
	return "", nil
}
