package amqpevent

import (
	"testing"
	"time"

	"github.com/hubferry/hubferry"
)

// typical is an event as it is mostly seen: a key, a few properties, a JSON body.
func typical(t testing.TB, body int) []byte {
	t.Helper()
	e := hubferry.NewEvent(&hubferry.Content{
		Body: make([]byte, body),
		Properties: hubferry.Properties{
			{Name: "type", Value: hubferry.String("reading")},
			{Name: "device", Value: hubferry.Int(1234)},
			{Name: "at", Value: hubferry.Timestamp(1700000000000)},
		},
		Message: hubferry.Properties{{Name: hubferry.ContentType, Value: hubferry.Symbol("application/json")}},
	})
	return asReceived(t, encode(t, &e, noTrail), "device-0001", 123456)
}

func BenchmarkParse(b *testing.B) {
	msg := typical(b, 1024)
	b.ReportAllocs()
	for b.Loop() {
		Parse(msg)
	}
}

func BenchmarkDecode(b *testing.B) {
	form, _ := Parse(typical(b, 1024))
	b.ReportAllocs()
	for b.Loop() {
		var c hubferry.Content
		if err := form.Decode(&c); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkEncode(b *testing.B, edited bool) {
	b.Helper()
	form, facts := Parse(typical(b, 1024))
	e := hubferry.NewEncodedEvent(form)
	e.Key, e.Time = facts.Key, time.UnixMilli(1700000000000)
	e.Origin = hubferry.NewPlace("contoso.servicebus.windows.net", "telemetry", "3", "", 3)
	if edited {
		if _, err := e.Edit(); err != nil {
			b.Fatal(err)
		}
	}
	x := NewEncoder(hubferry.Trail{Task: "telemetry", Route: "main"}, nil)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = x.Append(dst[:0], &e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeForm(b *testing.B)    { benchmarkEncode(b, false) }
func BenchmarkEncodeContent(b *testing.B) { benchmarkEncode(b, true) }
