package node

import (
	"bytes"

	"github.com/hubferry/hubferry/hub/internal/entity"
	"github.com/hubferry/hubferry/internal/amqp"
)

// This file turns published payloads into entries for the log. What is stored
// is the message as it came, byte for byte, without header and delivery
// annotations (the service drops both), without the annotations that belong to
// the service, and without the partition key, which is kept beside it. Most
// messages are stored without being copied here.

// Names of the annotations that the service owns or gives a meaning.
const (
	annSequence  = "x-opt-sequence-number"
	annOffset    = "x-opt-offset"
	annEnqueued  = "x-opt-enqueued-time"
	annKey       = "x-opt-partition-key"
	annPublisher = "x-opt-publisher-name"
)

// ingest is the scratch memory of one connection's reader.
type ingest struct {
	entries []entity.Entry
	scratch []byte
}

// key is a partition key as it stands in a payload.
type key struct {
	text []byte
	ok   bool
}

// read splits a payload into entries, which are valid until the next call, and
// returns the key that decides where they go: that of the envelope or else of
// the first message.
func (g *ingest) read(format uint32, payload []byte) (route key, e *amqp.Error) {
	g.entries, g.scratch = g.entries[:0], g.scratch[:0]
	if format != amqp.FormatBatch {
		return g.add(payload)
	}
	envelope, err := amqp.Scan(payload)
	if err != nil {
		return key{}, decodeError(err)
	}
	if envelope.BodyCode != amqp.CodeData {
		return key{}, &amqp.Error{Condition: amqp.ErrArgumentError, Description: "A batch must consist of data sections."}
	}
	if !envelope.MessageAnnotations.Empty() {
		if route, _, err = annotations(envelope.MessageAnnotations.Of(payload)); err != nil {
			return key{}, decodeError(err)
		}
	}
	for msg := range amqp.BatchMessages(envelope.Body.Of(payload)) {
		k, e := g.add(msg)
		if e != nil {
			return key{}, e
		}
		if len(g.entries) == 1 && !route.ok {
			route = k
		}
	}
	return route, nil
}

func decodeError(err error) *amqp.Error {
	return &amqp.Error{Condition: amqp.ErrDecodeError, Description: "The message is malformed: " + err.Error()}
}

// add makes an entry of one encoded message.
func (g *ingest) add(msg []byte) (key, *amqp.Error) {
	s, err := amqp.Scan(msg)
	if err == nil && !s.Canonical {
		msg = amqp.Canonicalize(nil, msg)
		s, err = amqp.Scan(msg)
	}
	if err != nil {
		return key{}, decodeError(err)
	}
	entry := entity.Entry{Message: s.Bare(msg)}
	var k key
	if !s.MessageAnnotations.Empty() {
		section := s.MessageAnnotations.Of(msg)
		var own int
		if k, own, err = annotations(section); err != nil {
			return key{}, decodeError(err)
		}
		if own > 0 {
			entry.Message = g.rebuild(section, own, entry.Message)
		}
	}
	if k.ok {
		entry.Key = k.text
		entry.Flags |= entity.FlagKey
	}
	if hollow(&s, msg) {
		entry.Flags |= entity.FlagTombstone
	}
	g.entries = append(g.entries, entry)
	return k, nil
}

// annotations looks through message annotations: it returns the partition key
// and the number of annotations that are the producer's own. A key that is not
// a string is no key, as at the service.
func annotations(section []byte) (k key, own int, err error) {
	items, n, err := amqp.MapSection(section)
	for range n {
		name := items.Raw()
		switch value := items.Raw(); kindOf(name) {
		case annKey:
			d := amqp.NewDecoder(value)
			if c := d.Peek(); c == amqp.CodeString8 || c == amqp.CodeString32 {
				k = key{text: d.Text(), ok: true}
			}
		case "":
			own++
		}
	}
	if err == nil {
		err = items.Err()
	}
	return k, own, err
}

// kindOf returns the name of an annotation that is not stored with the message,
// or "" for one of the producer's own.
func kindOf(name amqp.Raw) string {
	d := amqp.NewDecoder(name)
	switch d.Peek() {
	case amqp.CodeSymbol8, amqp.CodeSymbol32, amqp.CodeString8, amqp.CodeString32:
	default:
		return ""
	}
	text := d.Text()
	if !bytes.HasPrefix(text, []byte("x-opt-")) {
		return ""
	}
	switch string(text) {
	case annKey:
		return annKey
	case annSequence:
		return annSequence
	case annOffset:
		return annOffset
	case annEnqueued:
		return annEnqueued
	case annPublisher:
		return annPublisher
	}
	return ""
}

// rebuild puts the producer's own annotations in front of the bare message.
func (g *ingest) rebuild(section []byte, own int, bare []byte) []byte {
	start := len(g.scratch)
	items, n, _ := amqp.MapSection(section)
	out, mark := amqp.BeginMap(amqp.AppendSection(g.scratch, amqp.CodeMessageAnnotations), own)
	for range n {
		name, value := items.Raw(), items.Raw()
		if kindOf(name) == "" {
			out = append(append(out, name...), value...)
		}
	}
	out = append(amqp.EndMap(out, mark), bare...)
	g.scratch = out
	return out[start:len(out):len(out)]
}

// hollow reports whether a message has no content: no body, an empty data
// section, or a null.
func hollow(s *amqp.Sections, msg []byte) bool {
	switch {
	case s.BodyCount == 0:
		return true
	case s.BodyCount > 1:
		return false
	}
	d := amqp.NewDecoder(s.Body.Of(msg))
	d.Descriptor()
	switch s.BodyCode {
	case amqp.CodeData:
		return len(d.Binary()) == 0
	case amqp.CodeValue:
		return d.Null()
	}
	return false
}
