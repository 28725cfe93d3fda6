package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hubferry/hubferry"
)

// Policy says what happens to a poison event: one that an editor rejects, that cannot
// be decoded, or that a target will never take.
type Policy string

// The policies for poison events.
const (
	OnErrorStop       Policy = "stop"        // the partition stops until a person resumes it
	OnErrorDrop       Policy = "drop"        // the event is counted and skipped
	OnErrorDeadLetter Policy = "dead-letter" // the event goes to Task.DeadLetters as it was read
)

// GapPolicy says what happens when the source no longer has the next event (INV-7).
type GapPolicy string

// The policies for gaps.
const (
	OnGapStop     GapPolicy = "stop"     // the partition stops until a person resumes it
	OnGapContinue GapPolicy = "continue" // the gap is counted and logged
)

// Delivery says what a task does about events that its targets already have.
type Delivery string

// The kinds of delivery.
const (
	AtLeastOnce     Delivery = "at-least-once"    // after a failure, what may be there is sent again
	EffectivelyOnce Delivery = "effectively-once" // what the target shows to be there is not (G-8, G-12)
)

// Match says how many routes an event takes.
type Match string

// The ways to match routes.
const (
	MatchAll   Match = "all"   // every route whose condition holds
	MatchFirst Match = "first" // the first one
)

// Task defines a replication task. Zero values mean the documented defaults.
type Task struct {
	Name string // part of the identity of outputs (G-3): keep it stable
	// Source is where events come from; SourceName is its address, for people.
	Source     hubferry.Source
	SourceName string
	// Coordinate begins to deal out the source's partitions: a balancer over a checkpoint
	// store, or the service itself.
	Coordinate func(ctx context.Context) (hubferry.Coordinator, error)
	Editors    []Step
	Routes     []Route
	Match      Match    // default all
	Delivery   Delivery // default at-least-once
	// DeadLetters receives poison under OnErrorDeadLetter. Its Name and When are unused.
	DeadLetters *Route
	OnError     Policy    // default stop
	OnGap       GapPolicy // default stop
	Retry       Retry
	// Start is where partitions without a checkpoint begin; Starts overrides it by
	// partition id.
	Start  hubferry.Start
	Starts map[string]hubferry.Start
	// Window bounds how many inputs lie between a partition's checkpoint and the newest
	// event read, which is what a crash repeats at most (G-6). Default 20,000.
	Window int
	// Budget bounds the bytes of the task's events in memory (INV-6). Default 64 MiB.
	Budget int64
	// SaveEvents and SaveInterval are the checkpoint cadence: whichever comes first, and
	// at most once a second. Defaults 1,000 and 5 s (G-6).
	SaveEvents   int
	SaveInterval time.Duration
	// Trail says how much provenance is added. Task and Route are filled in.
	Trail hubferry.Trail
	// Fingerprint stands for the editors, routes and conditions with their options. When it
	// has changed since a checkpoint, effectively-once delivery looks events up by their
	// identity, because those before the newest one at a target need not be there.
	Fingerprint string
}

// Step is a configured editor.
type Step struct {
	Name string
	New  func() (hubferry.Editor, error) // one for each source partition
}

// Route is one target of a task.
type Route struct {
	Name   string // part of the identity of outputs (G-3): keep it stable
	Target hubferry.Target
	// Hub is the hub's name. In it {hub}, or {topic}, stands for the name of the source hub;
	// such a target is opened when the first event for it may come.
	Hub string
	// Address is "connection/hub", for people.
	Address string
	When    hubferry.Condition // nil: always
	Editors []Step
}

// withDefaults returns a copy with the documented defaults filled in.
func (t Task) withDefaults() Task {
	setDefault(&t.Match, MatchAll)
	setDefault(&t.Delivery, AtLeastOnce)
	setDefault(&t.OnError, OnErrorStop)
	setDefault(&t.OnGap, OnGapStop)
	setDefault(&t.Window, 20_000)
	setDefault(&t.Budget, 64<<20)
	setDefault(&t.SaveEvents, 1000)
	setDefault(&t.SaveInterval, 5*time.Second)
	t.Retry = t.Retry.withDefaults()
	t.Trail.Task = t.Name
	return t
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// check reports what can be known to be wrong before anything is opened.
func (t *Task) check() error {
	var problems []error
	bad := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("task %s: "+format, append([]any{t.Name}, args...)...))
	}
	if t.Name == "" {
		bad("a task needs a name")
	}
	if t.Source == nil || t.Coordinate == nil {
		bad("there is no source")
	}
	if len(t.Routes) == 0 {
		bad("there is no target")
	}
	names := map[string]bool{}
	for i := range t.Routes {
		if names[t.Routes[i].Name] {
			bad("two routes are named %q", t.Routes[i].Name)
		}
		names[t.Routes[i].Name] = true
	}
	if t.OnError == OnErrorDeadLetter && t.DeadLetters == nil {
		bad("onError is dead-letter, but no dead-letter target is set")
	}
	if err := t.checkOnce(); err != nil {
		bad("%w", err)
	}
	if t.Window < 1 || t.Budget < 1 {
		bad("window and memory budget must be positive")
	}
	if t.Start.Kind == hubferry.StartTime && t.Start.Time.After(time.Now()) {
		bad("start %s is in the future", t.Start.Time.Format(time.RFC3339))
	}
	return errors.Join(problems...)
}
