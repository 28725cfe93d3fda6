package kafka

import (
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/hubferry/hubferry"
)

// The values of SASLOptions.Mechanism.
const (
	MechanismPlain       = "plain"
	MechanismScramSHA256 = "scram-sha-256"
	MechanismScramSHA512 = "scram-sha-512"
)

// Defaults of the options.
const (
	defaultDeliveryTimeout = 30 * time.Second
	defaultMaxMessage      = 1_000_000 // under a broker's default max.message.bytes, 1048588
	defaultPort            = "9092"
)

// ConnectionOptions say how to reach a cluster.
type ConnectionOptions struct {
	Brokers []string     `yaml:"brokers" jsonschema:"required" jsonschema_description:"Some brokers of the cluster, as host:port. The port defaults to 9092."`
	TLS     *TLSOptions  `yaml:"tls" jsonschema_description:"Encrypt the connection. 'tls: {}' trusts the system's authorities."`
	SASL    *SASLOptions `yaml:"sasl" jsonschema_description:"How to sign in."`
	ID      string       `yaml:"id" jsonschema_description:"Overrides the cluster id in provenance and checkpoints. Needed for services that have no cluster id of their own."`

	DeliveryTimeout time.Duration `yaml:"deliveryTimeout" jsonschema:"default=30s" jsonschema_description:"How long a write may wait for its confirmation."`
	MaxMessageBytes int           `yaml:"maxMessageBytes" jsonschema:"default=1000000" jsonschema_description:"The largest record to send, in bytes. It must not be above the topic's max.message.bytes."`
}

// TLSOptions are settings of TLS.
type TLSOptions struct {
	CAFile             string `yaml:"caFile" jsonschema_description:"A PEM file with the certificate authorities to trust instead of the system's."`
	CertFile           string `yaml:"certFile" jsonschema_description:"A PEM file with a client certificate. Needs keyFile."`
	KeyFile            string `yaml:"keyFile" jsonschema_description:"A PEM file with the private key of certFile."`
	ServerName         string `yaml:"serverName" jsonschema_description:"The name that the brokers' certificates must have; the default is the host that is connected to."`
	InsecureSkipVerify bool   `yaml:"insecureSkipVerify" jsonschema_description:"Accept any certificate. Only for tests: anybody in between can read everything."`
}

// SASLOptions say how to sign in.
type SASLOptions struct {
	Mechanism string          `yaml:"mechanism" jsonschema:"required,enum=plain,enum=scram-sha-256,enum=scram-sha-512" jsonschema_description:"The SASL mechanism."`
	Username  string          `yaml:"username" jsonschema:"required" jsonschema_description:"The user."`
	Password  hubferry.Secret `yaml:"password" jsonschema:"required" jsonschema_description:"The user's password."`
}

// Validate implements hubferry.Options.
func (o *ConnectionOptions) Validate() []hubferry.Problem {
	var problems []hubferry.Problem
	bad := func(field, format string, args ...any) {
		problems = append(problems, hubferry.Problem{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if len(o.Brokers) == 0 {
		bad("brokers", "is required: name one broker at least, as host:port")
	}
	for i, b := range o.Brokers {
		if host, _, err := net.SplitHostPort(withPort(b)); err != nil || host == "" {
			bad(fmt.Sprintf("brokers[%d]", i), "%q is not host:port", b)
		}
	}
	if o.TLS != nil && (o.TLS.CertFile == "") != (o.TLS.KeyFile == "") {
		bad("tls.certFile", "certFile and keyFile belong together")
	}
	if s := o.SASL; s != nil {
		if known := []string{MechanismPlain, MechanismScramSHA256, MechanismScramSHA512}; !slices.Contains(known, s.Mechanism) {
			bad("sasl.mechanism", "%q is not one of %v", s.Mechanism, known)
		}
		if s.Username == "" {
			bad("sasl.username", "is required")
		}
		if s.Password.IsZero() {
			bad("sasl.password", "is required")
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
	if o.MaxMessageBytes == 0 {
		return defaultMaxMessage
	}
	return o.MaxMessageBytes
}

func withPort(broker string) string {
	if _, _, err := net.SplitHostPort(broker); err != nil {
		return net.JoinHostPort(broker, defaultPort)
	}
	return broker
}

// SourceOptions say how to read a topic. There is nothing to choose yet.
type SourceOptions struct{}

// Validate implements hubferry.Options.
func (*SourceOptions) Validate() []hubferry.Problem { return nil }

// TargetOptions say how to write to topics. There is nothing to choose yet.
type TargetOptions struct{}

// Validate implements hubferry.Options.
func (*TargetOptions) Validate() []hubferry.Problem { return nil }
