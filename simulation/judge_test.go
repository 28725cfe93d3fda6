package simulation

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/engine"
)

// judge compares source and target, by the identity of what each task wrote.
type judge struct {
	w       *world
	ordered bool // events without a key have an order to keep
	looked  []int64
	seen    map[hubferry.Identity]copyAt // the first copy of each
	last    map[stream]int64
	mine    verdict

	mu     sync.Mutex
	stored map[hubferry.ID]int64 // the checkpoint, or a lower one
	beyond int                   // reads beyond the window
}

// copyAt is where a copy of an event is, and when it was stored.
type copyAt struct {
	partition int
	sequence  int64
	time      time.Time
}

func (c copyAt) String() string {
	return fmt.Sprintf("%d/%d %s", c.partition, c.sequence, c.time.Format("15:04:05.000"))
}

// stream is what has an order: one key of one source partition, by task.
type stream struct{ task, source, key string }

// verdict is what a judge has found.
type verdict struct {
	Events     int `json:"events"`
	Lost       int `json:"lost"`
	Duplicates int `json:"duplicates"`
	Reordered  int `json:"reordered"`
	Beyond     int `json:"beyond"`  // reads beyond the window
	Excused    int `json:"excused"` // duplicates that were announced as unproven
}

// bad reports whether a promise was broken.
func (v *verdict) bad() bool { return v.Lost+v.Duplicates+v.Reordered+v.Beyond > 0 }

func newJudge(w *world) *judge {
	return &judge{
		w: w, ordered: w.scene.sources == w.scene.targets && !w.scene.growth,
		seen: map[hubferry.Identity]copyAt{}, last: map[stream]int64{}, stored: map[hubferry.ID]int64{},
	}
}

// read is told how far a task has read a partition, and compares with its checkpoint (G-6).
func (j *judge) read(task string, place *hubferry.Place, to int64) {
	id := j.w.group(task)
	id.Partition = place.Partition
	j.mu.Lock()
	defer j.mu.Unlock()
	at, ok := j.stored[id]
	if limit := int64(j.w.scene.window); !ok || to-at > limit {
		found, err := j.w.store.ListCheckpoints(j.w.t.Context(), id)
		if err != nil {
			return // the world is over
		}
		c, ok := found[id]
		if !ok {
			c.Position.Sequence = math.MinInt64 / 2 // the start position is stored before the first read
		}
		j.stored[id] = c.Position.Sequence
		if to-c.Position.Sequence > limit {
			j.beyond++
			j.complain("%s has read %s up to %d, and its checkpoint is at %d", task, place, to, c.Position.Sequence)
		}
	}
}

// look notes what has come to the target since the last look. It is called before anything
// is taken away there.
func (j *judge) look() {
	for q := range j.w.target.Partitions() {
		if q == len(j.looked) {
			j.looked = append(j.looked, -1)
		}
		for _, e := range j.w.target.Dump(q) {
			if e.Pos.Sequence > j.looked[q] {
				j.looked[q] = e.Pos.Sequence
				j.see(&e, q)
			}
		}
	}
}

func (j *judge) see(e *hubferry.Event, q int) {
	id, ok := hubferry.IdentityOf(e)
	if !ok {
		return
	}
	j.w.note(int64(q), e.Pos.Sequence, id.Sequence, e.Time.UnixNano())
	at := copyAt{q, e.Pos.Sequence, e.Time}
	if first, twice := j.seen[id]; twice {
		j.mine.Duplicates++
		j.complain("%+v is there again at %s, first at %s", id, at, first)
		return
	}
	j.seen[id] = at
	if e.Key.Kind == hubferry.NoKey && !j.ordered {
		return
	}
	s := stream{id.Task, id.Source, e.Key.String()}
	last, ok := j.last[s]
	if ok && last > id.Sequence {
		j.mine.Reordered++
		j.complain("%+v is behind %d at %s", id, last, at)
	}
	j.last[s] = max(last, id.Sequence)
}

// complain says what is wrong where somebody reads it.
func (j *judge) complain(format string, args ...any) {
	if j.w.log != nil {
		fmt.Fprintf(j.w.log, "JUDGE "+format+"\n", args...)
	}
}

// missing looks, and returns how many events of the source have not come to the target, over
// all tasks.
func (j *judge) missing() int {
	j.look()
	events := 0
	for p := range j.w.source.Partitions() {
		events += len(j.w.source.Dump(p))
	}
	j.mine.Events = events
	return events*len(j.w.tasks) - len(j.seen)
}

// verdict is the judge's last word.
func (j *judge) verdict() verdict {
	missing := j.missing()
	v := j.mine
	v.Lost = missing
	j.mu.Lock()
	v.Beyond = j.beyond
	j.mu.Unlock()
	s := &j.w.scene
	switch {
	case s.broken != "":
	case s.delivery != engine.EffectivelyOnce:
		v.Duplicates = 0 // they are promised not to be lost, and to come in order
	case s.retention || s.compaction:
		// What the target does not hold any more is sent again, and counted (G-8).
		v.Excused = min(v.Duplicates, int(j.w.counts.Unproven))
		v.Duplicates -= v.Excused
	}
	return v
}
