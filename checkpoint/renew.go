package checkpoint

import (
	"context"
	"time"

	"github.com/hubferry/hubferry"
)

// renewals renews all claims, and our presence, once per interval, and more often after
// a failure.
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
			next = max(0, b.o.Interval-b.jitter(b.o.Interval/10)-time.Since(began))
			continue
		}
		if failures++; failures == 1 {
			b.o.Log.Warn("partitions could not be renewed, trying again", "group", b.o.Group.String(), "error", err)
		}
		next = b.jitter(min(b.o.Interval/2, b.o.Interval/20<<min(failures, 8)))
	}
}

// renew writes our name again into all our records. What it finds to be another's is
// lost. After an error the outcome of some is unknown.
func (b *Balancer) renew(ctx context.Context) error {
	records, unsure := b.renewable()
	if len(records) == 0 {
		return nil
	}
	if unsure {
		// A write that failed may have been stored, with an ETag that we do not know.
		return b.adopt(ctx)
	}
	missed, err := b.rewrite(ctx, records)
	if err != nil {
		return err
	}
	b.miss(missed)
	return nil
}

// renewable returns the records that have our name, and whether the outcome of an
// earlier write to one of them is unknown.
func (b *Balancer) renewable() (records []hubferry.Ownership, unsure bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	records = make([]hubferry.Ownership, 0, len(b.held)+1)
	if b.slot != nil {
		records = append(records, b.slot.record)
		unsure = b.slot.unsure
	}
	for _, c := range b.held {
		if c.gone {
			continue
		}
		records = append(records, hubferry.Ownership{ID: c.id, Owner: b.o.Owner, ETag: c.etag})
		unsure = unsure || c.unsure
	}
	return records, unsure
}

// rewrite writes our name and returns the records that had changed meanwhile. With an
// error, what was not confirmed is unsure from then on.
func (b *Balancer) rewrite(ctx context.Context, records []hubferry.Ownership) (missed map[hubferry.ID]bool, err error) {
	began := time.Now()
	got, err := b.write(ctx, records)
	ended := time.Now()
	missed = make(map[hubferry.ID]bool, len(records))
	for _, o := range records {
		missed[o.ID] = true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range got {
		delete(missed, o.ID)
		b.written = reading{store: o.Modified, at: ended}
		if b.slot != nil && b.slot.record.ID == o.ID {
			b.slot.record, b.slot.unsure = o, false
		} else if c := b.held[o.ID.Partition]; c != nil && c.id == o.ID && !c.gone {
			c.confirm(o.ETag, began, ended)
		}
	}
	if err == nil {
		return missed, nil
	}
	for id := range missed {
		if b.slot != nil && b.slot.record.ID == id {
			b.slot.unsure = true
		} else if c := b.held[id.Partition]; c != nil && c.id == id {
			c.unsure = true
		}
	}
	return nil, err
}

// miss ends the claims whose records are no longer ours.
func (b *Balancer) miss(missed map[hubferry.ID]bool) {
	b.mu.Lock()
	defer b.unlock()
	for id := range missed {
		if b.slot != nil && b.slot.record.ID == id {
			b.slot = nil
			poke(b.hurry)
		} else if c := b.held[id.Partition]; c != nil && c.id == id && !c.gone {
			c.lose("another owner took it over")
		}
	}
}

// adopt is renew when the outcome of earlier writes is unknown: it looks which records
// have our name, and with which ETag, and writes those. Only the confirmed write makes a
// lease. A write that is still on its way can come in between, so it tries a few times.
func (b *Balancer) adopt(ctx context.Context) error {
	for range 3 {
		found, err := b.mine(ctx)
		if err != nil {
			return err
		}
		records, _ := b.renewable()
		gone := map[hubferry.ID]bool{}
		ours := records[:0]
		for _, o := range records {
			etag, ok := found[o.ID]
			if !ok {
				gone[o.ID] = true
				continue
			}
			o.ETag = etag
			ours = append(ours, o)
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
	records, _ := b.renewable()
	b.o.Log.Warn("records change while they are renewed: does another process use the same owner?", "owner", b.o.Owner, "records", len(records))
	return nil
}

// mine lists the records that have our name, by ETag.
func (b *Balancer) mine(ctx context.Context) (map[hubferry.ID]string, error) {
	found := map[hubferry.ID]string{}
	for _, group := range []hubferry.ID{b.o.Group, b.presence} {
		ctx, cancel := context.WithTimeout(ctx, b.patience)
		records, err := b.o.Store.ListOwnership(ctx, group)
		cancel()
		if err != nil {
			return nil, err
		}
		for _, o := range records {
			if o.Owner == b.o.Owner {
				found[o.ID] = o.ETag
			}
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
