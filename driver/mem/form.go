package mem

import "github.com/hubferry/hubferry"

var _ hubferry.Form = (*Form)(nil)

// Form is the encoding in which a hub with HubOptions.Encoded delivers events. It is
// immutable. Writers of this package take it over without decoding it.
type Form struct {
	content *hubferry.Content
	err     error
}

// Broken returns an event that nobody can decode: Content returns err. It can be
// injected and written like any other.
func Broken(err error) hubferry.Event {
	return hubferry.NewEncodedEvent(&Form{content: &hubferry.Content{}, err: err})
}

// Decode implements hubferry.Form.
func (f *Form) Decode(c *hubferry.Content) error {
	if f.err != nil {
		return f.err
	}
	*c = *f.content.Clone()
	return nil
}

// Property implements hubferry.Form.
func (f *Form) Property(name string) (hubferry.Value, bool) {
	return f.content.Properties.Get(name)
}

// Size implements hubferry.Form.
func (f *Form) Size() int { return f.content.Size() }

// newRecord returns what is stored of an event: its own copy, because the event's owner may
// go on editing it.
func newRecord(e *hubferry.Event) (record, error) {
	r := record{key: e.Key}
	if f, ok := e.Form().(*Form); ok {
		r.content, r.broken = f.content.Clone(), f.err
		return r, nil
	}
	c, err := e.Content()
	if err != nil {
		return r, &hubferry.Error{Kind: hubferry.Refused, Op: "decode event", Err: err}
	}
	r.content = c.Clone()
	return r, nil
}

// event returns a stored event as its reader sees it.
func (r *record) event(origin *hubferry.Place, encoded bool) hubferry.Event {
	e := hubferry.NewEvent(r.content)
	if encoded || r.broken != nil {
		e = hubferry.NewEncodedEvent(&Form{content: r.content, err: r.broken})
	}
	e.Key, e.Time, e.Pos, e.Origin = r.key, r.time, r.pos, origin
	return e
}
