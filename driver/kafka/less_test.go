package kafka_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/kafka"
)

// noProducers makes the cluster refuse producer ids, as services do that speak the protocol
// without all of it, and counts the questions.
func (c *cluster) noProducers(code *kerr.Error) *atomic.Int32 {
	var asked atomic.Int32
	c.ControlKey(int16(kmsg.InitProducerID), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		asked.Add(1)
		init, ok := req.(*kmsg.InitProducerIDRequest)
		if !ok {
			return nil, nil, false
		}
		resp, ok := init.ResponseKind().(*kmsg.InitProducerIDResponse)
		if ok {
			resp.ErrorCode = code.Code
		}
		return resp, nil, true
	})
	return &asked
}

func writerWith(t *testing.T, c *cluster, o *kafka.TargetOptions) hubferry.Writer {
	t.Helper()
	target, err := connect(t, c.options(), hubferry.Env{}).Target(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.Close(context.WithoutCancel(t.Context())) })
	w, err := target.Open(t.Context(), topicName, hubferry.Trail{})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// What a service lacks is told with the setting that does without it.
func TestServiceWithoutIdempotence(t *testing.T) {
	c := newCluster(t)
	asked := c.noProducers(kerr.UnsupportedVersion)
	w := writerWith(t, c, &kafka.TargetOptions{})
	_, err := w.Write(t.Context(), hubferry.Run{Events: named(0, 1)})
	if hubferry.KindOf(err) != hubferry.Fatal || !strings.Contains(fmt.Sprint(err), "idempotence: off") {
		t.Errorf("%v, of kind %v", err, hubferry.KindOf(err))
	}
	before := asked.Load()
	w = writerWith(t, c, &kafka.TargetOptions{Idempotence: kafka.IdempotenceOff})
	for i := range 3 {
		if _, err := w.Write(t.Context(), hubferry.Run{Events: named(2*i, 2)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(c.bodies(t)); got != "[0 1 2 3 4 5]" || asked.Load() != before {
		t.Errorf("%s; asked for a producer id: %v", got, asked.Load() != before)
	}
	if _, err := committer(t, w).Adopt(t.Context(), sourceID); hubferry.KindOf(err) != hubferry.Fatal || !strings.Contains(fmt.Sprint(err), "idempotence") {
		t.Errorf("%v", err)
	}
}

// A service may refuse idempotence in several ways: it does not know the request, keeps the
// user from it, or refuses the batches.
func TestIdempotenceThatIsRefused(t *testing.T) {
	old := kversion.Stable()
	old.SetMaxKeyVersion(int16(kmsg.InitProducerID), -1)
	for name, tt := range map[string]struct {
		opts   []kfake.Opt
		refuse func(c *cluster)
		kind   hubferry.ErrorKind
		want   string
	}{
		"unknown":   {[]kfake.Opt{kfake.MaxVersions(old)}, func(*cluster) {}, hubferry.Fatal, "InitProducerID (the service refuses idempotent producers: set the target's idempotence: off)"},
		"forbidden": {nil, func(c *cluster) { c.noProducers(kerr.ClusterAuthorizationFailed) }, hubferry.Unauthorized, "give the user IdempotentWrite on the cluster, or set the target's idempotence: off"},
		"the batch": {nil, func(c *cluster) {
			c.refuse(func(int) *kerr.Error { return kerr.UnsupportedForMessageFormat })
		}, hubferry.Fatal, "the service takes no idempotent producers: for them set the target's idempotence: off"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, tt.opts...)
			tt.refuse(c)
			_, err := writerWith(t, c, &kafka.TargetOptions{}).Write(t.Context(), hubferry.Run{Events: named(0, 1)})
			if hubferry.KindOf(err) != tt.kind || !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("%v, of kind %v", err, hubferry.KindOf(err))
			}
		})
	}
	t.Run("transactions", func(t *testing.T) {
		w := committer(t, writerWith(t, newCluster(t, kfake.MaxVersions(old)), &kafka.TargetOptions{}))
		if _, err := w.Adopt(t.Context(), sourceID); hubferry.KindOf(err) != hubferry.Fatal || !strings.Contains(fmt.Sprint(err), "reads the target's end") {
			t.Errorf("%v, of kind %v", err, hubferry.KindOf(err))
		}
	})
}

// Without idempotence a batch whose answer is missing is not sent again by the driver: it
// may be there, and the engine must know (G-9).
func TestNothingIsRepeatedWithoutIdempotence(t *testing.T) {
	c := newCluster(t)
	w := writerWith(t, c, &kafka.TargetOptions{Idempotence: kafka.IdempotenceOff})
	var requests atomic.Int32
	c.refuse(func(int) *kerr.Error {
		requests.Add(1)
		return kerr.RequestTimedOut
	})
	_, err := w.Write(t.Context(), hubferry.Run{Events: named(0, 1)})
	e, ok := err.(*hubferry.Error) //nolint:errorlint // the driver returns it bare
	if !ok || e.Kind != hubferry.Transient || !e.Unsure || requests.Load() != 1 {
		t.Errorf("%v after %d requests", err, requests.Load())
	}
}

func TestServiceWithoutTransactions(t *testing.T) {
	for code, want := range map[*kerr.Error]string{
		kerr.UnsupportedVersion:                 "reads the target's end",
		kerr.InvalidRequest:                     "reads the target's end",
		kerr.TransactionalIDAuthorizationFailed: "transactional ids that begin with hubferry",
		kerr.InvalidTransactionTimeout:          "transactionTimeout",
	} {
		t.Run(code.Message, func(t *testing.T) {
			c := newCluster(t)
			c.noProducers(code)
			_, err := committer(t, writerWith(t, c, &kafka.TargetOptions{})).Adopt(t.Context(), sourceID)
			if kind := hubferry.KindOf(err); kind == hubferry.Transient || kind == hubferry.Lost || !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("%v, of kind %v", err, kind)
			}
		})
	}
}

func TestCompressionThatIsRefused(t *testing.T) {
	c := newCluster(t)
	w := writerWith(t, c, &kafka.TargetOptions{Compression: kafka.CompressionLZ4})
	c.refuse(func(int) *kerr.Error { return kerr.UnsupportedCompressionType })
	_, err := w.Write(t.Context(), hubferry.Run{Events: named(0, 3)})
	if hubferry.KindOf(err) != hubferry.Fatal || !strings.Contains(fmt.Sprint(err), "compression") {
		t.Errorf("%v, of kind %v", err, hubferry.KindOf(err))
	}
}

// Every codec is one that readers understand.
func TestCompressions(t *testing.T) {
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			c := newCluster(t)
			w := writerWith(t, c, &kafka.TargetOptions{Compression: codec})
			events := named(0, 500)
			if _, err := w.Write(t.Context(), hubferry.Run{Events: events}); err != nil {
				t.Fatal(err)
			}
			if got := c.bodies(t); len(got) != 500 || got[499] != "499" {
				t.Errorf("%d events, the last is %s", len(got), got[len(got)-1])
			}
		})
	}
}

// Each source partition has a transactional id of its own, and all share the connections.
func TestTransactionsShareConnections(t *testing.T) {
	c := newCluster(t)
	w := committer(t, writerWith(t, c, &kafka.TargetOptions{}))
	count := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.conns)
	}
	var few int
	for i := range 60 {
		id := sourceID
		id.Partition = fmt.Sprint(i)
		if _, err := w.Adopt(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(t.Context(), id, []hubferry.Run{{Partition: i % partitions, Events: named(i, 1)}}, nil, at(1)); err != nil {
			t.Fatal(err)
		}
		if i == 5 {
			few = count()
		}
	}
	if n := count(); n > few+4 { // a broker that was not asked before
		t.Errorf("%d connections for 6 source partitions became %d for 60", few, n)
	}
}
