package amqpevent

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/amqp"
)

var _ hubferry.Form = (*Form)(nil)

// Form is a received message in its encoding. It is immutable and may be used by
// several goroutines.
type Form struct {
	msg      []byte
	sections amqp.Sections
	key      hubferry.Key
	hops     bool  // a property that begins with "repl-" is there
	err      error // why the message cannot be decoded
}

// Facts is what the service says of an event, in its annotations.
type Facts struct {
	Key      hubferry.Key // its bytes point into the message
	Sequence int64        // meaningful if Known
	Offset   string
	Time     time.Time
	Known    bool // the message has a sequence number
}

// Parse makes a Form of an encoded message, which it keeps. A message that is not
// well formed gives a Form whose Decode returns the reason, and as many Facts as could
// be read.
func Parse(msg []byte) (*Form, Facts) {
	var p Parser
	return p.Parse(msg, 1)
}

// A Parser makes Forms of messages that come together. Small ones share allocations, so that
// keeping one of their Forms keeps some of the others. The zero Parser is ready to use, by
// one goroutine at a time.
type Parser struct {
	forms []Form
	texts strings.Builder
}

const (
	// shared is how many Forms share an allocation at most.
	shared = 32
	// small is the largest message whose Form may keep others.
	small = 4 << 10
)

// Parse is the function Parse for a message and those that are known to follow it: together
// they are so many.
func (p *Parser) Parse(msg []byte, together int) (*Form, Facts) {
	f := p.form(len(msg), together)
	f.msg = msg
	f.sections, f.err = amqp.Scan(msg)
	switch {
	case f.err != nil:
		f.err = fmt.Errorf("decode event: %w", f.err)
		return f, p.facts(findAnnotations(msg), together)
	case !f.sections.Canonical:
		// Some clients take the short form of a descriptor for granted.
		f.msg = amqp.Canonicalize(make([]byte, 0, len(msg)), msg)
		f.sections, f.err = amqp.Scan(f.msg)
	}
	facts := p.facts(f.sections.MessageAnnotations.Of(f.msg), together)
	f.key = facts.Key
	f.hops = hasHops(f.sections.ApplicationProperties.Of(f.msg))
	return f, facts
}

// form returns a new Form.
func (p *Parser) form(size, together int) *Form {
	if size > small {
		return new(Form)
	}
	if len(p.forms) == 0 {
		p.forms = make([]Form, min(together, shared))
	}
	f := &p.forms[0]
	p.forms = p.forms[1:]
	return f
}

// text returns b as a string that shares its memory with others.
func (p *Parser) text(b []byte, together int) string {
	if p.texts.Cap()-p.texts.Len() < len(b) {
		p.texts.Reset()
		p.texts.Grow(len(b) * min(together, shared))
	}
	start := p.texts.Len()
	p.texts.Write(b)
	return p.texts.String()[start:]
}

// findAnnotations looks for the message annotations of a message that Scan refused:
// they may be well formed although something behind them is not.
func findAnnotations(msg []byte) []byte {
	d := amqp.NewDecoder(msg)
	for d.Len() > 0 {
		start := len(msg) - d.Len()
		code := d.Descriptor()
		probe := d
		d.Skip()
		if d.Err() != nil {
			return nil
		}
		if code == amqp.CodeMessageAnnotations {
			if probe.Check(); probe.Err() != nil {
				return nil
			}
			return msg[start : len(msg)-d.Len()]
		}
	}
	return nil
}

// facts reads the service's annotations.
func (p *Parser) facts(section []byte, together int) Facts {
	var facts Facts
	var kafka hubferry.Key
	items, n, err := amqp.MapSection(section)
	if err != nil {
		return facts
	}
	for range n {
		switch string(readText(&items)) {
		case annSequence:
			facts.Sequence, facts.Known = readInt(&items)
		case annOffset:
			v := items
			if b := readText(&items); b != nil {
				facts.Offset = p.text(b, together)
			} else {
				facts.Offset = readOffset(&v)
			}
		case annTime:
			if ms, ok := readInt(&items); ok {
				facts.Time = time.UnixMilli(ms).UTC()
			}
		case annKey:
			// A key that is no string is none, as for the service.
			if b := readText(&items); b != nil {
				facts.Key = hubferry.Key{Bytes: b, Kind: hubferry.TextKey}
			}
		case annKafkaKey:
			d := items
			items.Skip()
			if b := d.Binary(); d.Err() == nil {
				kafka = hubferry.Key{Bytes: b, Kind: hubferry.ByteKey}
			}
		default:
			items.Skip()
		}
	}
	if kafka.Kind == hubferry.ByteKey && (facts.Key.Kind == hubferry.NoKey || string(facts.Key.Bytes) == string(kafka.Bytes)) {
		facts.Key = kafka
	}
	return facts
}

// readText reads a value and returns the bytes of a string or symbol, and nil for
// anything else.
func readText(d *amqp.Decoder) []byte {
	switch d.Peek() {
	case amqp.CodeString8, amqp.CodeString32, amqp.CodeSymbol8, amqp.CodeSymbol32:
		return d.Text()
	}
	d.Skip()
	return nil
}

// readInt reads a value and returns that of an integer or timestamp.
func readInt(d *amqp.Decoder) (int64, bool) {
	v := *d
	d.Skip()
	n := v.Int()
	return n, v.Err() == nil
}

// readOffset takes an offset of any type that servers were seen to write.
func readOffset(d *amqp.Decoder) string {
	v := *d
	if b := readText(d); b != nil {
		return string(b)
	}
	if n := v.Int(); v.Err() == nil {
		return strconv.FormatInt(n, 10)
	}
	return ""
}

// hasHops reports whether application properties may hold provenance, so that the
// usual event without it is not searched for each of its names.
func hasHops(section []byte) bool {
	items, n, err := amqp.MapSection(section)
	if err != nil {
		return false
	}
	for range n {
		name := items.Text()
		if len(name) >= 5 && string(name[:5]) == "repl-" {
			return true
		}
		items.Skip()
	}
	return false
}

// Size implements hubferry.Form.
func (f *Form) Size() int { return len(f.msg) }

// Message returns the encoded message, which nobody may change.
func (f *Form) Message() []byte { return f.msg }

// End returns what the delivery annotations of a receiver with runtime metrics say of
// the end of the partition at the moment of sending.
func (f *Form) End() (last hubferry.Position, ok bool) {
	items, n, err := amqp.MapSection(f.sections.DeliveryAnnotations.Of(f.msg))
	if err != nil || f.err != nil {
		return last, false
	}
	for range n {
		switch string(readText(&items)) {
		case metricSequence:
			last.Sequence, ok = readInt(&items)
		case metricOffset:
			last.Offset = readOffset(&items)
		default:
			items.Skip()
		}
	}
	return last, ok
}

// Property implements hubferry.Form.
func (f *Form) Property(name string) (hubferry.Value, bool) {
	if f.err != nil || !f.hops && len(name) >= 5 && name[:5] == "repl-" {
		return hubferry.Value{}, false
	}
	items, n, err := amqp.MapSection(f.sections.ApplicationProperties.Of(f.msg))
	if err != nil {
		return hubferry.Value{}, false
	}
	var found amqp.Raw
	for range n {
		key, value := items.Text(), items.Raw()
		if string(key) == name {
			found = value
		}
	}
	if found == nil || items.Err() != nil {
		return hubferry.Value{}, false
	}
	v, err := valueOf(found)
	return v, err == nil
}
