package amqpclient

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/hubferry/hubferry/hub"
	"github.com/hubferry/hubferry/internal/amqp"
)

const (
	hubPartitions = 4
	hubKey        = "a-key-for-tests"
)

// startHub starts an embedded hub and opens a connection to it that may do everything.
func startHub(t *testing.T) *Conn {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	server, err := hub.New(ctx, hub.Options{Namespaces: []hub.NamespaceOptions{{
		Name:  "ns",
		Rules: []hub.Rule{{Name: "all", Key: hubKey, Rights: hub.Manage | hub.Listen | hub.Send}},
		Hubs:  []hub.HubOptions{{Name: "h", Partitions: hubPartitions}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(ctx, ln, "ns")
	}()
	t.Cleanup(func() {
		_ = server.Close(ctx)
		<-served
	})
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(ctx, nc, Options{ContainerID: "me", IdleTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	signIn(t, c)
	return c
}

// signIn shows the hub a token.
func signIn(t *testing.T, c *Conn) {
	t.Helper()
	ctx := within(t, 3*time.Minute)
	s, err := c.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.NewSender(ctx, SenderOptions{Name: "ask", Address: "$cbs"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.NewReceiver(ctx, ReceiverOptions{Name: "answer", Address: "$cbs", Target: "me"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Credit(1); err != nil {
		t.Fatal(err)
	}
	resource, until := url.QueryEscape("amqp://ns/"), fmt.Sprint(time.Now().Add(time.Hour).Unix())
	mac := hmac.New(sha256.New, []byte(hubKey))
	mac.Write([]byte(resource + "\n" + until))
	token := "SharedAccessSignature sr=" + resource + "&sig=" + url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil))) + "&se=" + until + "&skn=all"
	var m []byte
	for _, section := range []struct {
		code  uint8
		value any
	}{
		{amqp.CodeProperties, amqp.List{"1", nil, nil, nil, "me"}},
		{amqp.CodeApplicationProperties, amqp.Map{{Key: "operation", Value: "put-token"}, {Key: "type", Value: "servicebus.windows.net:sastoken"}, {Key: "name", Value: "amqp://ns/"}}},
		{amqp.CodeValue, token},
	} {
		if m, err = amqp.AppendValue(amqp.AppendSection(m, section.code), section.value); err != nil {
			t.Fatal(err)
		}
	}
	if state, _, err := l.Send(ctx, amqp.FormatMessage, m); err != nil || state.Code != amqp.CodeAccepted {
		t.Fatalf("put-token: %+v, %v", state, err)
	}
	if got, err := r.Receive(ctx, nil); err != nil || len(got) != 1 {
		t.Fatalf("put-token: %d answers, %v", len(got), err)
	}
}

// TestWithTheHub has senders and receivers of all partitions of a hub share a connection,
// with messages small and large: each arrives once and in order. With a limit of one byte
// messages come one by one, and most of them in several windows.
func TestWithTheHub(t *testing.T) {
	for _, limit := range []int64{0, 1} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) { testWithTheHub(t, limit) })
	}
}

func testWithTheHub(t *testing.T, limit int64) {
	c := startHub(t)
	ctx := within(t, 5*time.Minute)
	batches, each, longest := 60, 20, uint32(20_000)
	if limit > 0 {
		batches, each, longest = 20, 1, 700_000
	}
	body := func(n uint32) []byte {
		b := make([]byte, 4+int(n*2654435761%longest)) // lengths that look like none
		binary.BigEndian.PutUint32(b, n)
		return b
	}
	var wg sync.WaitGroup
	for p := range hubPartitions {
		wg.Go(func() {
			if err := sendAll(ctx, c, p, batches, each, body); err != nil {
				t.Errorf("send to %d: %v", p, err)
			}
		})
		wg.Go(func() {
			if err := receiveAll(ctx, c, p, batches*each, limit, body); err != nil {
				t.Errorf("receive from %d: %v", p, err)
			}
		})
	}
	wg.Wait()
}

func sendAll(ctx context.Context, c *Conn, partition, batches, each int, body func(n uint32) []byte) error {
	s, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	l, err := s.NewSender(ctx, SenderOptions{Name: fmt.Sprint("s", partition), Address: fmt.Sprintf("h/Partitions/%d", partition)})
	if err != nil {
		return err
	}
	for b := range batches {
		var m []byte
		for i := range each {
			m = amqp.AppendData(m, amqp.AppendData(nil, body(uint32(b*each+i))))
		}
		if state, _, err := l.Send(ctx, amqp.FormatBatch, m); err != nil || state.Code != amqp.CodeAccepted {
			return fmt.Errorf("batch %d: %+v, %w", b, state, err)
		}
	}
	return s.Close(ctx)
}

func receiveAll(ctx context.Context, c *Conn, partition, n int, limit int64, body func(n uint32) []byte) error {
	s, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	r, err := s.NewReceiver(ctx, ReceiverOptions{Limit: limit, Name: fmt.Sprint("r", partition), Address: fmt.Sprintf("h/ConsumerGroups/$Default/Partitions/%d", partition)})
	if err != nil {
		return err
	}
	if err := r.Credit(50); err != nil {
		return err
	}
	var list [][]byte
	for next := uint32(0); int(next) < n; {
		if list, err = r.Receive(ctx, list); err != nil {
			return err
		}
		var done int64
		for _, m := range list {
			done += int64(len(m))
			sections, err := amqp.Scan(m)
			if err != nil {
				return err
			}
			d := amqp.NewDecoder(sections.Body.Of(m))
			d.Descriptor()
			if got := d.Binary(); string(got) != string(body(next)) {
				return fmt.Errorf("message %d is of %d bytes", next, len(got))
			}
			next++
		}
		r.Limit(limit, done)
		if err := r.Credit(uint32(len(list))); err != nil {
			return err
		}
	}
	return s.Close(ctx)
}
