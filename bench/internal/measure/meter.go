package measure

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// Pace is what a program did in a time in which it worked at full speed.
type Pace struct {
	Events  int64
	Time    time.Duration
	CPU     time.Duration // of the program alone
	Startup time.Duration // CPU that it had used before
	Peak    int64         // bytes resident, from its start to the end of the time
	Beside  time.Duration // CPU of the processes of Meter.Beside
}

// Rate is in events per second.
func (p *Pace) Rate() float64 { return float64(p.Events) / p.Time.Seconds() }

// CPUPerMillion is in CPU seconds per million events.
func (p *Pace) CPUPerMillion() float64 { return p.CPU.Seconds() / float64(p.Events) * 1e6 }

// Meter watches a program.
type Meter struct {
	PID int
	// Count returns how many events have arrived.
	Count func(ctx context.Context) (int64, error)
	// From and To are the counts between which the pace is taken: what comes before is
	// start-up.
	From, To int64
	// Warm, if not zero, is instead of From how long after the first event the pace is
	// taken.
	Warm time.Duration
	// For, if not zero, ends the pace after that time, before To.
	For time.Duration
	// Beside are processes whose use of CPU is of interest, too.
	Beside []int
	// Every is the time between two counts; default 50 ms.
	Every time.Duration
	// Stall is how long nothing may arrive before Run gives up; default two minutes.
	Stall time.Duration
	// Ended, if not nil, is closed when the program has ended, which is too early.
	Ended <-chan struct{}
}

// Run waits until To events have arrived, or For is over.
func (m *Meter) Run(ctx context.Context) (Pace, error) {
	stall := cmp.Or(m.Stall, 2*time.Minute)
	tick := time.NewTicker(cmp.Or(m.Every, 50*time.Millisecond))
	defer tick.Stop()
	var before, after Usages
	var arrived, begin time.Time
	var from, last int64
	moved := time.Now()
	for {
		n, err := m.Count(ctx)
		if err != nil {
			return Pace{}, err
		}
		now := time.Now()
		if n != last {
			last, moved = n, now
		}
		if n > 0 && arrived.IsZero() {
			arrived = now
		}
		switch {
		case now.Sub(moved) > stall:
			return Pace{}, fmt.Errorf("nothing has arrived for %s, at %d of %d events", stall, n, m.To)
		case begin.IsZero() && m.warm(n, arrived, now):
			if before, err = UsagesOf(m.PID, m.Beside...); err != nil {
				return Pace{}, err
			}
			begin, from = now, n
		case !begin.IsZero() && (n >= m.To || m.For > 0 && now.Sub(begin) >= m.For):
			if after, err = UsagesOf(m.PID, m.Beside...); err != nil {
				return Pace{}, err
			}
			return Pace{
				Events: n - from, Time: now.Sub(begin), CPU: after.Own.CPU - before.Own.CPU, Startup: before.Own.CPU,
				Peak: after.Own.Peak, Beside: after.Beside - before.Beside,
			}, nil
		}
		select {
		case <-tick.C:
		case <-m.Ended:
			return Pace{}, fmt.Errorf("the program ended at %d of %d events", n, m.To)
		case <-ctx.Done():
			return Pace{}, ctx.Err()
		}
	}
}

// warm reports whether start-up is over, when n events have arrived.
func (m *Meter) warm(n int64, arrived, now time.Time) bool {
	if m.Warm > 0 {
		return n > 0 && now.Sub(arrived) >= m.Warm
	}
	return n >= m.From
}
