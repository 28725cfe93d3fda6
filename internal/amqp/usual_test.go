package amqp

import "testing"

// The way that is taken for usual map sections finds what the general one finds.
func FuzzMapSection(f *testing.F) {
	for _, s := range [][]byte{
		{},
		{0, 0x53, 0x74},
		{0, 0x53, 0x74, 0x40},
		{0, 0x53, 0x74, 0xc1, 1, 0},
		{0, 0x53, 0x74, 0xc1, 0, 0},
		{0, 0x53, 0x74, 0xc1, 5, 2, 0xa1, 1, 'a', 0x41},
		{0, 0x53, 0x74, 0xc1, 5, 3, 0xa1, 1, 'a', 0x41},
		{0, 0x53, 0x74, 0xc1, 5, 6, 0xa1, 1, 'a', 0x41},
		{0, 0x53, 0x74, 0xc1, 9, 2, 0xa1, 1, 'a', 0x41},
		{0, 0x53, 0x74, 0xc1, 5, 2, 0xa1, 1, 'a', 0x41, 0x40},
		{0, 0x53, 0x74, 0xd1, 0, 0, 0, 8, 0, 0, 0, 2, 0xa1, 1, 'a', 0x41},
		{0, 0x53, 0x74, 0xd1, 0, 0, 0, 3, 0, 0, 0, 2, 0xa1, 1, 'a', 0x41},
		{0, 0x53, 0x74, 0xd1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2, 0xa1, 1, 'a', 0x41},
		{0, 0x53, 0x74, 0xd1, 0, 0, 0, 8, 0xff, 0xff, 0xff, 0xfe, 0xa1, 1, 'a', 0x41},
		{0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x74, 0xc1, 5, 2, 0xa1, 1, 'a', 0x41},
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, section []byte) {
		items, pairs, err := MapSection(section)
		d := NewDecoder(section)
		d.Descriptor()
		var want Decoder
		var n int
		if !d.Null() {
			want, n = d.Map()
		}
		if len(section) == 0 {
			d.err = nil
		}
		if (err != nil) != (d.Err() != nil) || err == nil && (pairs != n || string(items.Rest()) != string(want.Rest())) {
			t.Errorf("% x: %d pairs of % x, %v; want %d of % x, %v", section, pairs, items.Rest(), err, n, want.Rest(), d.Err())
		}
	})
}

// Text reads short texts and others alike.
func FuzzText(f *testing.F) {
	f.Add([]byte{0xa1, 1, 'a', 0x40})
	f.Add([]byte{0xa1, 2, 'a'})
	f.Add([]byte{0xa3, 0})
	f.Add([]byte{0xa1})
	f.Add([]byte{0xb1, 0, 0, 0, 1, 'a'})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, g := NewDecoder(b), NewDecoder(b)
		text := d.Text()
		c, want := g.take()
		switch c {
		case CodeString8, CodeString32, CodeSymbol8, CodeSymbol32:
		default:
			want = nil
			g.fail("value is not a string or symbol")
		}
		if string(text) != string(want) || d.at != g.at || (d.err != nil) != (g.err != nil) {
			t.Errorf("% x: %q at %d, %v; want %q at %d, %v", b, text, d.at, d.err, want, g.at, g.err)
		}
	})
}
