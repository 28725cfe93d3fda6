package eventhubs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/hub"
	ours "github.com/hubferry/hubferry/internal/amqp"
)

// asError returns the classified error.
func asError(t *testing.T, err error) *hubferry.Error {
	t.Helper()
	e, ok := errors.AsType[*hubferry.Error](err)
	if !ok {
		t.Fatalf("%v is not classified", err)
	}
	return e
}

// batchBodies returns the bodies of the messages in a batch.
func batchBodies(t testing.TB, msg []byte) (bodies []string) {
	t.Helper()
	s, err := ours.Scan(msg)
	if err != nil {
		t.Fatal(err)
	}
	for inner := range ours.BatchMessages(s.Body.Of(msg)) {
		e := rawEvent(t, inner)
		c, err := e.Content()
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, string(c.Body))
	}
	return bodies
}

// TestOutcomes has the service answer a batch in every way there is.
func TestOutcomes(t *testing.T) { eachClient(t, testOutcomes) }

func testOutcomes(t *testing.T) {
	answer := func(state ours.State) func(c *peerConn, ch uint16, handle, id uint32) {
		return func(c *peerConn, ch uint16, _, id uint32) { c.dispose(ch, id, state) }
	}
	rejected := func(cond ours.Symbol, text string) func(c *peerConn, ch uint16, handle, id uint32) {
		return answer(ours.Rejected(&ours.Error{Condition: cond, Description: text}))
	}
	detached := func(e *ours.Error) func(c *peerConn, ch uint16, handle, id uint32) {
		return func(c *peerConn, ch uint16, handle, _ uint32) { c.detach(ch, handle, e) }
	}
	for _, c := range []struct {
		name   string
		answer func(c *peerConn, ch uint16, handle, id uint32)
		kind   hubferry.ErrorKind
		unsure bool
		after  time.Duration
		text   string
	}{
		{name: "released", answer: answer(ours.State{Code: ours.CodeReleased}), kind: hubferry.Transient, text: "did not take"},
		{name: "modified", answer: answer(ours.State{Code: ours.CodeModified, DeliveryFailed: true}), kind: hubferry.Transient, text: "did not take"},
		{name: "no state", answer: answer(ours.State{}), kind: hubferry.Transient, unsure: true, text: "without saying how"},
		{name: "received only", answer: answer(ours.State{Code: ours.CodeReceived}), kind: hubferry.Transient, unsure: true},
		{name: "rejected without an error", answer: answer(ours.State{Code: ours.CodeRejected}), kind: hubferry.Transient},
		{name: "busy", answer: rejected(ours.ErrServerBusy, "being throttled"), kind: hubferry.Throttled, after: busyPause, text: "throughput units"},
		{name: "too large", answer: rejected(ours.ErrMessageSizeExceeded, "size"), kind: hubferry.TooLarge},
		{name: "refused", answer: rejected(ours.ErrArgumentError, "no"), kind: hubferry.Refused},
		{name: "not authorised", answer: rejected(ours.ErrUnauthorizedAccess, "'Send' claim(s) are required"), kind: hubferry.Unauthorized, text: "right to send"},
		{name: "unknown condition", answer: rejected("com.example:new", "?"), kind: hubferry.Transient},
		{name: "detached", answer: detached(&ours.Error{Condition: ours.ErrDetachForced}), kind: hubferry.Transient, unsure: true},
		{name: "detached as too large", answer: detached(&ours.Error{Condition: ours.ErrMessageSizeExceeded}), kind: hubferry.TooLarge},
		{name: "detached as gone", answer: detached(&ours.Error{Condition: ours.ErrNotFound}), kind: hubferry.NotFound, unsure: true},
		{name: "detached without an error", answer: detached(nil), kind: hubferry.Transient, unsure: true},
		{name: "connection cut", answer: func(c *peerConn, _ uint16, _, _ uint32) { _ = c.conn.Close() }, kind: hubferry.Transient, unsure: true},
		{
			name: "session ended", kind: hubferry.Transient, unsure: true,
			answer: func(c *peerConn, ch uint16, _, _ uint32) {
				c.ended[ch] = true
				c.send(ch, &ours.End{Error: &ours.Error{Condition: ours.ErrInternalError}})
			},
		},
		{name: "no answer", answer: func(*peerConn, uint16, uint32, uint32) {}, kind: hubferry.Transient, unsure: true, text: "sendTimeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := startPeer(t)
			p.onBatch = func(conn *peerConn, ch uint16, handle, id uint32, _ []byte) { c.answer(conn, ch, handle, id) }
			w := openWriter(t, connect(t, p.options(), hubferry.Env{}), &TargetOptions{SendTimeout: 2 * time.Second})
			receipt, err := w.Write(withTimeout(t), hubferry.Run{Partition: 1, Events: bodies("a")})
			e := asError(t, err)
			if receipt.N != 0 || e.Kind != c.kind || e.Unsure != c.unsure || e.After != c.after || !strings.Contains(e.Error(), c.text) {
				t.Errorf("N=%d, kind %v, unsure %v, after %v: %v", receipt.N, e.Kind, e.Unsure, e.After, e)
			}
			// Whatever it was, the writer goes on when the service does.
			p.set(func(p *peer) {
				p.onBatch = func(c *peerConn, ch uint16, _, id uint32, _ []byte) { c.dispose(ch, id, ours.Accepted()) }
			})
			if receipt, err = w.Write(withTimeout(t), hubferry.Run{Partition: 1, Events: bodies("b", "c")}); err != nil || receipt.N != 2 {
				t.Errorf("afterwards: %d, %v", receipt.N, err)
			}
		})
	}
}

// frozen is a context whose deadline has passed while no timer could run: that of a process
// that was stopped meanwhile.
type frozen struct{ context.Context }

func (frozen) Deadline() (time.Time, bool) { return time.Now().Add(-time.Second), true }

// TestFrozenProcessSendsNothing checks that a batch that has missed its deadline is not sent
// any more, and says so: others may rely on it (G-9).
func TestFrozenProcessSendsNothing(t *testing.T) { eachClient(t, testFrozenProcessSendsNothing) }

func testFrozenProcessSendsNothing(t *testing.T) {
	s := startServer(t, nil)
	c := connect(t, s.options(), hubferry.Env{})
	w := openWriter(t, c, &TargetOptions{})
	if _, err := w.Write(withTimeout(t), hubferry.Run{Events: bodies("a")}); err != nil { // the link is there
		t.Fatal(err)
	}
	receipt, err := w.Write(frozen{withTimeout(t)}, hubferry.Run{Events: bodies("b")})
	if e := asError(t, err); receipt.N != 0 || e.Unsure || e.Kind != hubferry.Transient {
		t.Errorf("N=%d, unsure %v, kind %v: %v", receipt.N, e.Unsure, e.Kind, e)
	}
	infos, err := w.Partitions(withTimeout(t))
	if err != nil || infos[0].End.Sequence != 0 {
		t.Errorf("the hub ends at %d, %v, want 0: the batch was sent", infos[0].End.Sequence, err)
	}
	if l, err := w.Layout(withTimeout(t)); err != nil || l.Late != time.Minute {
		t.Errorf("batches may be late by %s, %v, want the default of sendTimeout", l.Late, err)
	}
}

// TestNothingSentIsNotUnsure checks that only a batch that may be stored is in doubt.
func TestNothingSentIsNotUnsure(t *testing.T) { eachClient(t, testNothingSentIsNotUnsure) }

func testNothingSentIsNotUnsure(t *testing.T) {
	t.Run("no credit", func(t *testing.T) {
		p := startPeer(t)
		c := connect(t, p.options(), hubferry.Env{})
		w := openWriter(t, c, &TargetOptions{SendTimeout: 300 * time.Millisecond})
		if _, err := w.Layout(withTimeout(t)); err != nil {
			t.Fatal(err)
		}
		p.set(func(p *peer) { p.credit = 0 })
		_, err := w.Write(withTimeout(t), hubferry.Run{Events: bodies("a")})
		if e := asError(t, err); e.Unsure || e.Kind != hubferry.Transient {
			t.Errorf("unsure %v, kind %v: %v", e.Unsure, e.Kind, e)
		}
	})
	t.Run("link lost before", func(t *testing.T) {
		p := startPeer(t)
		written := make(chan struct{})
		p.onBatch = func(c *peerConn, ch uint16, _, id uint32, _ []byte) {
			c.dispose(ch, id, ours.Accepted())
			select {
			case <-written: // in one read with the detach, go-amqp would drop the answer
			case <-t.Context().Done():
			}
			c.detach(ch, 0, &ours.Error{Condition: ours.ErrDetachForced, Description: "idle"})
		}
		w := openWriter(t, connect(t, p.options(), hubferry.Env{}), &TargetOptions{})
		for range 3 { // each finds the link gone
			if receipt, err := w.Write(withTimeout(t), hubferry.Run{Events: bodies("a")}); err != nil || receipt.N != 1 {
				t.Fatalf("%d, %v", receipt.N, err)
			}
			written <- struct{}{}
			for w.lanes["0"].sender.Alive(t.Context()) {
				time.Sleep(time.Millisecond)
			}
		}
	})
	t.Run("cancelled before", func(t *testing.T) {
		p := startPeer(t)
		w := openWriter(t, connect(t, p.options(), hubferry.Env{}), &TargetOptions{})
		if _, err := w.Layout(withTimeout(t)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := w.Write(ctx, hubferry.Run{Events: bodies("a")})
		if e := asError(t, err); e.Unsure || !errors.Is(err, context.Canceled) {
			t.Errorf("unsure %v: %v", e.Unsure, err)
		}
	})
}

// TestRejectedBatchIsDivided checks that the one event is found that the service does
// not take, although it rejects the batch that the event is in.
func TestRejectedBatchIsDivided(t *testing.T) { eachClient(t, testRejectedBatchIsDivided) }

func testRejectedBatchIsDivided(t *testing.T) {
	for _, c := range []struct {
		name string
		cond ours.Symbol
		kind hubferry.ErrorKind
	}{
		{"refused", ours.ErrArgumentError, hubferry.Refused},
		{"too large", ours.ErrMessageSizeExceeded, hubferry.TooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := startPeer(t)
			var stored []string
			p.onBatch = func(conn *peerConn, ch uint16, _, id uint32, msg []byte) {
				got := batchBodies(t, msg)
				if strings.Contains(strings.Join(got, ""), "bad") {
					conn.dispose(ch, id, ours.Rejected(&ours.Error{Condition: c.cond}))
					return
				}
				stored = append(stored, got...)
				conn.dispose(ch, id, ours.Accepted())
			}
			w := openWriter(t, connect(t, p.options(), hubferry.Env{}), &TargetOptions{})
			events := bodies("0", "1", "2", "bad", "4", "5")
			receipt, err := w.Write(withTimeout(t), hubferry.Run{Events: events})
			if e := asError(t, err); receipt.N != 3 || e.Kind != c.kind || e.Unsure {
				t.Fatalf("N=%d, kind %v, unsure %v: %v", receipt.N, e.Kind, e.Unsure, e)
			}
			if receipt, err = w.Write(withTimeout(t), hubferry.Run{Events: events[4:]}); err != nil || receipt.N != 2 {
				t.Fatalf("%d, %v", receipt.N, err)
			}
			if got := strings.Join(stored, " "); got != "0 1 2 4 5" {
				t.Errorf("stored %s", got)
			}
		})
	}
}

// TestServiceLimitBelowLink is a service that takes less than its links say.
func TestServiceLimitBelowLink(t *testing.T) { eachClient(t, testServiceLimitBelowLink) }

func testServiceLimitBelowLink(t *testing.T) {
	p := startPeer(t)
	const limit = 3000
	n := 0
	p.onBatch = func(c *peerConn, ch uint16, _, id uint32, msg []byte) {
		if len(msg) > limit {
			c.dispose(ch, id, ours.Rejected(&ours.Error{Condition: ours.ErrMessageSizeExceeded}))
			return
		}
		n += len(batchBodies(t, msg))
		c.dispose(ch, id, ours.Accepted())
	}
	w := openWriter(t, connect(t, p.options(), hubferry.Env{}), &TargetOptions{})
	var texts []string
	for range 500 {
		texts = append(texts, strings.Repeat("x", 500))
	}
	receipt, err := w.Write(withTimeout(t), hubferry.Run{Events: bodies(texts...)})
	if err != nil || receipt.N != 500 || n != 500 {
		t.Errorf("N=%d, stored %d, %v", receipt.N, n, err)
	}
}

// TestSizesToTheByte fills messages to exactly what a link allows.
func TestSizesToTheByte(t *testing.T) { eachClient(t, testSizesToTheByte) }

func testSizesToTheByte(t *testing.T) {
	const limit = 10000
	p := startPeer(t)
	var largest int
	p.onBatch = func(c *peerConn, ch uint16, _, id uint32, msg []byte) {
		largest = max(largest, len(msg))
		c.dispose(ch, id, ours.Accepted())
	}
	p.maxMessage = limit
	w := openWriter(t, connect(t, p.options(), hubferry.Env{}), &TargetOptions{})
	// One event: data section of the batch (8), data section of the event (8).
	fits := limit - 16
	if receipt, err := w.Write(withTimeout(t), hubferry.Run{Events: bodies(strings.Repeat("x", fits))}); err != nil || receipt.N != 1 || largest != limit {
		t.Fatalf("an event of exactly the limit: N=%d, a message of %d bytes, %v", receipt.N, largest, err)
	}
	receipt, err := w.Write(withTimeout(t), hubferry.Run{Events: bodies("first", strings.Repeat("x", fits+1), "last")})
	if e := asError(t, err); receipt.N != 1 || e.Kind != hubferry.TooLarge || !strings.Contains(e.Error(), "10001 bytes") {
		t.Errorf("one byte more: N=%d, %v", receipt.N, err)
	}
	// Two that fill a batch together, and two that do not fit one.
	half := limit/2 - 16
	largest = 0
	if _, err := w.Write(withTimeout(t), hubferry.Run{Events: bodies(strings.Repeat("x", half), strings.Repeat("x", half))}); err != nil || largest != limit {
		t.Errorf("two halves: a message of %d bytes, %v", largest, err)
	}
	largest = 0
	if _, err := w.Write(withTimeout(t), hubferry.Run{Events: bodies(strings.Repeat("x", half), strings.Repeat("x", half+1))}); err != nil || largest != limit/2+1 {
		t.Errorf("a byte more than two halves: a message of %d bytes, %v", largest, err)
	}
	capped := openWriter(t, w.c, &TargetOptions{MaxMessageSize: 5000})
	receipt, err = capped.Write(withTimeout(t), hubferry.Run{Events: bodies(strings.Repeat("x", 4985))})
	if e := asError(t, err); receipt.N != 0 || e.Kind != hubferry.TooLarge {
		t.Errorf("over maxMessageSize: N=%d, %v", receipt.N, err)
	}
}

// TestBatchesFollowTheBudget checks that many writers send smaller batches (INV-6), and
// that a large event passes all the same.
func TestBatchesFollowTheBudget(t *testing.T) { eachClient(t, testBatchesFollowTheBudget) }

func testBatchesFollowTheBudget(t *testing.T) {
	p := startPeer(t)
	var largest int
	p.onBatch = func(c *peerConn, ch uint16, _, id uint32, msg []byte) {
		largest = max(largest, len(msg))
		c.dispose(ch, id, ours.Accepted())
	}
	w := openWriter(t, connect(t, p.options(), hubferry.Env{Budget: 600 << 10}), &TargetOptions{})
	var texts []string
	for range 1000 {
		texts = append(texts, strings.Repeat("x", 1000))
	}
	if _, err := w.Write(withTimeout(t), hubferry.Run{Events: bodies(texts...)}); err != nil || largest > 100<<10 || largest < 90<<10 {
		t.Errorf("a batch of %d bytes, want a sixth of the budget; %v", largest, err)
	}
	if _, err := w.Write(withTimeout(t), hubferry.Run{Events: bodies(strings.Repeat("x", 1<<20-100))}); err != nil {
		t.Error(err)
	}
}

func TestPartitionsGrow(t *testing.T) { eachClient(t, testPartitionsGrow) }

func testPartitionsGrow(t *testing.T) {
	p := startPeer(t)
	var addresses []string
	p.onAttach = func(_ *peerConn, _ uint16, a *ours.Attach) bool {
		addresses = append(addresses, a.Target.Address)
		return false
	}
	w := openWriter(t, connect(t, p.options(), hubferry.Env{}), &TargetOptions{})
	layout, err := w.Layout(withTimeout(t))
	if err != nil || len(layout.Places) != 4 {
		t.Fatalf("%d places, %v", len(layout.Places), err)
	}
	_, err = w.Write(withTimeout(t), hubferry.Run{Partition: 10, Events: bodies("a")})
	if asError(t, err).Kind != hubferry.NotFound {
		t.Errorf("a partition that does not exist: %v", err)
	}
	p.set(func(p *peer) { p.partitions = []string{"10", "0", "2", "1", "3", "4", "5", "6", "7", "8", "9"} })
	if _, err = w.Write(withTimeout(t), hubferry.Run{Partition: 10, Events: bodies("a")}); err != nil {
		t.Error(err)
	}
	if len(addresses) != 1 || addresses[0] != testHub+"/Partitions/10" {
		t.Errorf("links to %q", addresses)
	}
	again, err := w.Layout(withTimeout(t))
	if err != nil || len(again.Places) != 11 || again.Places[3] != layout.Places[3] || again.Places[10].Partition != "10" {
		t.Errorf("layout afterwards: %v, %v", again.Places, err)
	}
	p.set(func(p *peer) { p.created++ })
	again, err = w.Layout(withTimeout(t))
	if err != nil || again.Places[3].Incarnation == layout.Places[3].Incarnation {
		t.Errorf("the incarnation of a hub that was created anew: %v, %v", again.Places[3], err)
	}
}

// TestFaultsOfTheHub goes through what the embedded hub can do to a batch, and compares
// what the writer says with what is there.
func TestFaultsOfTheHub(t *testing.T) { eachClient(t, testFaultsOfTheHub) }

func testFaultsOfTheHub(t *testing.T) {
	for _, c := range []struct {
		fault  hub.Fault
		kind   hubferry.ErrorKind
		unsure bool
		stored int
	}{
		{hub.Fault{Kind: hub.FaultRefuse}, hubferry.Throttled, false, 0},
		{hub.Fault{Kind: hub.FaultRefuse, Condition: hub.InternalError}, hubferry.Transient, false, 0},
		{hub.Fault{Kind: hub.FaultCutBefore}, hubferry.Transient, true, 0},
		{hub.Fault{Kind: hub.FaultCutAfter}, hubferry.Transient, true, 1},
		{hub.Fault{Kind: hub.FaultNoAnswer}, hubferry.Transient, true, 1},
		{hub.Fault{Kind: hub.FaultDetachBefore}, hubferry.Transient, true, 0},
		{hub.Fault{Kind: hub.FaultDetachAfter}, hubferry.Transient, true, 1},
	} {
		t.Run(fmt.Sprint(c.fault.Kind, c.fault.Condition), func(t *testing.T) {
			s := startServer(t, nil)
			c.fault.Times = 1
			s.faults.Add(c.fault)
			w := openWriter(t, connect(t, s.options(), hubferry.Env{}), &TargetOptions{SendTimeout: time.Second})
			receipt, err := w.Write(withTimeout(t), hubferry.Run{Events: bodies("a")})
			e := asError(t, err)
			if receipt.N != 0 || e.Kind != c.kind || e.Unsure != c.unsure {
				t.Errorf("N=%d, kind %v, unsure %v: %v", receipt.N, e.Kind, e.Unsure, e)
			}
			if n := len(rawReceive(t, s.address, "0")); n != c.stored {
				t.Errorf("%d events are there, want %d", n, c.stored)
			}
			if receipt, err = w.Write(withTimeout(t), hubferry.Run{Events: bodies("b")}); err != nil || receipt.N != 1 {
				t.Errorf("afterwards: %d, %v", receipt.N, err)
			}
		})
	}
}
