package blob

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hubferry/hubferry"
)

var id = hubferry.ID{Namespace: "contoso.servicebus.windows.net", Hub: "telemetry", ConsumerGroup: "$default", Partition: "0"}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		id   hubferry.ID
		want string
	}{
		{id, "contoso.servicebus.windows.net/telemetry/$default/checkpoint/0"},
		{hubferry.ID{Namespace: "localhost:5672", Hub: "a_b-c.d", ConsumerGroup: "g~hubferry", Partition: "12"}, "localhost:5672/a_b-c.d/g~hubferry/checkpoint/12"},
		{hubferry.ID{Namespace: "MkU3", Hub: "A/b%c", ConsumerGroup: "größe", Partition: ".."}, "%4dk%553/%41%2fb%25c/gr%c3%b6%c3%9fe/checkpoint/.%2e"},
	} {
		if got := blobName(c.id, folderCheckpoint); got != c.want {
			t.Errorf("%s is named %s, want %s", c.id, got, c.want)
		}
		if got, ok := groupOf(c.want); !ok || got != c.id.Group() {
			t.Errorf("%s is of group %s, want %s", c.want, got, c.id.Group())
		}
	}
	for _, name := range []string{"", "a/b/c/checkpoint/", "a/b/c/checkpoint/0/extra", "a//c/checkpoint/0", "a/b/c/other/0", "a/b/c/hubferry/0"} {
		if got, ok := groupOf(name); ok {
			t.Errorf("%q is taken for a record of %s", name, got)
		}
	}
}

func FuzzNames(f *testing.F) {
	f.Add("$Default", "a/b", "%2f", "..")
	f.Add("", "\x00\xff", "utf-8''x", "Ü \t")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		for _, s := range []string{a, b, c, d} {
			segment := escape(s)
			if got := unescape(segment); got != s || strings.ContainsAny(segment, "/\\ABC") {
				t.Errorf("%q became %q and then %q", s, segment, got)
			}
			if got := fromHeaderText(headerText(s)); got != s {
				t.Errorf("%q became %q in a header and then %q", s, headerText(s), got)
			}
		}
	})
}

// What the SDKs and their older releases have written, as the reference lists it.
func TestParseCheckpoint(t *testing.T) {
	at := func(sequence int64, offset string) hubferry.Position {
		return hubferry.Position{Sequence: sequence, Offset: offset}
	}
	for name, c := range map[string]struct {
		meta metadata
		want hubferry.Position
		err  string
	}{
		"both":                     {metadata{"sequencenumber": "10", "offset": "100"}, at(10, "100"), ""},
		".NET with client id":      {metadata{"sequencenumber": "10", "offset": "100", "clientidentifier": "x"}, at(10, "100"), ""},
		"sequence only":            {metadata{"sequencenumber": "10"}, at(10, ""), ""},
		".NET 5.11.0 to 2":         {metadata{"sequencenumber": "10", "offset": ""}, at(10, ""), ""},
		".NET 5.11.3 to 6":         {metadata{"sequencenumber": "10", "offset": "no offset"}, at(10, ""), ""},
		"Python without an offset": {metadata{"sequencenumber": "10", "offset": "None"}, at(10, ""), ""},
		"opaque":                   {metadata{"sequencenumber": "10", "offset": "1:cnVzaA==;7"}, at(10, "1:cnVzaA==;7"), ""},
		"older Java and .NET":      {metadata{"SequenceNumber": "10", "Offset": "100"}, at(10, "100"), ""},
		".NET preview":             {metadata{"sequence_number": "10", "offset": "100"}, at(10, "100"), ""},
		"start of the stream":      {metadata{"sequencenumber": "-1", "offset": "-1"}, at(-1, "-1"), ""},
		"start without a sequence": {metadata{"offset": "-1"}, at(-1, ""), ""},
		"beyond doubles":           {metadata{"sequencenumber": "9007199254740993", "offset": "1"}, at(9007199254740993, "1"), ""},
		"cleared":                  {metadata{"sequencenumber": "", "offset": ""}, at(0, ""), "neither"},
		"placeholders":             {metadata{"sequencenumber": "None", "offset": "No Offset"}, at(0, ""), "neither"},
		"no metadata":              {metadata{}, at(0, ""), "neither"},
		"offset only":              {metadata{"offset": "100"}, at(0, ""), "no sequence number"},
		"no number":                {metadata{"sequencenumber": "abc", "offset": "100"}, at(0, ""), "no number"},
		"half a number":            {metadata{"sequencenumber": "10abc", "offset": "100"}, at(0, ""), "no number"},
		"too large":                {metadata{"sequencenumber": "9223372036854775808", "offset": "100"}, at(0, ""), "no number"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseCheckpoint(c.meta)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || got != c.want {
				t.Errorf("%v and %v, want %v and %q", got, err, c.want, c.err)
			}
		})
	}
}

// The record beside a checkpoint counts for that checkpoint and later ones (G-7).
func TestJoin(t *testing.T) {
	made, modified := time.Unix(1000, 0).UTC(), time.Unix(2000, 0).UTC()
	marks := map[string]hubferry.Position{"east/h/0": {Sequence: 70}}
	whole := hubferry.Checkpoint{
		Position: hubferry.Position{Sequence: 10, Offset: "100"}, Incarnation: "one", Time: made, Clean: true, Marks: marks,
		States: map[string][]byte{"engine.task": []byte("t"), "chain": {1}},
	}
	e, err := newExtra(&whole)
	if err != nil {
		t.Fatal(err)
	}
	engine := map[string][]byte{"engine.task": []byte("t")}
	for name, c := range map[string]struct {
		at    hubferry.Position
		extra *extra
		want  hubferry.Checkpoint
	}{
		"none":       {hubferry.Position{Sequence: 10, Offset: "100"}, nil, hubferry.Checkpoint{Position: hubferry.Position{Sequence: 10, Offset: "100"}, Time: modified}},
		"the same":   {hubferry.Position{Sequence: 10, Offset: "100"}, e, whole},
		"later":      {hubferry.Position{Sequence: 11, Offset: "110"}, e, hubferry.Checkpoint{Position: hubferry.Position{Sequence: 11, Offset: "110"}, Incarnation: "one", Time: modified, Marks: marks, States: engine}},
		"moved back": {hubferry.Position{Sequence: 9, Offset: "90"}, e, hubferry.Checkpoint{Position: hubferry.Position{Sequence: 9, Offset: "90"}, Incarnation: "one", Time: modified, States: engine}},
	} {
		if diff := cmp.Diff(c.want, join(c.at, c.extra, modified)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// FuzzExtra writes a record and reads it, in metadata or in a body.
func FuzzExtra(f *testing.F) {
	f.Add(int64(5), int32(1), "77309411", "2026-11-01", int64(1700000000123456789), true, "east/h/0", "dedupe", []byte{0, 255}, 1)
	f.Add(int64(-1), int32(-1), "", "", int64(0), false, "", "", []byte(nil), 300)
	f.Add(int64(1)<<62, int32(0), "1:opaque;%2F\x00\xff", "x", int64(-1), false, "a%2Fb\u2028 \U0001F600", "\"<&>", []byte("{}"), 2)
	f.Fuzz(func(t *testing.T, seq int64, epoch int32, offset, incarnation string, nanos int64, clean bool, path, name string, state []byte, n int) {
		want := hubferry.Checkpoint{
			Position:    hubferry.Position{Sequence: seq, Offset: offset, Epoch: epoch},
			Incarnation: incarnation, Clean: clean, States: map[string][]byte{name: state}, Marks: map[string]hubferry.Position{},
		}
		for i := range max(0, n%500) {
			want.Marks[path+strings.Repeat("x", i)] = hubferry.Position{Sequence: seq - int64(i), Epoch: epoch}
		}
		if nanos != 0 {
			want.Time = time.Unix(0, nanos).UTC()
		}
		e, err := newExtra(&want)
		if err != nil {
			for _, s := range []string{offset, incarnation, path, name} {
				if !utf8.ValidString(s) {
					return
				}
			}
			t.Fatal(err)
		}
		value, body, err := e.encode()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []byte(value) {
			if c <= ' ' || c >= 0x7f {
				t.Fatalf("%q is not fit for a header", value)
			}
		}
		if len(value) > maxMetadata && len(offset)+len(incarnation) < maxMetadata/16 {
			t.Fatalf("%d bytes of metadata", len(value))
		}
		text := []byte(value)
		if body != nil {
			text = body
		}
		again, err := parseExtra(text)
		if err != nil {
			t.Fatal(err)
		}
		at, err := parseCheckpoint(checkpointMetadata(want.Position, nil))
		if err != nil {
			return // an offset that is a placeholder of another SDK
		}
		got := join(at, again, time.Time{})
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// FuzzParse reads what nobody checked.
func FuzzParse(f *testing.F) {
	f.Add("10", "100", `{"sequence":10,"offset":"100","marks":{"a":{"sequence":1}},"states":{"x":"AA=="}}`)
	f.Add("None", "no offset", "{")
	f.Fuzz(func(_ *testing.T, sequence, offset, text string) {
		at, err := parseCheckpoint(metadata{"sequencenumber": sequence, "offset": offset})
		if err != nil {
			return
		}
		if e, err := parseExtra([]byte(text)); err == nil {
			_ = join(at, e, time.Time{})
		}
	})
}
