package amqpclient

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubferry/hubferry/internal/amqp"
)

// asleep is a context with a deadline whose timer does not ring, as in a process that was
// frozen meanwhile.
type asleep struct {
	context.Context
	until time.Time
}

func (a asleep) Deadline() (time.Time, bool) { return a.until, true }

// TestDeadlineOfABegunDelivery passes while the peer has half of a delivery: the rest is not
// sent, although the sender has not been told.
func TestDeadlineOfABegunDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := usual()
		c, p := connect(t, &o, Options{})
		l := newSender(t, begin(t, c, p, 1), p, 0)
		p.send(peerChannel, grant(0, 1, 10))
		ctx, cancel := context.WithCancel(t.Context())
		result := send(asleep{ctx, time.Now().Add(time.Second)}, l, make([]byte, 2000))
		p.expect(&amqp.Transfer{})
		time.Sleep(time.Second)
		p.send(peerChannel, grant(1, 10, 10))
		var tr amqp.Transfer
		if p.expect(&tr); !tr.Aborted {
			t.Errorf("after the deadline comes %+v", tr)
		}
		cancel()
		if a, err := result(); !errors.Is(err, context.Canceled) || a.sent {
			t.Errorf("sent %v, %v", a.sent, err)
		}
		next := send(t.Context(), l, []byte("next"))
		if _, payload := p.expect(&tr); string(payload) != "next" || tr.Aborted {
			t.Errorf("next comes %+v", tr)
		}
		p.send(peerChannel, &amqp.Disposition{Receiver: true, First: tr.DeliveryID.V, Settled: true, State: amqp.Accepted()})
		if _, err := next(); err != nil {
			t.Error(err)
		}
	})
}

// TestDeadlineOnTheWire passes while a delivery is handed to the network, which takes nothing:
// it does not get it afterwards, and what the sender learns is that it may have.
func TestDeadlineOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := usual()
		c, p := connect(t, &o, Options{})
		l := newSender(t, begin(t, c, p, 10), p, 10)
		start := time.Now()
		result := send(asleep{t.Context(), start.Add(time.Second)}, l, []byte("x"))
		a, err := result()
		if e := endOf(t, err); e.What != "connection" || !errors.Is(e, os.ErrDeadlineExceeded) || !a.sent {
			t.Errorf("sent %v, %v", a.sent, err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("it could leave for %v", took)
		}
		if f, err := p.frames.Next(); err == nil {
			t.Errorf("afterwards the peer got % x", f.Body)
		}
	})
}
