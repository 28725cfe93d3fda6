package kafkatest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The users on SASL and SASLTLS, and their password for every mechanism.
const (
	User     = "hubferry"
	Guest    = "guest"
	Password = "a-password-of-the-tests"
)

// The names of the listeners in the broker's settings.
const (
	plain      = "PLAIN"
	withSASL   = "SASL"
	withTLS    = "TLS"
	withBoth   = "BOTH"
	controller = "CONTROLLER"
)

var listeners = []string{plain, withSASL, withTLS, withBoth, controller}

// Addr is the address of the open listener, host:port.
func (b *Broker) Addr() string { return b.address(plain) }

// SASL is the address of the listener that asks for SASL without TLS.
func (b *Broker) SASL() string { return b.address(withSASL) }

// TLS is the address of the listener with TLS and client certificates.
func (b *Broker) TLS() string { return b.address(withTLS) }

// SASLTLS is the address of the listener with TLS and SASL.
func (b *Broker) SASLTLS() string { return b.address(withBoth) }

func (b *Broker) address(listener string) string {
	return fmt.Sprintf("127.0.0.1:%d", b.ports[listener])
}

// CA is the certificate to trust, PEM.
func (b *Broker) CA() []byte { return b.identity.cert }

// Certificate and its key, both PEM, are a client certificate for TLS, of
// User:CN=hubferry.
func (b *Broker) Certificate() (cert, key []byte) { return b.identity.cert, b.identity.key }

// log4j is the logging of everything of Kafka's jars. Tools print their results
// themselves.
const log4j = `log4j.rootLogger=WARN, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.target=System.err
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d{HH:mm:ss,SSS} %p %c{1}: %m%n
log4j.logger.kafka.server.KafkaRaftServer=INFO
`

// properties returns the broker's settings. The recipe is KRaft in combined mode, with
// one replica of everything.
func (b *Broker) properties() []byte {
	users := fmt.Sprintf(`user_%s="%s" user_%s="%s"`, User, Password, Guest, Password)
	p := map[string]string{
		"process.roles": "broker,controller", "node.id": "1",
		"controller.quorum.voters":         "1@" + b.address(controller),
		"controller.listener.names":        controller,
		"inter.broker.listener.name":       plain,
		"listener.security.protocol.map":   "CONTROLLER:PLAINTEXT,PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,BOTH:SASL_SSL",
		"listeners":                        b.listen(listeners),
		"advertised.listeners":             b.listen(listeners[:4]),
		"log.dirs":                         b.file("data"),
		"offsets.topic.replication.factor": "1", "offsets.topic.num.partitions": "4",
		"transaction.state.log.replication.factor": "1", "transaction.state.log.min.isr": "1",
		"transaction.state.log.num.partitions": "4",
		"num.network.threads":                  "2", "num.io.threads": "2",
		"group.initial.rebalance.delay.ms": "0",
		"auto.create.topics.enable":        "false",
		// A log that a test wants cut, compacted or deleted is so within seconds.
		"log.retention.check.interval.ms": "1000", "log.segment.delete.delay.ms": "100",
		"log.cleaner.backoff.ms": "200", "log.cleaner.dedupe.buffer.size": "4194304",

		"authorizer.class.name":   "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":             "User:ANONYMOUS;User:" + User + ";User:CN=" + User,
		"sasl.enabled.mechanisms": strings.Join([]string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"}, ","),
	}
	for _, l := range []string{withSASL, withBoth} {
		name := "listener.name." + strings.ToLower(l) + "."
		p[name+"plain.sasl.jaas.config"] = "org.apache.kafka.common.security.plain.PlainLoginModule required " + users + ";"
		for _, scram := range []string{"scram-sha-256", "scram-sha-512"} {
			p[name+scram+".sasl.jaas.config"] = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
		}
		p[name+"oauthbearer.sasl.jaas.config"] = `org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`
	}
	for _, l := range []string{withTLS, withBoth} {
		name := "listener.name." + strings.ToLower(l) + ".ssl."
		p[name+"keystore.type"], p[name+"truststore.type"] = "PEM", "PEM"
		p[name+"keystore.certificate.chain"] = string(b.identity.cert)
		p[name+"keystore.key"] = string(b.identity.key)
		p[name+"truststore.certificates"] = string(b.identity.cert)
	}
	p["listener.name.tls.ssl.client.auth"] = "required"
	maps.Copy(p, b.options.Properties)

	var text bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(p)) {
		// A line that ends with a backslash goes on in the next one.
		fmt.Fprintf(&text, "%s=%s\n", name, strings.ReplaceAll(strings.TrimSpace(p[name]), "\n", "\\n"))
	}
	return text.Bytes()
}

func (b *Broker) listen(names []string) string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = name + "://" + b.address(name)
	}
	return strings.Join(list, ",")
}
