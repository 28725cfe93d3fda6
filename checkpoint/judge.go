package checkpoint

import (
	"slices"
	"time"

	"github.com/hubferry/hubferry"
)

// judge tells whether a record that somebody else wrote has expired. It errs to the late
// side only. One goroutine uses it.
//
// It has two kinds of evidence. A record that was seen and has not changed for one
// expiry by the monotonic clock has expired, whatever any wall clock says. And one whose
// time lies more than an expiry before the store's own time has expired; the store's
// time is taken from readings, each moved on by the monotonic clock. Of the readings of
// the last expiry the lowest counts, so that a clock that is set forward does not make
// the records of all others look old at once.
type judge struct {
	expiry   time.Duration
	seen     map[hubferry.ID]sighting
	gaps     map[string]time.Duration // by owner, the longest time between two renewals
	readings []reading
}

// sighting is when a version of a record was first seen.
type sighting struct {
	etag     string
	owner    string
	since    time.Time // monotonic
	modified time.Time
}

// reading is the store's time at a moment that was not later than at.
type reading struct {
	store time.Time
	at    time.Time // monotonic
}

func newJudge(expiry time.Duration) *judge {
	return &judge{expiry: expiry, seen: map[hubferry.ID]sighting{}, gaps: map[string]time.Duration{}}
}

// read notes the store's time. It was taken before at.
func (j *judge) read(store, at time.Time) {
	j.readings = slices.DeleteFunc(j.readings, func(r reading) bool { return at.Sub(r.at) > j.expiry })
	j.readings = append(j.readings, reading{store: store.Round(0), at: at})
}

// observe notes a listing of one group that ended at a time, and forgets what has gone
// from the group.
func (j *judge) observe(group hubferry.ID, records []hubferry.Ownership, at time.Time) {
	there := make(map[hubferry.ID]bool, len(records))
	for _, o := range records {
		there[o.ID] = true
		s, ok := j.seen[o.ID]
		if ok && s.etag == o.ETag {
			continue
		}
		if ok && o.Owner != "" && s.owner == o.Owner {
			j.gaps[o.Owner] = max(j.gaps[o.Owner], o.Modified.Sub(s.modified))
		}
		j.seen[o.ID] = sighting{etag: o.ETag, owner: o.Owner, since: at, modified: o.Modified}
	}
	for id := range j.seen {
		if id.Group() == group && !there[id] {
			delete(j.seen, id)
		}
	}
}

// expired reports whether a record of the last listing is anybody's.
func (j *judge) expired(o hubferry.Ownership, now time.Time) bool {
	if s, ok := j.seen[o.ID]; ok && s.etag == o.ETag && now.Sub(s.since) > j.expiry {
		return true
	}
	store, ok := j.storeTime(now)
	return ok && store.Sub(o.Modified) > j.expiry
}

// storeTime returns the lowest time that the store's clock may show now.
func (j *judge) storeTime(now time.Time) (time.Time, bool) {
	var lowest time.Time
	for _, r := range j.readings {
		if t := r.store.Add(now.Sub(r.at)); lowest.IsZero() || t.Before(lowest) {
			lowest = t
		}
	}
	return lowest, !lowest.IsZero()
}
