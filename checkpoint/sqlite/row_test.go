package sqlite

import (
	"database/sql"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hubferry/hubferry"
)

// FuzzRow makes a row of a checkpoint and a checkpoint of the row.
func FuzzRow(f *testing.F) {
	f.Add(int64(5), int32(1), "77309411", "2026-11-01", int64(1700000000123456789), true, "east/h/0", "dedupe", []byte{0, 255})
	f.Add(int64(-1), int32(-1), "", "", int64(0), false, "", "", []byte(nil))
	f.Add(int64(1)<<62, int32(0), "1:opaque;%2F\x00\xff", "x", int64(-1), false, "a%2Fb\u2028", "\"<&>", []byte("{}"))
	f.Add(int64(0), int32(0), "", "", int64(1), false, "\xff", "\xfe", []byte("x"))
	f.Fuzz(func(t *testing.T, seq int64, epoch int32, offset, incarnation string, nanos int64, clean bool, path, name string, state []byte) {
		want := hubferry.Checkpoint{
			Position:    hubferry.Position{Sequence: seq, Offset: offset, Epoch: epoch},
			Incarnation: incarnation, Clean: clean,
			Marks:  map[string]hubferry.Position{path: {Sequence: seq, Epoch: epoch}},
			States: map[string][]byte{name: state},
		}
		if nanos != 0 {
			want.Time = time.Unix(0, nanos).UTC()
		}
		r, err := encode(want)
		if err != nil {
			if utf8.ValidString(path) && utf8.ValidString(name) {
				t.Fatal(err)
			}
			return
		}
		got := r.decode(id)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// FuzzDecode reads rows that nobody checked.
func FuzzDecode(f *testing.F) {
	f.Add(int64(1), "2026-11-01T00:00:00Z", `{"a":{"sequence":1}}`, `{"x":"AA=="}`)
	f.Add(int64(1)<<40, "yesterday", "{", `{"x":1}`)
	f.Add(int64(0), "", "null", "[]")
	f.Fuzz(func(t *testing.T, epoch int64, when, marks, states string) {
		r := row{
			epoch: epoch, time: sql.NullString{String: when, Valid: true},
			marks: sql.NullString{String: marks, Valid: true}, states: sql.NullString{String: states, Valid: true},
		}
		c := r.decode(id)
		if c.Err != nil {
			return
		}
		again, err := encode(c)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if diff := cmp.Diff(c, again.decode(id), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}
