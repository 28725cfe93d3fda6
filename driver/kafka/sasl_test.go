package kafka_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/kafka"
	"github.com/hubferry/hubferry/internal/kafkatest"
)

func TestConnectionOptions(t *testing.T) {
	secret := hubferry.NewSecret("s")
	sasl := func(o kafka.SASLOptions) *kafka.ConnectionOptions {
		return &kafka.ConnectionOptions{Brokers: []string{"k"}, SASL: &o}
	}
	for name, c := range map[string]struct {
		o      *kafka.ConnectionOptions
		fields []string // of the problems
	}{
		"nothing":       {&kafka.ConnectionOptions{}, []string{"brokers"}},
		"brokers":       {&kafka.ConnectionOptions{Brokers: []string{"k", "k2:9093", "[::1]:9092"}}, nil},
		"bad broker":    {&kafka.ConnectionOptions{Brokers: []string{"k", ":9092"}}, []string{"brokers[1]"}},
		"key alone":     {&kafka.ConnectionOptions{Brokers: []string{"k"}, TLS: &kafka.TLSOptions{KeyFile: "x"}}, []string{"tls.certFile"}},
		"plain":         {sasl(kafka.SASLOptions{Mechanism: "plain", Username: "u", Password: secret}), nil},
		"no password":   {sasl(kafka.SASLOptions{Mechanism: "scram-sha-256", Username: "u"}), []string{"sasl.password"}},
		"mechanism":     {sasl(kafka.SASLOptions{Mechanism: "gssapi"}), []string{"sasl.mechanism"}},
		"plain + token": {sasl(kafka.SASLOptions{Mechanism: "plain", Username: "u", Password: secret, Token: secret}), []string{"sasl.token"}},
		"no way":        {sasl(kafka.SASLOptions{Mechanism: "oauthbearer"}), []string{"sasl.mechanism"}},
		"two ways":      {sasl(kafka.SASLOptions{Mechanism: "oauthbearer", Token: secret, Credential: "default"}), []string{"sasl.mechanism"}},
		"token":         {sasl(kafka.SASLOptions{Mechanism: "oauthbearer", Token: secret}), nil},
		"endpoint":      {sasl(kafka.SASLOptions{Mechanism: "oauthbearer", TokenEndpoint: "https://idp/token", ClientID: "c", ClientSecret: secret, Scope: "s"}), nil},
		"no secret":     {sasl(kafka.SASLOptions{Mechanism: "oauthbearer", TokenEndpoint: "https://idp/token", ClientID: "c"}), []string{"sasl.clientSecret"}},
		"open endpoint": {sasl(kafka.SASLOptions{Mechanism: "oauthbearer", TokenEndpoint: "http://idp/token", ClientID: "c", ClientSecret: secret}), []string{"sasl.tokenEndpoint"}},
		"credential":    {sasl(kafka.SASLOptions{Mechanism: "oauthbearer", Credential: "managed-identity", ClientID: "c"}), nil},
		"certificate":   {sasl(kafka.SASLOptions{Mechanism: "oauthbearer", Credential: "client-certificate", ClientID: "c"}), []string{"sasl.certificateFile", "sasl.tenantId"}},
		"no such":       {sasl(kafka.SASLOptions{Mechanism: "oauthbearer", Credential: "magic"}), []string{"sasl.credential"}},
		"event hubs":    {&kafka.ConnectionOptions{ConnectionString: hubferry.NewSecret("Endpoint=sb://a.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=k")}, nil},
		"no key":        {&kafka.ConnectionOptions{ConnectionString: hubferry.NewSecret("Endpoint=sb://a.servicebus.windows.net/")}, []string{"connectionString"}},
		"no endpoint":   {&kafka.ConnectionOptions{ConnectionString: hubferry.NewSecret("SharedAccessKey=k")}, []string{"connectionString"}},
		"both":          {&kafka.ConnectionOptions{ConnectionString: hubferry.NewSecret("Endpoint=sb://a/;SharedAccessKey=k"), SASL: &kafka.SASLOptions{Mechanism: "plain", Username: "u", Password: secret}}, []string{"sasl"}},
	} {
		var fields []string
		for _, p := range c.o.Validate() {
			fields = append(fields, p.Field)
			if p.Message == "" || strings.Contains(p.Message, "SharedAccessKey=k") {
				t.Errorf("%s: %q", name, p.Message)
			}
		}
		slices.Sort(fields)
		if !slices.Equal(fields, c.fields) {
			t.Errorf("%s: problems with %q, want %q", name, fields, c.fields)
		}
	}
}

func TestSourceOptions(t *testing.T) {
	for name, c := range map[string]struct {
		o     kafka.SourceOptions
		field string
	}{
		"zero":        {kafka.SourceOptions{}, ""},
		"all":         {kafka.SourceOptions{Checkpoints: "group", Isolation: "read-uncommitted", InstanceID: "i", SessionTimeout: time.Second, RebalanceTimeout: time.Second}, ""},
		"checkpoints": {kafka.SourceOptions{Checkpoints: "zookeeper"}, "checkpoints"},
		"isolation":   {kafka.SourceOptions{Isolation: "serializable"}, "isolation"},
		"session":     {kafka.SourceOptions{SessionTimeout: time.Millisecond}, "sessionTimeout"},
		"rebalance":   {kafka.SourceOptions{RebalanceTimeout: -1}, "rebalanceTimeout"},
		"instance":    {kafka.SourceOptions{Checkpoints: "store", InstanceID: "i"}, "instanceId"},
	} {
		problems := c.o.Validate()
		if len(problems) > 1 || (len(problems) == 1) != (c.field != "") || c.field != "" && problems[0].Field != c.field {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

// Every way to sign in that a real broker offers.
func TestSignIn(t *testing.T) {
	b := broker.Broker(t)
	cert, key := b.Certificate()
	files := map[string][]byte{"ca": b.CA(), "cert": cert, "key": key}
	var asked atomic.Int64
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		id, secret, _ := r.BasicAuth()
		if id != "client" || secret != "s%2F1" || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "kafka" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"invalid_client"}`))
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": kafkatest.Token(kafkatest.User, time.Hour), "expires_in": 3600})
	}))
	defer idp.Close()
	user := func(mechanism, password string) *kafka.SASLOptions {
		return &kafka.SASLOptions{Mechanism: mechanism, Username: kafkatest.User, Password: hubferry.NewSecret(password)}
	}
	endpoint := func(secret string) *kafka.SASLOptions {
		return &kafka.SASLOptions{Mechanism: "oauthbearer", TokenEndpoint: idp.URL, ClientID: "client", ClientSecret: hubferry.NewSecret(secret), Scope: "kafka"}
	}
	token := func(user string, life time.Duration) *kafka.SASLOptions {
		return &kafka.SASLOptions{Mechanism: "oauthbearer", Token: hubferry.NewSecret(kafkatest.Token(user, life))}
	}
	ca := &kafka.TLSOptions{CAFile: "ca"}
	for name, c := range map[string]struct {
		addr string
		tls  *kafka.TLSOptions
		sasl *kafka.SASLOptions
		ok   bool
	}{
		"open":               {b.Addr(), nil, nil, true},
		"plain":              {b.SASL(), nil, user("plain", kafkatest.Password), true},
		"plain over TLS":     {b.SASLTLS(), ca, user("plain", kafkatest.Password), true},
		"unknown authority":  {b.SASLTLS(), &kafka.TLSOptions{}, user("plain", kafkatest.Password), false},
		"scram-sha-256":      {b.SASLTLS(), ca, user("scram-sha-256", kafkatest.Password), true},
		"scram-sha-512":      {b.SASL(), nil, user("scram-sha-512", kafkatest.Password), true},
		"wrong password":     {b.SASL(), nil, user("scram-sha-512", "wrong"), false},
		"client certificate": {b.TLS(), &kafka.TLSOptions{CAFile: "ca", CertFile: "cert", KeyFile: "key"}, nil, true},
		"no certificate":     {b.TLS(), ca, nil, false},
		"token":              {b.SASL(), nil, token(kafkatest.User, time.Hour), true},
		"expired token":      {b.SASL(), nil, token(kafkatest.User, -time.Hour), false},
		"token endpoint":     {b.SASLTLS(), ca, endpoint("s/1"), true},
		"refusing endpoint":  {b.SASL(), nil, endpoint("wrong"), false},
		"guest":              {b.SASL(), nil, token(kafkatest.Guest, time.Hour), false},
		"no SASL":            {b.SASL(), nil, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := &kafka.ConnectionOptions{Brokers: []string{c.addr}, TLS: c.tls, SASL: c.sasl}
			if p := o.Validate(); len(p) > 0 {
				t.Fatal(p)
			}
			conn := connect(t, o, hubferry.Env{Fetch: func(name string) ([]byte, error) { return files[name], nil }})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			source, err := conn.Source(ctx, "__consumer_offsets", &kafka.SourceOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer source.Close(ctx)
			_, err = source.Partitions(ctx)
			if ok := err == nil || hubferry.KindOf(err) == hubferry.NotFound; ok != c.ok {
				t.Errorf("%v", err)
			}
			if err != nil && strings.Contains(err.Error(), kafkatest.Password) {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
	if n := asked.Load(); n < 2 || n > 8 {
		t.Errorf("the token endpoint was asked %d times", n)
	}
}
