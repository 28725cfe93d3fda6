package kafka

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
)

// A batch that cannot be compressed gives its place in the lane back, so that those after it
// are told the same and do not wait for it.
func TestBatchThatCannotBeCompressed(t *testing.T) {
	c, err := newConnection(&ConnectionOptions{Brokers: []string{"127.0.0.1:1"}}, hubferry.Env{}) // nobody is asked
	if err != nil {
		t.Fatal(err)
	}
	to, err := newTarget(t.Context(), c, TargetOptions{Compression: CompressionSource})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { to.producer.close(); _ = c.Close(context.WithoutCancel(t.Context())) })
	w := newWriter(to, "topic", hubferry.Trail{})
	w.limit = defaultMaxMessage
	w.places = []*hubferry.Place{hubferry.NewPlace("c", "topic", "0", "", 0)}
	f := new(form)
	e := event(f, &kgo.Record{Value: []byte("value"), Timestamp: time.UnixMilli(0)}, hubferry.NewPlace("c", "other", "0", "", 0))
	f.codec = 7 // no codec that there is
	for range laneBatches + 1 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := w.Write(ctx, hubferry.Run{Events: []*hubferry.Event{&e}})
		cancel()
		if err == nil || !strings.Contains(err.Error(), "compression 7") {
			t.Fatalf("error %v", err)
		}
	}
}
