package kafka

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/hubferry/hubferry"
)

// A committed offset has a text beside it, its metadata, of at most 4 KiB unless the
// brokers say otherwise (offset.metadata.max.bytes). What a checkpoint is beyond its
// position goes there, as JSON behind a prefix, compressed when it is long.
const (
	notePlain = "hubferry:"
	noteDense = "hubferry+z:"
	noteLong  = 512     // from here on it is compressed
	noteLimit = 1 << 20 // of what a compressed note may become
)

// note is what travels beside an offset.
type note struct {
	Incarnation string              `json:"i,omitempty"`
	Beginning   int64               `json:"b,omitempty"`
	Time        int64               `json:"t,omitempty"` // Unix milliseconds
	Clean       bool                `json:"c,omitempty"`
	Marks       map[string]noteMark `json:"m,omitempty"`
	States      map[string][]byte   `json:"s,omitempty"`
}

// noteMark is a position on a target.
type noteMark struct {
	Sequence int64  `json:"s"`
	Offset   string `json:"o,omitempty"`
	Epoch    int32  `json:"e,omitempty"`
}

// formatNote returns the metadata of a checkpoint.
func formatNote(c *hubferry.Checkpoint) (string, error) {
	n := note{Incarnation: c.Incarnation, Beginning: c.Beginning, Clean: c.Clean, States: c.States}
	if !c.Time.IsZero() {
		n.Time = c.Time.UnixMilli()
	}
	if len(c.Marks) > 0 {
		n.Marks = make(map[string]noteMark, len(c.Marks))
		for place, p := range c.Marks {
			n.Marks[place] = noteMark{p.Sequence, p.Offset, p.Epoch}
		}
	}
	text, err := json.Marshal(n)
	if err != nil {
		return "", err
	}
	if len(text) < noteLong {
		return notePlain + string(text), nil
	}
	var dense bytes.Buffer
	w, err := flate.NewWriter(&dense, flate.BestCompression)
	if err != nil {
		return "", err
	}
	if _, err := w.Write(text); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	return noteDense + base64.RawStdEncoding.EncodeToString(dense.Bytes()), nil
}

// parseNote returns the checkpoint that a committed offset stands for. An offset that
// another program has committed is honoured: everything before it is done. A note of ours
// that cannot be read is the checkpoint's Err.
func parseNote(offset int64, epoch int32, metadata string) *hubferry.Checkpoint {
	c := &hubferry.Checkpoint{Position: hubferry.Position{Sequence: offset - 1, Epoch: max(epoch, -1) + 1}}
	text, err := noteText(metadata)
	if text == nil && err == nil {
		return c
	}
	var n note
	if err == nil {
		err = json.Unmarshal(text, &n)
	}
	if err != nil {
		c.Err = fmt.Errorf("the metadata beside the committed offset %d is damaged: %w", offset, err)
		return c
	}
	c.Incarnation, c.Beginning, c.Clean = n.Incarnation, n.Beginning, n.Clean
	if len(n.States) > 0 {
		c.States = n.States
	}
	if n.Time != 0 {
		c.Time = time.UnixMilli(n.Time).UTC()
	}
	if len(n.Marks) > 0 {
		c.Marks = make(map[string]hubferry.Position, len(n.Marks))
		for place, m := range n.Marks {
			c.Marks[place] = hubferry.Position{Sequence: m.Sequence, Offset: m.Offset, Epoch: m.Epoch}
		}
	}
	return c
}

// noteText returns the JSON of a note of ours, or nil for a text of another program.
func noteText(metadata string) ([]byte, error) {
	if text, ok := strings.CutPrefix(metadata, notePlain); ok {
		return []byte(text), nil
	}
	dense, ok := strings.CutPrefix(metadata, noteDense)
	if !ok {
		return nil, nil
	}
	raw, err := base64.RawStdEncoding.DecodeString(dense)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(raw)), noteLimit))
	if err != nil {
		return nil, err
	}
	if len(text) == noteLimit {
		return nil, errors.New("it is too long")
	}
	return text, nil
}
