package mirrormaker

import (
	"path"
	"strings"
)

// connection is a cluster in the new configuration. Its texts may hold references.
type connection struct {
	name     string
	brokers  []string
	tls      bool
	caFile   string
	certFile string
	keyFile  string
	sasl     []pair
	rack     string
}

// connection translates how a cluster is reached.
func (t *translator) connection(cluster string) *connection {
	c := &connection{name: t.connectionName(cluster)}
	brokers := t.file.client(cluster, "bootstrap.servers")
	if brokers == nil {
		c.brokers = []string{"${" + variable(cluster, "BROKERS") + "}"}
		t.sayOr(nil, cluster+".bootstrap.servers", Todo, "it is not set: set %s to host:port of a broker", variable(cluster, "BROKERS"))
	} else {
		for _, b := range splitList(brokers.Value) {
			c.brokers = append(c.brokers, t.reference(brokers, b, variable(cluster, "BROKERS")))
		}
		t.say(brokers, Carried, "connections.%s", c.name)
	}
	protocol := t.file.client(cluster, "security.protocol")
	switch strings.ToUpper(protocol.value("PLAINTEXT")) {
	case "SSL":
		c.tls = true
	case "SASL_SSL":
		c.tls = true
		t.signIn(c, cluster)
	case "SASL_PLAINTEXT":
		t.signIn(c, cluster)
	case "PLAINTEXT":
	default:
		t.say(protocol, Unknown, "expected PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL")
	}
	if protocol != nil {
		t.say(protocol, Carried, "connections.%s", c.name)
	}
	if c.tls {
		t.trust(c, cluster)
		t.identity(c, cluster)
	}
	return c
}

// store returns the type of a key or trust store: what is said, or Java's default.
func (t *translator) store(cluster, which string, location *setting) string {
	kind := strings.ToUpper(t.file.client(cluster, "ssl."+which+".type").value(""))
	if kind == "" && location != nil {
		switch path.Ext(location.Value) {
		case ".pem", ".crt":
			return "PEM"
		}
	}
	if kind == "" {
		return "JKS"
	}
	return kind
}

// trust translates whom a client trusts.
func (t *translator) trust(c *connection, cluster string) {
	location := t.file.client(cluster, "ssl.truststore.location")
	inline := t.file.client(cluster, "ssl.truststore.certificates")
	switch {
	case inline != nil:
		c.caFile = c.name + "-ca.pem"
		t.say(inline, Todo, "save these certificates as %s", c.caFile)
	case location == nil:
	case t.store(cluster, "truststore", location) == "PEM":
		c.caFile = t.reference(location, location.Value, variable(cluster, "CA_FILE"))
		t.say(location, Carried, "connections.%s.tls.caFile", c.name)
	default:
		c.caFile = c.name + "-ca.pem"
		t.say(location, Todo, "Hubferry reads PEM files: keytool -list -rfc -keystore %s > %s", location.Value, c.caFile)
	}
	if name := t.file.client(cluster, "ssl.endpoint.identification.algorithm"); name != nil {
		if name.Value == "" {
			t.say(name, Differs, "the brokers' names are checked: set tls.serverName of connections.%s to the name in their certificates", c.name)
		} else {
			t.say(name, Carried, "the brokers' names are checked")
		}
	}
}

// identity translates a client certificate.
func (t *translator) identity(c *connection, cluster string) {
	location := t.file.client(cluster, "ssl.keystore.location")
	chain, key := t.file.client(cluster, "ssl.keystore.certificate.chain"), t.file.client(cluster, "ssl.keystore.key")
	pem := c.name + "-client.pem"
	locked := t.file.client(cluster, "ssl.key.password") != nil
	switch {
	case key != nil:
		c.certFile, c.keyFile = pem, c.name+"-client-key.pem"
		t.sayOr(chain, cluster+".ssl.keystore.certificate.chain", Todo, "save these certificates as %s", pem)
		t.say(key, Todo, "save this private key, unencrypted, as %s", c.keyFile)
	case location == nil:
	case t.store(cluster, "keystore", location) != "PEM":
		c.certFile, c.keyFile = pem, pem
		t.say(location, Todo, "Hubferry reads PEM files: keytool -importkeystore -srckeystore %s -destkeystore %s.p12 -deststoretype PKCS12, "+
			"then openssl pkcs12 -in %[2]s.p12 -nodes -out %[3]s", location.Value, c.name, pem)
	case locked:
		c.certFile, c.keyFile = t.reference(location, location.Value, variable(cluster, "CERT_FILE")), c.name+"-client-key.pem"
		t.say(location, Todo, "Hubferry reads unencrypted keys: openssl pkey -in %s -out %s", location.Value, c.keyFile)
	default:
		c.certFile = t.reference(location, location.Value, variable(cluster, "CERT_FILE"))
		c.keyFile = c.certFile
		t.say(location, Carried, "connections.%s.tls", c.name)
	}
}

// signIn translates how a client signs in.
func (t *translator) signIn(c *connection, cluster string) {
	mechanism, login := t.file.client(cluster, "sasl.mechanism"), t.file.client(cluster, "sasl.jaas.config")
	name := strings.ToUpper(mechanism.value("GSSAPI"))
	ours := strings.ToLower(name)
	switch name {
	case "OAUTHBEARER":
		t.say(mechanism, Carried, "connections.%s.sasl", c.name)
		t.token(c, cluster, login)
		return
	case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
		t.say(mechanism, Carried, "connections.%s.sasl", c.name)
	default:
		ours = "scram-sha-512"
		t.sayOr(mechanism, cluster+".sasl.mechanism", NotCarried, "signing in to %s with %s: give Hubferry a SCRAM or PLAIN user (connections.%s.sasl), or a client certificate", cluster, name, c.name)
	}
	userVariable, passwordVariable := variable(cluster, "USERNAME"), variable(cluster, "PASSWORD")
	user, password := "${"+userVariable+"}", "${"+passwordVariable+"}"
	options := jaas(login.value(""))
	switch {
	case login == nil:
		t.sayOr(login, cluster+".sasl.jaas.config", Todo, "it is not set, so MirrorMaker had the login from its JVM: set %s and %s", userVariable, passwordVariable)
	case options["username"] == "" && options["password"] == "":
		t.say(login, Todo, "no user name and password were found in this login: set %s and %s", userVariable, passwordVariable)
	default:
		if options["username"] != "" {
			user = t.reference(login, options["username"], userVariable)
		}
		password = t.secret(login, options["password"], passwordVariable)
		if !login.said {
			t.say(login, Carried, "connections.%s.sasl", c.name)
		}
	}
	c.sasl = []pair{{"mechanism", ours}, {"username", user}, {"password", password}}
}

// rack translates from which of the replicas is read.
func (t *translator) rack(c *connection, w *flow) {
	if s := t.file.consumer(w, "client.rack"); s != nil {
		c.rack = t.reference(s, s.Value, variable(w.source, "RACK"))
		t.say(s, Carried, "connections.%s.rack", c.name)
	}
}

// token translates a login with tokens of OAuth 2.0's client credentials, the only one
// that Kafka's own login module has.
func (t *translator) token(c *connection, cluster string, login *setting) {
	endpoint := t.file.client(cluster, "sasl.oauthbearer.token.endpoint.url")
	secretVariable := variable(cluster, "CLIENT_SECRET")
	c.sasl = []pair{{"mechanism", "oauthbearer"}}
	if endpoint == nil {
		c.sasl = append(c.sasl, pair{"token", "${" + variable(cluster, "TOKEN") + "}"})
		t.sayOr(endpoint, cluster+".sasl.oauthbearer.token.endpoint.url", Todo, "it is not set: set %s to a token, or see what connections.%s.sasl can have", variable(cluster, "TOKEN"), c.name)
		return
	}
	c.sasl = append(c.sasl, pair{"tokenEndpoint", t.reference(endpoint, endpoint.Value, variable(cluster, "TOKEN_ENDPOINT"))})
	t.say(endpoint, Carried, "connections.%s.sasl", c.name)
	options := jaas(login.value(""))
	if id := options["clientId"]; id != "" {
		c.sasl = append(c.sasl, pair{"clientId", t.reference(login, id, variable(cluster, "CLIENT_ID"))})
	} else {
		c.sasl = append(c.sasl, pair{"clientId", "${" + variable(cluster, "CLIENT_ID") + "}"})
		t.sayOr(login, cluster+".sasl.jaas.config", Todo, "it names no clientId: set %s", variable(cluster, "CLIENT_ID"))
	}
	if login != nil {
		c.sasl = append(c.sasl, pair{"clientSecret", t.secret(login, options["clientSecret"], secretVariable)})
	} else {
		c.sasl = append(c.sasl, pair{"clientSecret", "${" + secretVariable + "}"})
	}
	if scope := options["scope"]; scope != "" {
		c.sasl = append(c.sasl, pair{"scope", t.reference(login, scope, variable(cluster, "SCOPE"))})
	}
}
