package kafka

import (
	"errors"
	"net"
	"net/url"
	"strings"

	"github.com/hubferry/hubferry"
)

// eventHubsPort is where Event Hubs speaks Kafka.
const eventHubsPort = "9093"

// connectionUser is the user of who signs in with a connection string (Microsoft's "Azure
// Event Hubs for Apache Kafka").
const connectionUser = "$ConnectionString"

// Event Hubs closes connections that bring a larger request, unless the namespace takes
// larger messages (Microsoft's "Apache Kafka client configurations for Azure Event Hubs",
// max.request.size). What a request has beside its batch is allowed for.
const (
	eventHubsRequest = 1_046_528
	requestOverhead  = 1024
)

// limited reports whether this is Event Hubs, also where it goes by its brokers, as the
// emulator does.
func (o *ConnectionOptions) limited() bool {
	return o.azure() || o.SASL != nil && o.SASL.Username == connectionUser
}

// azure reports whether this is Event Hubs, by what signing in takes.
func (o *ConnectionOptions) azure() bool {
	return !o.ConnectionString.IsZero() || o.SASL != nil && o.SASL.Credential != ""
}

// eventHubsBroker returns the one broker of the namespace that a connection string names.
// Its errors do not show the text, which holds a key.
func eventHubsBroker(connectionString string) (string, error) {
	var endpoint string
	key := false
	for part := range strings.SplitSeq(connectionString, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch strings.ToLower(name) {
		case "endpoint":
			endpoint = value
		case "sharedaccesskey", "sharedaccesssignature":
			key = value != ""
		}
	}
	u, err := url.Parse(endpoint)
	switch {
	case endpoint == "" || err != nil || u.Hostname() == "":
		return "", errors.New("it has no Endpoint; it looks like Endpoint=sb://contoso.servicebus.windows.net/;SharedAccessKeyName=…;SharedAccessKey=…")
	case !key:
		return "", errors.New("it has no SharedAccessKey")
	}
	port := u.Port()
	if port == "" {
		port = eventHubsPort
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

// resolved returns the options with the shorthand for Event Hubs written out. They are
// valid.
func (o *ConnectionOptions) resolved() (*ConnectionOptions, error) {
	r := *o
	if !o.ConnectionString.IsZero() {
		broker, err := eventHubsBroker(o.ConnectionString.Reveal())
		if err != nil {
			return nil, &hubferry.Error{Kind: hubferry.Fatal, Op: "read connectionString", Err: err}
		}
		if len(r.Brokers) == 0 {
			r.Brokers = []string{broker}
		}
		r.SASL = &SASLOptions{Mechanism: MechanismPlain, Username: connectionUser, Password: o.ConnectionString}
	}
	if o.azure() && r.TLS == nil {
		r.TLS = &TLSOptions{} // Event Hubs takes nothing else
	}
	if o.azure() && r.ID == "" {
		host, _, _ := net.SplitHostPort(withPort(r.Brokers[0]))
		r.ID = strings.ToLower(host) // as in driver/eventhubs: one hub has one place (G-1)
	}
	return &r, nil
}
