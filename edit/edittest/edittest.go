package edittest

import (
	"fmt"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
)

// Subject is the editor under test.
type Subject struct {
	// New makes a fresh instance, as the engine does for each source partition and after
	// each restart.
	New func() (hubferry.Editor, error)
	// Inputs are events in source order. Default: Samples. The suite gives them their
	// origin and position.
	Inputs []hubferry.Event
	// Check, if not nil, is given all inputs and outputs of one pass, in order.
	Check func(t testing.TB, inputs, outputs []hubferry.Event)
	// Lasting says that what comes out depends on time or on how the inputs fall into
	// drafts, so that two passes cannot be compared.
	Lasting bool
	// Patience is how long the suite waits for what must not take long. Default 10 s.
	Patience time.Duration
	// Skip names cases that do not apply, with the reason.
	Skip map[string]string
}

// Case is one case of the suite.
type Case struct {
	Name string
	run  func(s *suite)
}

// Cases returns the suite.
func Cases() []Case {
	return []Case{
		{"an empty draft", emptyDraft},
		{"every input is settled once", settled},
		{"inputs stay as they are", inputsStay},
		{"order of a key", keyOrder},
		{"drafts of any size", draftSizes},
		{"origin and position", origins},
		{"two instances", twoInstances},
		{"flush", flush},
		{"flush when due", flushDue},
		{"resume", resume},
		{"rewind", rewind},
		{"state is small and kept", stateIsKept},
		{"cancel", cancelled},
		{"what it is for", check},
	}
}

// Run runs every case as a subtest.
func Run(t *testing.T, s Subject) {
	t.Helper()
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) { c.Run(t, s) })
	}
}

// Run runs one case.
func (c Case) Run(t testing.TB, subject Subject) {
	t.Helper()
	if why, ok := subject.Skip[c.Name]; ok {
		t.Skip(why)
	}
	if subject.Patience == 0 {
		subject.Patience = 10 * time.Second
	}
	if subject.Inputs == nil {
		subject.Inputs = Samples()
	}
	s := &suite{t: t, Subject: subject}
	place := hubferry.NewPlace("source.example", "hub", "3", "1", 3)
	for i := range subject.Inputs {
		e := subject.Inputs[i].Share()
		e.Origin, e.Pos = place, hubferry.Position{Sequence: int64(100 + i)}
		e.Time = time.Date(2026, 3, 4, 5, 6, i, 0, time.UTC)
		s.inputs = append(s.inputs, e)
	}
	c.run(s)
}

// Samples returns events of several keys and sorts: JSON and other text, empty and null
// bodies, binary ones, typed properties, an AMQP body, and an event still encoded.
func Samples() []hubferry.Event {
	var events []hubferry.Event
	add := func(key string, c *hubferry.Content) {
		e := hubferry.NewEvent(c)
		if key != "" {
			e.Key = hubferry.Text(key)
		}
		events = append(events, e)
	}
	for i := range 24 {
		add(fmt.Sprint("key-", i%5), &hubferry.Content{
			Body: fmt.Appendf(nil, `{"n":%d,"kind":"reading","value":%d.5}`, i, i%7),
			Properties: hubferry.Properties{
				{Name: "n", Value: hubferry.Long(int64(i))},
				{Name: "kind", Value: hubferry.String("reading")},
				{Name: "at", Value: hubferry.Timestamp(1_700_000_000_000 + int64(i))},
			},
			Message: hubferry.Properties{{Name: hubferry.ContentType, Value: hubferry.Symbol("application/json")}},
		})
	}
	add("", &hubferry.Content{Body: []byte("no key, no JSON")})
	add("key-1", &hubferry.Content{Body: []byte{}})
	add("key-1", &hubferry.Content{BodyKind: hubferry.BodyNull})
	add("key-2", &hubferry.Content{Body: []byte{0xff, 0x00, 0x80}})
	add("key-2", &hubferry.Content{BodyKind: hubferry.BodyAMQP, Body: []byte{0x00, 0x53, 0x77, 0xa1, 0x02, 'h', 'i'}})
	add("key-3", &hubferry.Content{Body: []byte(`[1,2,3]`)})
	encoded := hubferry.NewEncodedEvent(form{&hubferry.Content{Body: []byte(`{"n":99}`), Properties: hubferry.Properties{{Name: "n", Value: hubferry.Int(99)}}}})
	encoded.Key = hubferry.Text("key-4")
	return append(events, encoded)
}

// form is an encoding, for an event that is decoded when it is looked at.
type form struct{ content *hubferry.Content }

func (f form) Decode(c *hubferry.Content) error {
	*c = *f.content.Clone()
	return nil
}

func (f form) Property(name string) (hubferry.Value, bool) { return f.content.Properties.Get(name) }
func (f form) Size() int                                   { return f.content.Size() }
