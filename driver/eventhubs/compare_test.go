package eventhubs

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry"
	ours "github.com/hubferry/hubferry/internal/amqp"
)

// recorder keeps what is written to a connection.
type recorder struct {
	net.Conn
	mu   sync.Mutex
	sent []byte
}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	r.sent = append(r.sent, b...)
	r.mu.Unlock()
	return r.Conn.Write(b)
}

// TestSameFrames has both clients do the same, and compares what they write, frame by frame
// and field by field. What may differ is:
//
//   - names that each makes up: of the container, of links, for replies;
//   - the order of the flow that gives credit for replies and of the first request, which are
//     about two links;
//   - the widths in which requests are encoded, and the order of properties in them;
//   - into how many frames a large message is cut, and that go-amqp repeats the id of a
//     delivery in each of them;
//   - later flows, which depend on how much has come when they are made.
//
// docs/amqp.md lists this for operators, and what differs from Microsoft's SDK.
func TestSameFrames(t *testing.T) {
	want, got := framesOf(t, ClientGoAMQP), framesOf(t, ClientNative)
	if len(want) < 20 {
		t.Fatalf("only %d frames:\n%s", len(want), strings.Join(want, "\n"))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("frames (-go-amqp +native):\n%s", diff)
	}
}

// framesOf does something of everything with a client and returns what it wrote.
func framesOf(t *testing.T, client string) []string {
	t.Helper()
	s := startServer(t, nil)
	r := &recorder{}
	o := s.options()
	o.Client, o.ID = client, "same"
	ctx := withTimeout(t)
	c := connect(t, o, hubferry.Env{Instance: "me", Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		var err error
		r.Conn, err = (&net.Dialer{}).DialContext(ctx, network, addr)
		return r, err
	}})
	w := openWriter(t, c, &TargetOptions{})
	for _, body := range []string{"one", strings.Repeat("large", 60_000)} {
		if _, err := w.Write(ctx, hubferry.Run{Partition: 1, Events: bodies(body, "and more")}); err != nil {
			t.Fatal(err)
		}
	}
	src := openSource(t, c)
	if _, err := src.Open(ctx, testPlace("9"), hubferry.Position{Sequence: -1}, 3); err == nil {
		t.Fatal("there is no partition 9")
	}
	reader, err := src.Open(ctx, testPlace("1"), hubferry.Position{Sequence: 0}, 3)
	if err != nil {
		t.Fatal(err)
	}
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 10, Bytes: 1 << 20}}
	if err := reader.Read(ctx, &b); err != nil {
		t.Fatal(err)
	}
	if err := reader.Close(ctx); err != nil {
		t.Fatal(err)
	}
	tail, err := w.Tail(ctx, 1, hubferry.Position{Sequence: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := tail.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return describe(t, r.sent, s.address)
}

// describe makes a line of each frame, or of each delivery, in a form that can be compared.
func describe(t *testing.T, sent []byte, address string) []string {
	t.Helper()
	d := &description{t: t, parts: map[string][]byte{}, first: map[string]string{}, seen: map[string]bool{}}
	in := ours.NewFrameReader(bytes.NewReader(sent), 1<<20)
	for {
		h, err := in.PeekHeader()
		if err != nil { // the end
			break
		}
		if h.Valid() {
			_, _ = in.Header()
			d.add("header %q", h[:])
			continue
		}
		f, err := in.Next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Type == ours.TypeSASL {
			var i ours.SASLInit
			d.decode(&i, f.Body)
			d.add("%+v", i)
		} else if len(f.Body) > 0 {
			d.frame(f)
		}
	}
	slices.Sort(d.flows)
	for i, line := range d.lines {
		d.lines[i] = strings.ReplaceAll(line, address, "address")
	}
	return append(d.lines, d.flows...)
}

type description struct {
	t     *testing.T
	lines []string
	flows []string
	parts map[string][]byte // deliveries under way, by channel and handle
	first map[string]string // their first transfers
	seen  map[string]bool   // links that have had a flow
}

func (d *description) add(format string, args ...any) {
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *description) decode(p ours.Performative, body []byte) []byte {
	d.t.Helper()
	rest, err := p.Decode(body)
	if err != nil {
		d.t.Fatal(err)
	}
	return rest
}

func (d *description) frame(f ours.Frame) {
	code, err := ours.BodyCode(f.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	switch code {
	case ours.CodeOpen:
		var o ours.Open
		d.decode(&o, f.Body)
		o.ContainerID = ""
		sortPairs(o.Properties)
		d.add("%+v", o)
	case ours.CodeBegin:
		var b ours.Begin
		d.decode(&b, f.Body)
		d.add("%d %+v", f.Channel, b)
	case ours.CodeAttach:
		var a ours.Attach
		d.decode(&a, f.Body)
		a.Name = ""
		sortPairs(a.Properties)
		a.Target.Address, _, _ = strings.Cut(a.Target.Address, "-reply-to-")
		source, target := *a.Source, *a.Target
		a.Source, a.Target = nil, nil
		d.add("%d %+v %+v %+v", f.Channel, a, source, target)
	case ours.CodeFlow:
		var w ours.Flow
		d.decode(&w, f.Body)
		if link := fmt.Sprint(f.Channel, w.Handle); w.Handle.OK && !d.seen[link] {
			d.seen[link] = true
			d.flows = append(d.flows, fmt.Sprintf("%d flow %v %v %v %d %d %v", f.Channel, w.Handle, w.DeliveryCount, w.LinkCredit, w.IncomingWindow, w.OutgoingWindow, w.Drain))
		}
	case ours.CodeTransfer:
		d.transfer(f)
	case ours.CodeDetach:
		var x ours.Detach
		d.decode(&x, f.Body)
		d.add("%d %+v", f.Channel, x)
	case ours.CodeDisposition:
		var x ours.Disposition
		d.decode(&x, f.Body)
		d.add("%d %+v", f.Channel, x)
	case ours.CodeEnd:
		d.add("%d end", f.Channel)
	case ours.CodeClose:
		d.add("close")
	default:
		d.add("%d performative %d", f.Channel, code)
	}
}

func (d *description) transfer(f ours.Frame) {
	var tr ours.Transfer
	payload := d.decode(&tr, f.Body)
	link := fmt.Sprint(f.Channel, tr.Handle)
	if d.first[link] == "" {
		head := tr
		head.More, head.DeliveryTag = false, nil
		d.first[link] = fmt.Sprintf("%d %+v tag of %d bytes", f.Channel, head, len(tr.DeliveryTag))
	}
	d.parts[link] = append(d.parts[link], payload...)
	if tr.More {
		return
	}
	text := fmt.Sprintf("%x", d.parts[link])
	if !strings.Contains(d.first[link], fmt.Sprint(ours.FormatBatch)) {
		text = d.request(d.parts[link])
	}
	d.add("%s: %s", d.first[link], text)
	delete(d.parts, link)
	delete(d.first, link)
}

// request is what a message to a node says.
func (d *description) request(msg []byte) string {
	s, err := ours.Scan(msg)
	if err != nil {
		d.t.Fatal(err)
	}
	fields, n, err := ours.ListSection(s.Properties.Of(msg))
	if err != nil {
		d.t.Fatal(err)
	}
	var out []string
	for range n {
		if v := fields.Value(); v != nil {
			text, _, _ := strings.Cut(fmt.Sprintf("%T %v", v, v), "-reply-to-")
			out = append(out, text)
		}
	}
	var pairs []string
	items, n, err := ours.MapSection(s.ApplicationProperties.Of(msg))
	if err != nil {
		d.t.Fatal(err)
	}
	for range n {
		name, value := items.Value(), items.Value()
		text := fmt.Sprint(value)
		switch name {
		case "server-timeout", "expiration", "security_token": // of the moment
			text = ""
		}
		pairs = append(pairs, fmt.Sprintf("%v=%T %s", name, value, text))
	}
	slices.Sort(pairs)
	return fmt.Sprintf("%q %q body %d of %d", out, pairs, s.BodyCode, s.BodyCount)
}

func sortPairs(m ours.Map) {
	slices.SortFunc(m, func(a, b ours.Pair) int { return strings.Compare(fmt.Sprint(a.Key), fmt.Sprint(b.Key)) })
}
