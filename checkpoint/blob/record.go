package blob

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hubferry/hubferry"
)

// The metadata keys that the SDKs write.
const (
	keyOwner    = "ownerid"
	keySequence = "sequencenumber"
	keyOffset   = "offset"
	keyExtra    = "hubferry"
)

// metadata is that of one blob.
type metadata map[string]string

// get returns a value by its present name, "" if there is none. Older SDKs wrote the
// keys in other cases, and previews with underscores.
func (m metadata) get(key string) string {
	if v, ok := m[key]; ok {
		return v
	}
	for k, v := range m {
		if strings.EqualFold(strings.ReplaceAll(k, "_", ""), key) {
			return v
		}
	}
	return ""
}

// value is get without the placeholders that SDKs have written for a value that they did
// not have: .NET 5.11 "" and "no offset", Python "None".
func (m metadata) value(key string) string {
	v := m.get(key)
	switch strings.ToLower(v) {
	case "none", "no offset":
		return ""
	}
	return v
}

// unknown returns what others have put beside the values that we write.
func (m metadata) unknown() metadata {
	rest := metadata{}
	for k, v := range m {
		switch strings.ToLower(strings.ReplaceAll(k, "_", "")) {
		case keySequence, keyOffset, "hdiisfolder":
		default:
			rest[k] = v
		}
	}
	return rest
}

// errNoCheckpoint is a checkpoint blob that says nothing, as .NET leaves it when a
// checkpoint was cleared.
var errNoCheckpoint = errors.New("it has neither an offset nor a sequence number")

// parseCheckpoint reads what the SDKs know of a checkpoint.
func parseCheckpoint(m metadata) (hubferry.Position, error) {
	sequence, offset := m.value(keySequence), fromHeaderText(m.value(keyOffset))
	switch {
	case sequence == "" && offset == "":
		return hubferry.Position{}, errNoCheckpoint
	case sequence == "" && offset == "-1":
		return hubferry.Position{Sequence: -1}, nil
	case sequence == "":
		return hubferry.Position{}, fmt.Errorf("it has the offset %q and no sequence number, without which missing events cannot be seen", offset)
	}
	n, err := strconv.ParseInt(sequence, 10, 64)
	if err != nil {
		return hubferry.Position{}, fmt.Errorf("its sequence number %q is no number", sequence)
	}
	return hubferry.Position{Sequence: n, Offset: offset}, nil
}

// checkpointMetadata is what the SDKs read: always both values, never empty, beside what
// others have put there.
func checkpointMetadata(p hubferry.Position, beside metadata) metadata {
	m := metadata{}
	maps.Copy(m, beside)
	m[keySequence], m[keyOffset] = strconv.FormatInt(p.Sequence, 10), headerText(p.OffsetText())
	return m
}

// extra is what a hubferry.Checkpoint holds beyond the SDKs' checkpoint. The position is
// that of the checkpoint for which it was written.
type extra struct {
	Sequence    int64               `json:"sequence"`
	Offset      string              `json:"offset,omitempty"`
	Epoch       int32               `json:"epoch,omitempty"`
	Incarnation string              `json:"incarnation,omitempty"`
	Beginning   int64               `json:"beginning,omitempty"`
	Time        *time.Time          `json:"time,omitempty"`
	Clean       bool                `json:"clean,omitempty"`
	Marks       map[string]position `json:"marks,omitempty"`
	States      map[string][]byte   `json:"states,omitempty"`
	// Body says that marks and states are in the blob's body, where there is room.
	Body bool `json:"body,omitempty"`
	// Before is the checkpoint that is about to go back, when this record was written ahead of
	// that: as long as it is found, the record's own position is the one that counts.
	Before *before `json:"before,omitempty"`
}

// before is what the SDKs know of a checkpoint.
type before struct {
	Sequence int64  `json:"sequence"`
	Offset   string `json:"offset"`
}

func (b *before) is(at hubferry.Position) bool {
	return b != nil && b.Sequence == at.Sequence && b.Offset == at.OffsetText()
}

// position is a mark in JSON.
type position struct {
	Sequence int64  `json:"sequence"`
	Offset   string `json:"offset,omitempty"`
	Epoch    int32  `json:"epoch,omitempty"`
}

// newExtra takes a checkpoint apart. The result shares nothing with it.
func newExtra(c *hubferry.Checkpoint) (*extra, error) {
	e := &extra{
		Sequence: c.Position.Sequence, Offset: c.Position.Offset, Epoch: c.Position.Epoch,
		Incarnation: c.Incarnation, Beginning: c.Beginning, Clean: c.Clean, States: make(map[string][]byte, len(c.States)),
	}
	texts := []string{e.Offset, e.Incarnation}
	if !c.Time.IsZero() {
		e.Time = new(c.Time.UTC())
	}
	if len(c.Marks) > 0 {
		e.Marks = make(map[string]position, len(c.Marks))
	}
	for path, p := range c.Marks {
		e.Marks[path] = position(p)
		texts = append(texts, path, p.Offset)
	}
	for name, state := range c.States {
		e.States[name] = append([]byte{}, state...)
		texts = append(texts, name)
	}
	for _, s := range texts {
		if !utf8.ValidString(s) {
			return nil, fmt.Errorf("the text %q in the checkpoint is not UTF-8", s)
		}
	}
	return e, nil
}

// maxMetadata bounds the JSON that goes into metadata, of which a blob has 8 KiB.
const maxMetadata = 6 << 10

// encode returns the value of the metadata key and, if that has no room, the body.
func (e *extra) encode() (value string, body []byte, err error) {
	b, err := json.Marshal(e)
	if err != nil {
		return "", nil, err
	}
	if value = asciiJSON(b); len(value) <= maxMetadata {
		return value, nil, nil
	}
	b, err = json.MarshalIndent(e, "", "  ")
	if err != nil {
		return "", nil, err
	}
	head := *e
	head.Marks, head.States, head.Body = nil, nil, true
	short, err := json.Marshal(&head)
	if err != nil {
		return "", nil, err
	}
	return asciiJSON(short), b, nil
}

// asciiJSON makes compact JSON fit for a header: nothing but visible ASCII. Other
// characters occur inside strings only, where they can be escaped.
func asciiJSON(b []byte) string {
	var out strings.Builder
	for _, r := range string(b) {
		switch {
		case r > ' ' && r < 0x7f:
			out.WriteByte(byte(r))
		case r < 0x10000:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			r -= 0x10000
			fmt.Fprintf(&out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
	}
	return out.String()
}

// parseExtra reads the JSON of a metadata value or a body.
func parseExtra(text []byte) (*extra, error) {
	e := &extra{}
	if err := json.Unmarshal(text, e); err != nil {
		return nil, fmt.Errorf("its record %s: %w", folderExtra, err)
	}
	return e, nil
}

// behind reports whether a record is of a checkpoint that must not take the other's place.
func (e *extra) behind(other *extra) bool {
	at := func(e *extra) *hubferry.Checkpoint {
		return &hubferry.Checkpoint{
			Position:    hubferry.Position{Sequence: e.Sequence, Offset: e.Offset, Epoch: e.Epoch},
			Incarnation: e.Incarnation, Beginning: e.Beginning,
		}
	}
	return at(e).Behind(at(other))
}

// engineStates are the notes that do not depend on the position.
func (e *extra) engineStates() map[string][]byte {
	var states map[string][]byte
	for name, state := range e.States {
		if strings.HasPrefix(name, "engine.") {
			if states == nil {
				states = map[string][]byte{}
			}
			states[name] = state
		}
	}
	return states
}

// join makes a checkpoint of what the SDKs know and of the record beside it, if there is
// one. The record was written for the same checkpoint, or for an older one, when another
// program has moved on or we died in between: then the marks, which are lower bounds,
// hold (G-7), and so does what does not depend on the position. Or it was written for a
// later one, when somebody has moved the checkpoint back. Or it was written ahead of a
// checkpoint that begins anew, and we died before that was: then it is the checkpoint.
func join(at hubferry.Position, e *extra, modified time.Time) hubferry.Checkpoint {
	c := hubferry.Checkpoint{Position: at, Time: modified}
	if e == nil {
		return c
	}
	own := hubferry.Position{Sequence: e.Sequence, Offset: e.Offset, Epoch: e.Epoch}
	c.Incarnation, c.Beginning, c.States = e.Incarnation, e.Beginning, e.engineStates()
	if own.Sequence <= at.Sequence {
		c.Marks = marksOf(e)
	}
	if own.Sequence == at.Sequence && own.OffsetText() == at.OffsetText() || e.Before.is(at) {
		c.Marks = marksOf(e)
		c.Position, c.Clean, c.States, c.Time = own, e.Clean, e.States, time.Time{}
		if e.Time != nil {
			c.Time = *e.Time
		}
		return c
	}
	c.Position.Epoch = e.Epoch
	if at.Offset == strconv.FormatInt(at.Sequence, 10) {
		c.Position.Offset = "" // it says nothing more
	}
	return c
}

func marksOf(e *extra) map[string]hubferry.Position {
	if e.Marks == nil {
		return nil
	}
	marks := make(map[string]hubferry.Position, len(e.Marks))
	for path, p := range e.Marks {
		marks[path] = hubferry.Position(p)
	}
	return marks
}

// marksAll reports whether a record has a mark wherever a later one has, and nowhere else:
// without any mark a target partition would be read from its beginning.
func (e *extra) marksAll(next *extra) bool {
	if len(e.Marks) != len(next.Marks) {
		return false
	}
	for path := range next.Marks {
		if _, ok := e.Marks[path]; !ok {
			return false
		}
	}
	return true
}

// sameBut reports whether a record says the same of a later checkpoint, so that it need
// not be written again: nothing that join would take from it has changed, except marks.
func (e *extra) sameBut(next *extra) bool {
	switch {
	case e.Before != nil, e.Clean || next.Clean, e.Time == nil || next.Time == nil, next.Offset == "":
		return false
	case e.Sequence > next.Sequence, e.Epoch != next.Epoch, e.Incarnation != next.Incarnation, e.Beginning != next.Beginning:
		return false
	}
	return len(e.States) == len(next.States) &&
		len(next.States) == len(next.engineStates()) &&
		maps.EqualFunc(e.States, next.States, func(a, b []byte) bool { return string(a) == string(b) })
}
