package kafka

import (
	"fmt"
	"net"
	"time"

	"github.com/hubferry/hubferry"
)

// Defaults of the options.
const (
	defaultDeliveryTimeout = 30 * time.Second
	defaultMaxMessage      = 1048588 // max.message.bytes of brokers that were not told otherwise
	defaultPort            = "9092"

	// maxRequest is far below what brokers take (socket.request.max.bytes, 100 MiB): beyond
	// it nothing is gained.
	maxRequest = 8 << 20
)

// ConnectionOptions say how to reach a cluster.
type ConnectionOptions struct {
	ConnectionString hubferry.Secret `yaml:"connectionString" jsonschema_description:"The connection string of an Event Hubs namespace, whose Kafka endpoint is then used: over TLS, at port 9093. Use it or brokers."`
	Brokers          []string        `yaml:"brokers" jsonschema_description:"Some brokers of the cluster, as host:port. The port defaults to 9092."`
	TLS              *TLSOptions     `yaml:"tls" jsonschema_description:"Encrypt the connection. 'tls: {}' trusts the system's authorities."`
	SASL             *SASLOptions    `yaml:"sasl" jsonschema_description:"How to sign in."`
	ClientID         string          `yaml:"clientId" jsonschema:"default=hubferry-INSTANCE" jsonschema_description:"The name by which brokers know this program: in their logs and quotas."`
	Rack             string          `yaml:"rack" jsonschema_description:"Where this program runs (client.rack): brokers that support it let it read from a replica in the same rack."`
	ID               string          `yaml:"id" jsonschema_description:"Overrides the cluster id in provenance and checkpoints. Needed for services that have no cluster id of their own."`

	DeliveryTimeout time.Duration `yaml:"deliveryTimeout" jsonschema:"default=30s" jsonschema_description:"How long a write may wait for its confirmation."`
	MaxMessageBytes int           `yaml:"maxMessageBytes" jsonschema_description:"The largest batch to send, in bytes, if it is to be less than the topic's max.message.bytes."`
}

// TLSOptions are settings of TLS.
type TLSOptions struct {
	CAFile             string `yaml:"caFile" jsonschema_description:"A PEM file with the certificate authorities to trust instead of the system's."`
	CertFile           string `yaml:"certFile" jsonschema_description:"A PEM file with a client certificate. Needs keyFile."`
	KeyFile            string `yaml:"keyFile" jsonschema_description:"A PEM file with the private key of certFile."`
	ServerName         string `yaml:"serverName" jsonschema_description:"The name that the brokers' certificates must have; the default is the host that is connected to."`
	InsecureSkipVerify bool   `yaml:"insecureSkipVerify" jsonschema_description:"Accept any certificate. Only for tests: anybody in between can read everything."`
}

// Validate implements hubferry.Options.
func (o *ConnectionOptions) Validate() []hubferry.Problem {
	var problems []hubferry.Problem
	bad := func(field, format string, args ...any) {
		problems = append(problems, hubferry.Problem{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if len(o.Brokers) == 0 && o.ConnectionString.IsZero() {
		bad("brokers", "is required: name one broker at least, as host:port; or set connectionString, for Event Hubs")
	}
	for i, b := range o.Brokers {
		if host, _, err := net.SplitHostPort(withPort(b)); err != nil || host == "" {
			bad(fmt.Sprintf("brokers[%d]", i), "%q is not host:port", b)
		}
	}
	if o.TLS != nil && (o.TLS.CertFile == "") != (o.TLS.KeyFile == "") {
		bad("tls.certFile", "certFile and keyFile belong together")
	}
	if o.SASL != nil {
		problems = append(problems, o.SASL.problems()...)
	}
	if !o.ConnectionString.IsZero() {
		if _, err := eventHubsBroker(o.ConnectionString.Reveal()); err != nil {
			bad("connectionString", "%v", err)
		}
		if o.SASL != nil {
			bad("sasl", "leave it out: the connection string has a key")
		}
	}
	if o.DeliveryTimeout < 0 || (o.DeliveryTimeout > 0 && o.DeliveryTimeout < time.Second) {
		bad("deliveryTimeout", "must be at least 1s")
	}
	if o.MaxMessageBytes < 0 || (o.MaxMessageBytes > 0 && o.MaxMessageBytes < 1024) || o.MaxMessageBytes > 1<<30 {
		bad("maxMessageBytes", "must be between 1024 and 1073741824")
	}
	return problems
}

func (o *ConnectionOptions) deliveryTimeout() time.Duration {
	if o.DeliveryTimeout == 0 {
		return defaultDeliveryTimeout
	}
	return o.DeliveryTimeout
}

func (o *ConnectionOptions) maxMessage() int {
	switch {
	case o.MaxMessageBytes > 0:
		return o.MaxMessageBytes
	case o.limited():
		return eventHubsRequest - requestOverhead
	}
	return defaultMaxMessage
}

// maxRequest is how large a request with several batches may be. A larger batch goes alone.
func (o *ConnectionOptions) maxRequest() int {
	if o.limited() {
		return max(eventHubsRequest, o.MaxMessageBytes)
	}
	return maxRequest
}

func withPort(broker string) string {
	if _, _, err := net.SplitHostPort(broker); err != nil {
		return net.JoinHostPort(broker, defaultPort)
	}
	return broker
}
