package hubferry_test

import (
	"errors"
	"testing"

	"github.com/hubferry/hubferry"
)

// countingForm is an encoding that counts how often it is decoded.
type countingForm struct {
	content *hubferry.Content
	err     error
	decoded *int
}

func (f countingForm) Decode(c *hubferry.Content) error {
	*f.decoded++
	if f.err == nil {
		*c = *f.content.Clone()
	}
	return f.err
}

func (f countingForm) Property(name string) (hubferry.Value, bool) {
	return f.content.Properties.Get(name)
}

func (f countingForm) Size() int { return 1000 }

func encoded(content *hubferry.Content, err error) (hubferry.Event, *int) {
	n := new(int)
	return hubferry.NewEncodedEvent(countingForm{content, err, n}), n
}

func body(t *testing.T, e *hubferry.Event) string {
	t.Helper()
	c, err := e.Content()
	if err != nil {
		t.Fatal(err)
	}
	return string(c.Body) + " " + words(c.Properties)
}

func edit(t *testing.T, e *hubferry.Event, name string) {
	t.Helper()
	c, err := e.Edit()
	if err != nil {
		t.Fatal(err)
	}
	c.Body = append([]byte{}, name...)
	c.Properties.Set("a", hubferry.String(name))
}

func TestEventIsDecodedOnce(t *testing.T) {
	e, n := encoded(&hubferry.Content{Body: []byte("b"), Properties: list("a=1")}, nil)
	if v, ok := e.Property("a"); !ok || v.String() != "1" || *n != 0 {
		t.Errorf("a property is %v, after %d decodings", v, *n)
	}
	if e.Size() < 1000 {
		t.Errorf("size %d", e.Size())
	}
	for range 2 {
		if got := body(t, &e); got != "b a=1" || *n != 1 {
			t.Errorf("content %q after %d decodings", got, *n)
		}
	}
	if e.Form() == nil {
		t.Error("reading dropped the form")
	}
	copied := e.Share()
	if body(t, &copied); *n != 1 || copied.Form() == nil {
		t.Errorf("a copy was decoded again (%d), or lost its form", *n)
	}
}

func TestEventThatCannotBeDecoded(t *testing.T) {
	broken := errors.New("broken")
	e, _ := encoded(&hubferry.Content{}, broken)
	for range 2 {
		if _, err := e.Content(); !errors.Is(err, broken) {
			t.Errorf("content: %v", err)
		}
		if _, err := e.Edit(); !errors.Is(err, broken) {
			t.Errorf("edit: %v", err)
		}
	}
	if e.Form() == nil {
		t.Error("the form is needed, to dead-letter the event as it was read")
	}
}

func TestEditCopiesOnce(t *testing.T) {
	original := hubferry.NewEvent(&hubferry.Content{Body: []byte("b"), Properties: list("a=1 z=9")})
	before, err := original.Content()
	if err != nil {
		t.Fatal(err)
	}
	a, b := original.Share(), original.Share()
	edit(t, &a, "A")
	first, _ := a.Edit()
	again, _ := a.Edit()
	if first != again {
		t.Error("the second Edit copies again")
	}
	edit(t, &b, "B")
	for _, tt := range []struct {
		e    *hubferry.Event
		want string
	}{{&original, "b a=1 z=9"}, {&a, "A a=A z=9"}, {&b, "B a=B z=9"}} {
		if got := body(t, tt.e); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	if string(before.Body) != "b" || words(before.Properties) != "a=1 z=9" {
		t.Errorf("the content that was handed out is %q %q", before.Body, words(before.Properties))
	}
	if a.Form() != nil {
		t.Error("an edited event keeps its form")
	}
}

// A copy that is taken between two edits shows the first and not the second.
func TestShareBetweenEdits(t *testing.T) {
	e := hubferry.NewEvent(&hubferry.Content{Body: []byte("b")})
	edit(t, &e, "1")
	shared := e.Share()
	edit(t, &e, "2")
	edit(t, &shared, "3")
	if body(t, &e) != "2 a=2" || body(t, &shared) != "3 a=3" {
		t.Errorf("%q and %q", body(t, &e), body(t, &shared))
	}
	list := []hubferry.Event{e.Share()}
	edit(t, &list[0], "4")
	list = append(list, hubferry.Event{}) // the array moves
	moved := list[0].Share()
	edit(t, &list[0], "5")
	if body(t, &moved) != "4 a=4" || body(t, &list[0]) != "5 a=5" {
		t.Errorf("%q and %q", body(t, &moved), body(t, &list[0]))
	}
}

func TestZeroEvent(t *testing.T) {
	var e hubferry.Event
	if _, ok := e.Property("a"); ok {
		t.Error("a zero event has a property")
	}
	if got := body(t, &e); got != " " {
		t.Errorf("content %q", got)
	}
	if _, pinned := e.Pinned(); pinned || e.Form() != nil || e.Lineage() != nil || e.Size() <= 0 {
		t.Errorf("a zero event: %+v", e)
	}
}

func TestPin(t *testing.T) {
	var e hubferry.Event
	for _, p := range []int{0, 7, 31} {
		e.Pin(p)
		if got, ok := e.Pinned(); got != p || !ok {
			t.Errorf("pinned to %d: %d, %v", p, got, ok)
		}
	}
	e.Pin(-5)
	if _, ok := e.Pinned(); ok {
		t.Error("a negative number removes the pin")
	}
}

func TestKeys(t *testing.T) {
	none, empty := hubferry.Key{}, hubferry.Text("")
	if none.Equal(empty) || empty.Equal(hubferry.Key{Kind: hubferry.ByteKey}) {
		t.Error("no key, an empty text and empty bytes are three things")
	}
	if !hubferry.Text("k").Equal(hubferry.Text("k")) || hubferry.Text("k").Equal(hubferry.Text("l")) || hubferry.Text("k").String() != "k" {
		t.Error("keys are compared by their bytes")
	}
}

func BenchmarkShareAndEdit(b *testing.B) {
	e := hubferry.NewEvent(&hubferry.Content{Body: make([]byte, 1024), Properties: list("a=1 b=2 c=3")})
	b.ReportAllocs()
	for b.Loop() {
		own := e.Share()
		c, err := own.Edit()
		if err != nil {
			b.Fatal(err)
		}
		c.Properties.Set("a", hubferry.Int(1))
	}
}
