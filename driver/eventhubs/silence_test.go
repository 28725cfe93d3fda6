package eventhubs

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
)

// deaf is a connection on which nothing comes any more once it is told so.
type deaf struct {
	net.Conn
	now atomic.Bool
}

func (d *deaf) Read(b []byte) (int, error) {
	for {
		n, err := d.Conn.Read(b)
		if err != nil || !d.now.Load() {
			return n, err
		}
	}
}

// TestSilentPeer sees that an operator learns who was silent for how long, and what to do,
// whatever the stream below makes of it.
func TestSilentPeer(t *testing.T) { eachClient(t, testSilentPeer) }

func testSilentPeer(t *testing.T) {
	for _, transport := range []string{TransportAMQP, TransportWebSocket} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, nil)
			o := s.options()
			o.Transport, o.IdleTimeout = transport, minIdleTimeout
			var d atomic.Pointer[deaf]
			c := connect(t, o, hubferry.Env{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
				one := &deaf{Conn: nc}
				d.Store(one)
				return one, err
			}})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			src := openSource(t, c)
			r, err := src.Open(ctx, testPlace("0"), hubferry.Position{Sequence: -1}, hubferry.NoEpoch)
			for err != nil && hubferry.KindOf(err) == hubferry.Transient && ctx.Err() == nil { // a machine that is busy is silent as long
				r, err = src.Open(ctx, testPlace("0"), hubferry.Position{Sequence: -1}, hubferry.NoEpoch)
			}
			if err != nil {
				t.Fatal(err)
			}
			d.Load().now.Store(true)
			b := hubferry.Batch{Limit: hubferry.Limit{Events: 1, Bytes: 1 << 20}}
			e := asError(t, r.Read(ctx, &b))
			if e.Kind != hubferry.Transient {
				t.Errorf("kind %v", e.Kind)
			}
			for _, part := range []string{"nothing was heard of " + s.address + " for 2s", "read", "/0", "idleTimeout"} {
				if !strings.Contains(e.Error(), part) {
					t.Errorf("%q is missing: %v", part, e)
				}
			}
		})
	}
}
