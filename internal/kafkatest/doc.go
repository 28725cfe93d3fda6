// Package kafkatest runs real Apache Kafka brokers for tests: one process, which is
// broker and controller, is a cluster of its own.
//
//	func TestX(t *testing.T) {
//		b := kafkatest.Start(t, kafkatest.Options{}) // skips or fails where there is no Kafka
//		... b.Addr() ...
//	}
//
// The tests of a package share one broker through a Shared, which TestMain closes. Two
// brokers are two clusters. A broker needs some 10 s to start and 300 MB.
//
// Without HUBFERRY_INTEROP=1 such tests are skipped, with a message. With it a missing
// set-up is a failure: `make setup` brings the jars (scripts/setup-kafka.sh), and a Java
// runtime must be there.
//
// Every broker listens four times on loopback: the first listener is open and everybody on
// it may do everything; SASL takes PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER
// (unsigned tokens, whose sub is the user); TLS asks for a client certificate; SASLTLS is
// SASL within TLS. User and who shows Certificate may do everything, Guest nothing at all.
//
// It is made for Unix, where signals stop and pause a broker.
package kafkatest
