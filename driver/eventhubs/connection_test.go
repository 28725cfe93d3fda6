package eventhubs

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/hub"
	ours "github.com/hubferry/hubferry/internal/amqp"
)

// lines collects trace lines.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
}

// with returns the lines that contain all of some texts.
func (l *lines) with(texts ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			found = append(found, line)
		}
	}
	return found
}

func TestOneConnectionForAll(t *testing.T) { eachClient(t, testOneConnectionForAll) }

func testOneConnectionForAll(t *testing.T) {
	s := startServer(t, nil)
	var dials int
	var mu sync.Mutex
	c := connect(t, s.options(), hubferry.Env{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		mu.Lock()
		dials++
		mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}})
	use := func(wantDials int) {
		t.Helper()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := openSource(t, c).Partitions(withTimeout(t)); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				w := openWriter(t, c, &TargetOptions{})
				if _, err := w.Write(withTimeout(t), hubferry.Run{Events: bodies("a")}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if dials != wantDials {
			t.Errorf("%d dials, want %d", dials, wantDials)
		}
	}
	use(1)
	a, err := c.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.faults.Cut("ns")
	<-a.Done()
	use(2)
}

func TestGivingUpDoesNotStopTheDial(t *testing.T) { eachClient(t, testGivingUpDoesNotStopTheDial) }

func testGivingUpDoesNotStopTheDial(t *testing.T) {
	s := startServer(t, nil)
	release := make(chan struct{})
	c := connect(t, s.options(), hubferry.Env{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		<-release
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := openSource(t, c).Partitions(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	close(release)
	if _, err := openSource(t, c).Partitions(withTimeout(t)); err != nil {
		t.Error(err)
	}
}

func TestCloseEndsWhatWaits(t *testing.T) { eachClient(t, testCloseEndsWhatWaits) }

func testCloseEndsWhatWaits(t *testing.T) {
	s := startServer(t, nil)
	hang := make(chan struct{})
	defer close(hang)
	c := connect(t, s.options(), hubferry.Env{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-hang:
			return nil, net.ErrClosed
		}
	}})
	src := openSource(t, c)
	done := make(chan error)
	go func() {
		_, err := src.Partitions(context.WithoutCancel(t.Context()))
		done <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if err := c.Close(withTimeout(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, hubferry.ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
	if _, err := src.Partitions(t.Context()); !errors.Is(err, hubferry.ErrClosed) {
		t.Errorf("afterwards: %v, want ErrClosed", err)
	}
	if _, err := c.Source(t.Context(), testHub, &SourceOptions{ConsumerGroup: "g"}); !errors.Is(err, hubferry.ErrClosed) {
		t.Errorf("a new source: %v, want ErrClosed", err)
	}
}

func TestRights(t *testing.T) { eachClient(t, testRights) }

func testRights(t *testing.T) {
	s := startServer(t, nil)
	with := func(keyName string) *connection {
		return connect(t, &ConnectionOptions{ConnectionString: hubferry.NewSecret(s.connString(keyName, testKey))}, hubferry.Env{})
	}
	_, err := openWriter(t, with("listen"), &TargetOptions{}).Write(withTimeout(t), hubferry.Run{Events: bodies("a")})
	if e := asError(t, err); e.Kind != hubferry.Unauthorized || !strings.Contains(e.Error(), "right to send") || e.Unsure {
		t.Errorf("send with a listen key: kind %v: %v", e.Kind, e)
	}
	_, err = openSource(t, with("send")).Open(withTimeout(t), testPlace("0"), hubferry.Position{Sequence: -1}, 0)
	if e := asError(t, err); e.Kind != hubferry.Unauthorized || !strings.Contains(e.Error(), "right to listen") {
		t.Errorf("listen with a send key: kind %v: %v", e.Kind, e)
	}
	_, err = openSource(t, with("nobody")).Partitions(withTimeout(t))
	if e := asError(t, err); e.Kind != hubferry.Unauthorized {
		t.Errorf("an unknown key: kind %v: %v", e.Kind, e)
	}
	expired := sasKey{name: testKeyName, key: testKey}.sign("amqp://"+s.address+"/", time.Now().Add(-time.Minute))
	text := "Endpoint=sb://" + s.address + ";SharedAccessSignature=" + expired + ";UseDevelopmentEmulator=true"
	_, err = openSource(t, connect(t, &ConnectionOptions{ConnectionString: hubferry.NewSecret(text)}, hubferry.Env{})).Partitions(withTimeout(t))
	if e := asError(t, err); e.Kind != hubferry.Unauthorized || !strings.Contains(e.Error(), "expired") {
		t.Errorf("an expired signature: kind %v: %v", e.Kind, e)
	}
	valid := sasKey{name: testKeyName, key: testKey}.sign("amqp://"+s.address+"/", time.Now().Add(time.Minute))
	text = "Endpoint=sb://" + s.address + ";SharedAccessSignature=" + valid + ";UseDevelopmentEmulator=true"
	if _, err = openSource(t, connect(t, &ConnectionOptions{ConnectionString: hubferry.NewSecret(text)}, hubferry.Env{})).Partitions(withTimeout(t)); err != nil {
		t.Errorf("a valid signature: %v", err)
	}
}

// TestNodesComeBack loses the links to $cbs and $management.
func TestNodesComeBack(t *testing.T) { eachClient(t, testNodesComeBack) }

func testNodesComeBack(t *testing.T) {
	p := startPeer(t)
	c := connect(t, p.options(), hubferry.Env{})
	w := openWriter(t, c, &TargetOptions{})
	if _, err := w.Layout(withTimeout(t)); err != nil {
		t.Fatal(err)
	}
	a, err := c.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.management.get().close(withTimeout(t)); err != nil {
		t.Fatal(err)
	}
	for !a.management.get().isDead() {
		time.Sleep(time.Millisecond)
	}
	if _, err := w.Layout(withTimeout(t)); err != nil {
		t.Errorf("after the links to $management were lost: %v", err)
	}
	if n := len(p.script().puts); n != 1 {
		t.Errorf("%d put-tokens for one hub", n)
	}
	p.set(func(p *peer) { p.cbsStatus = 401 })
	other, err := c.Source(t.Context(), "other", &SourceOptions{ConsumerGroup: "g"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.Partitions(withTimeout(t))
	if e := asError(t, err); e.Kind != hubferry.Unauthorized {
		t.Errorf("kind %v: %v", e.Kind, e)
	}
}

// isDead is dead for a node that may be nil.
func (r *rpc) isDead() bool { return r == nil || r.dead() }

// TestManagementReadsAreShared checks that many who ask make few requests.
func TestManagementReadsAreShared(t *testing.T) { eachClient(t, testManagementReadsAreShared) }

func testManagementReadsAreShared(t *testing.T) {
	p := startPeer(t)
	src := openSource(t, connect(t, p.options(), hubferry.Env{}))
	if _, err := src.Partitions(withTimeout(t)); err != nil {
		t.Fatal(err)
	}
	// Who asks while nobody else does has an answer of his own, so what is shared is up to the scheduler too.
	for end := time.Now().Add(time.Minute); ; {
		before := p.script().reads
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := src.Partitions(withTimeout(t)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		n := p.script().reads - before // alone: 5 each
		if n <= 250 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d requests for 100 callers", n)
		}
	}
}

// TestTraceWithoutSecrets traces everything that a connection does.
func TestTraceWithoutSecrets(t *testing.T) { eachClient(t, testTraceWithoutSecrets) }

func testTraceWithoutSecrets(t *testing.T) {
	s := startServer(t, nil)
	var trace lines
	c := connect(t, s.options(), hubferry.Env{Trace: trace.add})
	w := openWriter(t, c, &TargetOptions{})
	if _, err := w.Write(withTimeout(t), hubferry.Run{Events: bodies("secret body")}); err != nil {
		t.Fatal(err)
	}
	readEvents(t, openSource(t, c), 0, 1)
	for _, want := range [][]string{
		{s.address + " -> header SASL"},
		{"<- header AMQP"},
		{"-> ", "open"},
		{"-> ", "put-token"},
		{"<- ", "202"},
		{"-> ", "attach", testHub + "/Partitions/0"},
		{"-> ", "transfer", "format=0x80013700"},
		{"<- ", "disposition", "accepted"},
		{"<- ", "transfer", "settled"},
	} {
		if len(trace.with(want...)) == 0 {
			t.Errorf("no line with %q", want)
		}
	}
	all := strings.Join(trace.with(), "\n")
	for _, secret := range []string{testKey, "sig=", "SharedAccessSignature sr", "secret body"} {
		if strings.Contains(all, secret) {
			t.Errorf("the trace shows %q", secret)
		}
	}
	var log strings.Builder
	o := s.options()
	o.Trace = true
	traced := connect(t, o, hubferry.Env{Log: slog.New(slog.NewTextHandler(&syncWriter{w: &log}, nil))})
	if _, err := openSource(t, traced).Partitions(withTimeout(t)); err != nil {
		t.Fatal(err)
	}
	if err := traced.Close(withTimeout(t)); err != nil {
		t.Fatal(err)
	}
	if text := log.String(); !strings.Contains(text, "put-token") || strings.Contains(text, "sig=") {
		t.Errorf("with the option trace the log has:\n%s", text)
	}
}

type syncWriter struct {
	mu sync.Mutex
	w  *strings.Builder
}

func (s *syncWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

// TestLikeMicrosoftsClient compares what this driver and azeventhubs ask of a server, and
// what they store.
func TestLikeMicrosoftsClient(t *testing.T) { eachClient(t, testLikeMicrosoftsClient) }

func testLikeMicrosoftsClient(t *testing.T) {
	var trace lines
	s := startServer(t, func(o *hub.Options) { o.Trace = trace.add })
	ctx := withTimeout(t)
	cs := s.connString(testKeyName, testKey)

	// Theirs: an event to partition 1, and a receiver from after sequence number 0.
	producer, err := azeventhubs.NewProducerClientFromConnectionString(cs, testHub, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = producer.Close(ctx) }()
	id, text, number := "1", "text", int64(1)
	b, err := producer.NewEventDataBatch(ctx, &azeventhubs.EventDataBatchOptions{PartitionID: &id})
	if err != nil {
		t.Fatal(err)
	}
	theirs := &azeventhubs.EventData{
		Body: []byte("body"), ContentType: &text, CorrelationID: "c", MessageID: &text,
		Properties: map[string]any{"s": "v", "n": int32(7), "t": time.UnixMilli(1700000000000), "b": true},
	}
	for range 2 {
		if err := b.AddEventData(theirs, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := producer.SendEventDataBatch(ctx, b, nil); err != nil {
		t.Fatal(err)
	}
	consumer, err := azeventhubs.NewConsumerClientFromConnectionString(cs, testHub, "copy", &azeventhubs.ConsumerClientOptions{InstanceID: "me"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = consumer.Close(ctx) }()
	level, zero := int64(3), int64(0)
	pc, err := consumer.NewPartitionClient("1", &azeventhubs.PartitionClientOptions{OwnerLevel: &level, StartPosition: azeventhubs.StartPosition{SequenceNumber: &zero}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.ReceiveEvents(ctx, 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := pc.Close(ctx); err != nil {
		t.Fatal(err)
	}

	// Ours: the same.
	c := connect(t, s.options(), hubferry.Env{Instance: "me"})
	w := openWriter(t, c, &TargetOptions{})
	e := hubferry.NewEvent(&hubferry.Content{
		Body: []byte("body"),
		Message: hubferry.Properties{
			{Name: hubferry.MessageID, Value: hubferry.String(text)},
			{Name: hubferry.CorrelationID, Value: hubferry.String("c")},
			{Name: hubferry.ContentType, Value: hubferry.Symbol(text)},
		},
		Properties: hubferry.Properties{
			{Name: "b", Value: hubferry.Bool(true)},
			{Name: "n", Value: hubferry.Int(7)},
			{Name: "s", Value: hubferry.String("v")},
			{Name: "t", Value: hubferry.Timestamp(1700000000000)},
		},
	})
	if _, err := w.Write(ctx, hubferry.Run{Partition: 1, Events: []*hubferry.Event{&e}}); err != nil {
		t.Fatal(err)
	}
	r, err := openSource(t, c).Open(ctx, testPlace("1"), hubferry.Position{Sequence: number - 1}, level)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(ctx); err != nil {
		t.Fatal(err)
	}

	var attaches []string
	for _, line := range trace.with("<- ", "attach", testHub) {
		attaches = append(attaches, strings.Join(interesting(line), " "))
	}
	slices.Sort(attaches)
	if unique := slices.Compact(slices.Clone(attaches)); len(attaches) != 4 || len(unique) != 2 {
		t.Errorf("the attaches differ:\n%s", strings.Join(attaches, "\n"))
	}
	if n := len(trace.with("<- ", "transfer", "format=0x80013700")); n != 2 {
		t.Errorf("%d batches, want one of each", n)
	}
	stored := rawReceive(t, s.address, "1")
	a, z := rawEvent(t, stored[0]), rawEvent(t, stored[2])
	left, err := a.Content()
	if err != nil {
		t.Fatal(err)
	}
	right, err := z.Content()
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(left.Properties, func(a, b hubferry.Property) int { return strings.Compare(a.Name, b.Name) })
	if diff := cmp.Diff(left, right, compareValues); diff != "" {
		t.Errorf("what is stored (-azeventhubs +driver):\n%s", diff)
	}
}

// interesting returns the parts of an attach that must be the same.
func interesting(line string) (parts []string) {
	for field := range strings.FieldsSeq(line) {
		for _, prefix := range []string{"role=", "source=", "target=", "rcv-settle=", "snd-settle=", "filter=", "'0'", "amqp.annotation", ">", "com.microsoft:receiver-name=", "com.microsoft:epoch="} {
			if strings.HasPrefix(field, prefix) {
				parts = append(parts, field)
			}
		}
	}
	slices.Sort(parts)
	return parts
}

// FuzzReply feeds the decoder of replies.
func FuzzReply(f *testing.F) {
	msg, err := ours.AppendValue(ours.AppendSection(nil, ours.CodeProperties), ours.List{nil, nil, nil, nil, nil, "7"})
	if err != nil {
		f.Fatal(err)
	}
	if msg, err = ours.AppendValue(ours.AppendSection(msg, ours.CodeApplicationProperties), ours.Map{{Key: "status-code", Value: int32(200)}}); err != nil {
		f.Fatal(err)
	}
	if msg, err = ours.AppendValue(ours.AppendSection(msg, ours.CodeValue), ours.Map{{Key: "partition_ids", Value: ours.Array{Items: []any{"0"}}}}); err != nil {
		f.Fatal(err)
	}
	f.Add(msg)
	f.Fuzz(func(t *testing.T, msg []byte) {
		_, answer := decodeMessage(msg)
		if answer.err == nil && answer.status == 0 {
			t.Error("no status, and no error")
		}
		_, _ = parseHub(answer.body)
		_, _ = parsePartition(answer.body)
	})
}

// TestRefusedTokenIsShownAgain is an identity that gets its right while we wait for it.
func TestRefusedTokenIsShownAgain(t *testing.T) { eachClient(t, testRefusedTokenIsShownAgain) }

func testRefusedTokenIsShownAgain(t *testing.T) {
	p := startPeer(t)
	p.onAttach = func(c *peerConn, ch uint16, a *ours.Attach) bool {
		out := *a
		out.Receiver, out.Source, out.InitialDeliveryCount = false, nil, ours.Some(uint32(0))
		c.send(ch, &out)
		c.detach(ch, a.Handle, &ours.Error{Condition: ours.ErrUnauthorizedAccess, Description: "'Listen' claim(s) are required"})
		return true
	}
	src := openSource(t, connect(t, p.options(), hubferry.Env{}))
	open := func() error {
		_, err := src.Open(withTimeout(t), testPlace("0"), hubferry.Position{Sequence: -1}, 0)
		return err
	}
	if e := asError(t, open()); e.Kind != hubferry.Unauthorized {
		t.Errorf("kind %v: %v", e.Kind, e)
	}
	p.set(func(p *peer) { p.onAttach = nil })
	if err := open(); err != nil {
		t.Error(err)
	}
	if err := open(); err != nil {
		t.Error(err)
	}
	if n := len(p.script().puts); n != 2 {
		t.Errorf("%d put-tokens, want one more after the refusal", n)
	}
}
