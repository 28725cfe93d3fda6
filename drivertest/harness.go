package drivertest

import (
	"testing"
	"time"

	"github.com/hubferry/hubferry"
)

// Shape is the sort of entity that a Harness gives. It decides which cases there are.
type Shape uint8

// The shapes.
const (
	Log   Shape = iota // partitions that keep their events
	Queue              // events settled one by one: Readers are Settlers
	Table              // events and positions in one transaction: Writers are Committers
)

// Harness gives one case an empty entity and ways around the driver. Functions that are
// nil say that it cannot be done; the cases that need them are skipped. All functions
// fail the test themselves.
type Harness struct {
	Driver hubferry.Driver
	Shape  Shape
	// Caps, if not nil, replaces Driver.Caps: a fake that can do less.
	Caps *hubferry.Caps
	// Fields are the names of Content.Message that arrive as they were. What is not among
	// them is not tried.
	Fields []string

	// Connection, Source and Target are valid options for the driver.
	Connection, Source, Target hubferry.Options
	// BadConnection has a credential that the service does not accept, or is nil.
	BadConnection hubferry.Options
	// Env is what the driver gets. A nil Log is replaced by one that the suite reads.
	Env hubferry.Env
	// Secrets are texts that no error and no log line may contain.
	Secrets []string

	// Hub is an empty entity, of four or more partitions if Caps.Partitions. Unknown is
	// the name of one that does not exist.
	Hub, Unknown string

	// Inject stores events in a partition in their order, without a Writer. Only Key and
	// Content count.
	Inject func(t testing.TB, partition int, events []hubferry.Event)
	// Dump returns all that a partition retains, without a Reader.
	Dump func(t testing.TB, partition int) []hubferry.Event
	// Send stores events as the service's own producers do, who leave the choice of the
	// partition to the service or its client library.
	Send func(t testing.TB, events []hubferry.Event)
	// Cut breaks every connection once. The service is there again at once.
	Cut func(t testing.TB)
	// Stall makes the service stop answering until release is called.
	Stall func(t testing.TB) (release func())
	// Trim removes the events of a partition up to and including a sequence number.
	Trim func(t testing.TB, partition int, upTo int64)
	// Hole puts something that is no event at the end of a partition, such as the control
	// record of a transaction.
	Hole func(t testing.TB, partition int)
	// Recreate deletes the entity and creates it again, empty, under the same name.
	Recreate func(t testing.TB)
	// Rejected returns how many events a Queue's Settler has rejected.
	Rejected func(t testing.TB) int

	// Patience is how long the suite waits for what must happen. Default 10 s. It also
	// bounds what must not take long, so it is generous.
	Patience time.Duration
	// Skip names cases that do not apply, with the reason.
	Skip map[string]string
	// Goroutines are texts by which goroutines of the harness itself are known in a stack
	// trace: those of a fake service that live longer than its connections.
	Goroutines []string
}

func (h *Harness) caps() *hubferry.Caps {
	if h.Caps != nil {
		return h.Caps
	}
	return &h.Driver.Caps
}

func (h *Harness) patience() time.Duration {
	if h.Patience > 0 {
		return h.Patience
	}
	return 10 * time.Second
}

// Case is one case of the suite.
type Case struct {
	Name   string
	shapes []Shape // default Log
	// missing says what the harness or the service lacks for the case, or "".
	missing func(h *Harness) string
	run     func(s *suite)
}

// Run runs every case that applies, each as a subtest with a Harness of its own. Cases
// run one after the other, because they look for goroutines that are left.
func Run(t *testing.T, newHarness func(t testing.TB) *Harness) {
	t.Helper()
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) { c.Run(t, newHarness) })
	}
}

// Run runs one case.
func (c Case) Run(t testing.TB, newHarness func(t testing.TB) *Harness) {
	t.Helper()
	h := newHarness(t)
	if why := c.skip(h); why != "" {
		t.Skip(why)
	}
	s := newSuite(t, h)
	defer s.finish()
	c.run(s)
}

// skip returns why a case does not apply, or "".
func (c Case) skip(h *Harness) string {
	if why, ok := h.Skip[c.Name]; ok {
		return why
	}
	applies := len(c.shapes) == 0 && h.Shape == Log
	for _, shape := range c.shapes {
		applies = applies || shape == h.Shape
	}
	if !applies {
		return "another sort of entity"
	}
	if c.missing != nil {
		return c.missing(h)
	}
	return ""
}

// need combines reasons to skip.
func need(reasons ...func(h *Harness) string) func(h *Harness) string {
	return func(h *Harness) string {
		for _, r := range reasons {
			if why := r(h); why != "" {
				return why
			}
		}
		return ""
	}
}

func unless(ok func(h *Harness) bool, why string) func(h *Harness) string {
	return func(h *Harness) string {
		if ok(h) {
			return ""
		}
		return why
	}
}

var (
	source     = unless(func(h *Harness) bool { return h.caps().Source && h.Inject != nil }, "no source")
	target     = unless(func(h *Harness) bool { return h.caps().Target && h.Dump != nil }, "no target")
	partitions = unless(func(h *Harness) bool { return h.caps().Partitions }, "one partition only")
	keys       = unless(func(h *Harness) bool { return h.caps().Keys }, "no keys")
	nullBody   = unless(func(h *Harness) bool { return h.caps().NullBody }, "no null bodies")
	amqpBodies = unless(func(h *Harness) bool { return h.caps().AMQPBodies }, "no AMQP bodies")
	repeated   = unless(func(h *Harness) bool { return h.caps().RepeatedNames }, "names do not repeat")
	epochs     = unless(func(h *Harness) bool { return h.caps().Epochs }, "no epochs")
	limited    = unless(func(h *Harness) bool { return h.caps().MaxEvent > 0 }, "no known size limit")
	sends      = unless(func(h *Harness) bool { return h.Send != nil }, "the harness cannot send as the service's producers do")
	cuts       = unless(func(h *Harness) bool { return h.Cut != nil }, "the harness cannot cut connections")
	stalls     = unless(func(h *Harness) bool { return h.Stall != nil }, "the harness cannot stall the service")
	holes      = unless(func(h *Harness) bool { return h.Hole != nil }, "partitions hold events only")
	trims      = unless(func(h *Harness) bool { return h.Trim != nil && h.caps().Retention }, "events cannot be made to expire")
	recreates  = unless(func(h *Harness) bool { return h.Recreate != nil }, "the harness cannot create the hub again")
	refuses    = unless(func(h *Harness) bool { return h.BadConnection != nil }, "no credential to be refused")
)
