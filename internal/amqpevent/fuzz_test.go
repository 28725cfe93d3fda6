package amqpevent

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry"
)

// FuzzForm checks that whatever can be decoded goes through a form, and through
// decoded content, without a change.
func FuzzForm(f *testing.F) {
	e := hubferry.NewEvent(fullContent(f))
	x := NewEncoder(noTrail, nil)
	msg, err := x.Append(nil, &e)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(msg)
	f.Add(asReceived(f, msg, "key", 1))
	f.Add([]byte{0, 0x53, 0x77, 0x40})
	f.Add([]byte{0, 0x53, 0x74, 0x40, 0, 0x53, 0x75, 0xa0, 0})
	f.Add([]byte{0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x75, 0xa0, 1, 'x'})
	f.Fuzz(func(t *testing.T, msg []byte) {
		form, facts := Parse(msg)
		var want hubferry.Content
		if form.Decode(&want) != nil {
			return
		}
		for _, p := range want.Properties {
			if _, ok := form.Property(p.Name); !ok {
				t.Fatalf("property %q is not found", p.Name)
			}
		}
		event := hubferry.NewEncodedEvent(form)
		event.Key = facts.Key
		out, err := x.Append(nil, &event)
		if err != nil {
			return // a key that is not text
		}
		var got hubferry.Content
		again, facts2 := Parse(out)
		if err := again.Decode(&got); err != nil {
			t.Fatalf("after the form: %v", err)
		}
		if diff := cmp.Diff(want, got, compareValues); diff != "" || !facts2.Key.Equal(facts.Key) {
			t.Fatalf("the form changed the event:\n%s", diff)
		}
		decoded := hubferry.NewEvent(&want)
		decoded.Key = facts.Key
		if out, err = x.Append(nil, &decoded); err != nil {
			return // a message property of a type that is not allowed
		}
		if form, _ := Parse(out); form.err != nil {
			t.Fatalf("encoded content cannot be decoded: %v", form.err)
		}
	})
}
