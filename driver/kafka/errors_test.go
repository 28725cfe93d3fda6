package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
)

func TestKindsOfErrors(t *testing.T) {
	tests := []struct {
		err  error
		kind hubferry.ErrorKind
	}{
		{kerr.UnknownTopicOrPartition, hubferry.NotFound},
		{kerr.TopicAuthorizationFailed, hubferry.Unauthorized},
		{kerr.SaslAuthenticationFailed, hubferry.Unauthorized},
		{fmt.Errorf("dial: %w", kerr.SaslAuthenticationFailed), hubferry.Unauthorized},
		{kerr.MessageTooLarge, hubferry.TooLarge},
		{fmt.Errorf("%w (uncompressed_bytes=7)", kerr.MessageTooLarge), hubferry.TooLarge},
		{kerr.InvalidRecord, hubferry.Refused},
		{kerr.ThrottlingQuotaExceeded, hubferry.Throttled},
		{kerr.OffsetOutOfRange, hubferry.Gap},
		{&kgo.ErrDataLoss{}, hubferry.Gap},
		{kerr.NotLeaderForPartition, hubferry.Transient},
		{kerr.RequestTimedOut, hubferry.Transient},
		{kerr.NotEnoughReplicas, hubferry.Transient},
		{kerr.NotEnoughReplicasAfterAppend, hubferry.Transient},
		{kerr.UnsupportedVersion, hubferry.Fatal},
		{kerr.UnknownMemberID, hubferry.Transient},
		{kerr.IllegalGeneration, hubferry.Transient},
		{kgo.ErrRecordTimeout, hubferry.Transient},
		{context.DeadlineExceeded, hubferry.Transient},
		{context.Canceled, hubferry.Transient},
		{io.ErrUnexpectedEOF, hubferry.Transient},
	}
	for _, tt := range tests {
		t.Run(tt.err.Error(), func(t *testing.T) {
			err := classify("read", tt.err)
			if hubferry.KindOf(err) != tt.kind || !errors.Is(err, tt.err) {
				t.Errorf("%v is of kind %v, want %v", err, hubferry.KindOf(err), tt.kind)
			}
		})
	}
	if err := classify("read", kgo.ErrClientClosed); !errors.Is(err, hubferry.ErrClosed) {
		t.Errorf("a closed client: %v", err)
	}
	if err := classify("read", nil); err != nil {
		t.Errorf("no error: %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := ConnectionOptions{Brokers: []string{"kafka-1:9093", "kafka-2"}}
	tests := []struct {
		name   string
		change func(o *ConnectionOptions)
		field  string
	}{
		{"good", func(*ConnectionOptions) {}, ""},
		{"no brokers", func(o *ConnectionOptions) { o.Brokers = nil }, "brokers"},
		{"an empty broker", func(o *ConnectionOptions) { o.Brokers = []string{"a", ""} }, "brokers[1]"},
		{"half a certificate", func(o *ConnectionOptions) { o.TLS = &TLSOptions{KeyFile: "k"} }, "tls.certFile"},
		{"another mechanism", func(o *ConnectionOptions) {
			o.SASL = &SASLOptions{Mechanism: "gssapi", Username: "u", Password: hubferry.NewSecret("p")}
		}, "sasl.mechanism"},
		{"no user", func(o *ConnectionOptions) {
			o.SASL = &SASLOptions{Mechanism: "plain", Password: hubferry.NewSecret("p")}
		}, "sasl.username"},
		{"no password", func(o *ConnectionOptions) { o.SASL = &SASLOptions{Mechanism: "plain", Username: "u"} }, "sasl.password"},
		{"no time", func(o *ConnectionOptions) { o.DeliveryTimeout = 1 }, "deliveryTimeout"},
		{"tiny messages", func(o *ConnectionOptions) { o.MaxMessageBytes = 10 }, "maxMessageBytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := good
			tt.change(&o)
			problems := o.Validate()
			switch {
			case tt.field == "" && len(problems) > 0:
				t.Errorf("problems: %v", problems)
			case tt.field != "" && (len(problems) != 1 || problems[0].Field != tt.field):
				t.Errorf("problems: %v, want one of %s", problems, tt.field)
			}
		})
	}
}
