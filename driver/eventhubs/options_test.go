package eventhubs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry"
)

func TestParseConnString(t *testing.T) {
	const key = "c2VjcmV0PT0="
	for _, c := range []struct {
		in   string
		want connString
	}{
		{
			"Endpoint=sb://contoso.servicebus.windows.net/;SharedAccessKeyName=root;SharedAccessKey=" + key,
			connString{host: "contoso.servicebus.windows.net", keyName: "root", key: key},
		},
		{
			" endpoint = sb://Contoso.servicebus.windows.net ; sharedaccesskeyname=root; SHAREDACCESSKEY=" + key + ";EntityPath=/telemetry/;",
			connString{host: "Contoso.servicebus.windows.net", keyName: "root", key: key, entityPath: "telemetry"},
		},
		{
			"Endpoint=sb://localhost:6765;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=True;",
			connString{host: "localhost:6765", keyName: "RootManageSharedAccessKey", key: "SAS_KEY_VALUE", emulator: true},
		},
		{
			"Endpoint=sb://[::1]:5673;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true",
			connString{host: "[::1]:5673", keyName: "a", key: "b", emulator: true},
		},
		{
			"Endpoint=sb://contoso.servicebus.windows.net;SharedAccessSignature=SharedAccessSignature sr=x&sig=y%3D&se=1&skn=z",
			connString{host: "contoso.servicebus.windows.net", signature: "SharedAccessSignature sr=x&sig=y%3D&se=1&skn=z"},
		},
	} {
		got, err := parseConnString(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(connString{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.in, diff)
		}
	}
}

func TestParseConnStringRefuses(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "Endpoint is missing"},
		{"Endpoint=sb://h;SharedAccessKeyName=a", "SharedAccessKey is missing"},
		{"Endpoint=sb://h;SharedAccessKey=SECRET", "SharedAccessKeyName is missing"},
		{"Endpoint=h;SharedAccessKeyName=a;SharedAccessKey=SECRET", "Endpoint is not a URL"},
		{"Endpoint=ftp://h;SharedAccessKeyName=a;SharedAccessKey=SECRET", "must begin with sb://"},
		{"Endpoint=sb://user:SECRET@h;SharedAccessKeyName=a;SharedAccessKey=SECRET", "Endpoint is not a URL"},
		{"Endpoint=sb://h;SharedAccessKeyName=a;SharedAccessKey=SECRET;UseDevelopmentEmulator=SECRET", "true or false"},
		{"Endpoint=sb://h;SharedAccessKeyName=a;SharedAccessKey=SECRET;SECRET", "no \"=\""},
		{"Endpoint=sb://h;SharedAccessKey=SECRET;SharedAccessSignature=SECRET", "both"},
		{"Endpoint=sb://h;SharedAccesKey=SECRET", `"SharedAccesKey" is not a part`},
	} {
		_, err := parseConnString(c.in)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.in, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: the error shows a secret: %v", c.in, err)
		}
	}
}

func FuzzParseConnString(f *testing.F) {
	f.Add("Endpoint=sb://h", "a")
	f.Add("Endpoint=sb://[::1]:1;EntityPath=x;UseDevelopmentEmulator=1", "b;c")
	f.Fuzz(func(t *testing.T, rest, key string) {
		const mark = "5up3r-secret-"
		c, err := parseConnString(rest + ";SharedAccessKeyName=n;SharedAccessKey=" + mark + key)
		if err != nil && strings.Contains(err.Error(), mark) {
			t.Errorf("the error shows the key: %v", err)
		}
		if err == nil && c.host == "" {
			t.Error("no host, and no error")
		}
		o := &ConnectionOptions{ConnectionString: hubferry.NewSecret(rest + ";SharedAccessKey=" + mark + key)}
		if text := fmt.Sprintf("%v %+v %#v", o.Validate(), o, o); strings.Contains(text, mark) {
			t.Errorf("the options show the key: %s", text)
		}
	})
}

func TestValidateConnection(t *testing.T) {
	const good = "Endpoint=sb://h;SharedAccessKeyName=a;SharedAccessKey=b"
	secret := hubferry.NewSecret
	for _, c := range []struct {
		name string
		o    ConnectionOptions
		want []string // fields, in order
	}{
		{"connection string", ConnectionOptions{ConnectionString: secret(good)}, nil},
		{"namespace", ConnectionOptions{Namespace: "contoso.servicebus.windows.net"}, nil},
		{"namespace with port", ConnectionOptions{Namespace: "localhost:5671", Credential: CredentialAzureCLI}, nil},
		{"nothing", ConnectionOptions{}, []string{""}},
		{"both", ConnectionOptions{ConnectionString: secret(good), Namespace: "x"}, []string{"namespace"}},
		{"bad connection string", ConnectionOptions{ConnectionString: secret("x")}, []string{"connectionString"}},
		{"namespace with scheme", ConnectionOptions{Namespace: "sb://contoso"}, []string{"namespace"}},
		{"namespace with path", ConnectionOptions{Namespace: "contoso/hub"}, []string{"namespace"}},
		{"unknown credential", ConnectionOptions{Namespace: "x", Credential: "managed"}, []string{"credential"}},
		{"credential beside a key", ConnectionOptions{ConnectionString: secret(good), Credential: CredentialDefault}, []string{"credential"}},
		{"client secret", ConnectionOptions{Namespace: "x", Credential: CredentialClientSecret, TenantID: "t", ClientID: "c", ClientSecret: secret("s")}, nil},
		{"client secret without", ConnectionOptions{Namespace: "x", Credential: CredentialClientSecret}, []string{"tenantId", "clientId", "clientSecret"}},
		{"client certificate without", ConnectionOptions{Namespace: "x", Credential: CredentialClientCertificate, TenantID: "t", ClientID: "c"}, []string{"certificateFile"}},
		{"certificate for another", ConnectionOptions{Namespace: "x", CertificateFile: "f", CertificatePassword: secret("p")}, []string{"certificateFile", "certificatePassword"}},
		{"managed identity", ConnectionOptions{Namespace: "x", Credential: CredentialManagedIdentity, ClientID: "c"}, nil},
		{"workload identity", ConnectionOptions{Namespace: "x", Credential: CredentialWorkloadIdentity, ClientID: "c", TenantID: "t"}, nil},
		{"client id for nothing", ConnectionOptions{ConnectionString: secret(good), ClientID: "c"}, []string{"clientId"}},
		{"unknown transport", ConnectionOptions{Namespace: "x", Transport: "wss"}, []string{"transport"}},
		{"clients", ConnectionOptions{Namespace: "x", Client: ClientNative}, nil},
		{"unknown client", ConnectionOptions{Namespace: "x", Client: "azure"}, []string{"client"}},
		{"custom endpoint", ConnectionOptions{Namespace: "x", CustomEndpoint: "https://gateway:444"}, nil},
		{"bad custom endpoint", ConnectionOptions{Namespace: "x", CustomEndpoint: "gateway:port"}, []string{"customEndpoint"}},
		{"port out of range", ConnectionOptions{Namespace: "x:70000"}, []string{"namespace"}},
		{"proxy", ConnectionOptions{Namespace: "x", Proxy: secret("socks5://user:pw@proxy")}, nil},
		{"bad proxy", ConnectionOptions{Namespace: "x", Proxy: secret("ftp://proxy")}, []string{"proxy"}},
		{"short idle time-out", ConnectionOptions{Namespace: "x", IdleTimeout: time.Second}, []string{"idleTimeout"}},
		{
			"everything at once",
			ConnectionOptions{Namespace: "sb://x", Credential: CredentialClientSecret, Transport: "x", Proxy: secret("x"), IdleTimeout: 1},
			[]string{"namespace", "tenantId", "clientId", "clientSecret", "transport", "proxy", "idleTimeout"},
		},
	} {
		t.Run(c.name, func(t *testing.T) { checkProblems(t, c.o.Validate(), c.want) })
	}
}

func checkProblems(t *testing.T, got []hubferry.Problem, want []string) {
	t.Helper()
	var fields []string
	for _, p := range got {
		fields = append(fields, p.Field)
		if p.Message == "" {
			t.Errorf("%s: no message", p.Field)
		}
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("problems (-want +got):\n%s\n%v", diff, got)
	}
}

func TestValidateSourceAndTarget(t *testing.T) {
	for _, c := range []struct {
		name string
		o    hubferry.Options
		want []string
	}{
		{"source", &SourceOptions{ConsumerGroup: "$Default", Prefetch: 5000, OwnerLevel: 3, Compacted: true}, nil},
		{"no consumer group", &SourceOptions{}, []string{"consumerGroup"}},
		{"bad numbers", &SourceOptions{ConsumerGroup: "a/b", Prefetch: 5001, OwnerLevel: -1}, []string{"consumerGroup", "prefetch", "ownerLevel"}},
		{"target", &TargetOptions{}, nil},
		{"bad target", &TargetOptions{MaxMessageSize: 10, SendTimeout: -1, TailConsumerGroup: "a/b"}, []string{"maxMessageSize", "sendTimeout", "tailConsumerGroup"}},
	} {
		t.Run(c.name, func(t *testing.T) { checkProblems(t, c.o.Validate(), c.want) })
	}
}

func TestNamespaceIdentity(t *testing.T) {
	cs := func(endpoint, rest string) *ConnectionOptions {
		return &ConnectionOptions{ConnectionString: hubferry.NewSecret("Endpoint=sb://" + endpoint + ";SharedAccessKeyName=a;SharedAccessKey=b" + rest)}
	}
	withID := cs("contoso.servicebus.windows.net", "")
	withID.ID = "The One"
	for _, c := range []struct {
		o                   *ConnectionOptions
		namespace, audience string
		address             string
	}{
		{cs("Contoso.servicebus.windows.net", ""), "contoso.servicebus.windows.net", "amqps://Contoso.servicebus.windows.net/", "Contoso.servicebus.windows.net:5671"},
		{cs("contoso.servicebus.windows.net:5671", ""), "contoso.servicebus.windows.net", "amqps://contoso.servicebus.windows.net:5671/", "contoso.servicebus.windows.net:5671"},
		{cs("localhost", ";UseDevelopmentEmulator=true"), "localhost", "amqp://localhost/", "localhost:5672"},
		{cs("LOCALHOST:5673", ";UseDevelopmentEmulator=true"), "localhost:5673", "amqp://LOCALHOST:5673/", "LOCALHOST:5673"},
		{cs("host.docker.internal:5673", ";UseDevelopmentEmulator=true"), "host.docker.internal:5673", "amqp://host.docker.internal:5673/", "host.docker.internal:5673"},
		{cs("127.0.0.1:5671", ""), "127.0.0.1:5671", "amqps://127.0.0.1:5671/", "127.0.0.1:5671"},
		{cs("[::1]:5671", ""), "[::1]:5671", "amqps://[::1]:5671/", "[::1]:5671"},
		{withID, "The One", "amqps://contoso.servicebus.windows.net/", "contoso.servicebus.windows.net:5671"},
		{&ConnectionOptions{Namespace: "contoso.servicebus.windows.net", CustomEndpoint: "10.0.0.4:9000"}, "contoso.servicebus.windows.net", "amqps://contoso.servicebus.windows.net/", "10.0.0.4:9000"},
		{&ConnectionOptions{Namespace: "contoso.servicebus.windows.net", CustomEndpoint: "gateway", Transport: TransportWebSocket}, "contoso.servicebus.windows.net", "amqps://contoso.servicebus.windows.net/", "gateway:443"},
	} {
		conn := connect(t, c.o, hubferry.Env{})
		ns, err := conn.Namespace(t.Context())
		if err != nil || ns != c.namespace || conn.audience != c.audience || conn.dialer.address != c.address {
			t.Errorf("%q, %q, %q, %v; want %q, %q, %q", ns, conn.audience, conn.dialer.address, err, c.namespace, c.audience, c.address)
		}
	}
}

func TestOneHubOnly(t *testing.T) {
	c := connect(t, &ConnectionOptions{ConnectionString: hubferry.NewSecret("Endpoint=sb://h;SharedAccessKeyName=a;SharedAccessKey=b;EntityPath=Orders")}, hubferry.Env{})
	if _, err := c.Source(t.Context(), "orders", &SourceOptions{ConsumerGroup: "g"}); err != nil {
		t.Error(err)
	}
	_, err := c.Source(t.Context(), "telemetry", &SourceOptions{ConsumerGroup: "g"})
	if hubferry.KindOf(err) != hubferry.Unauthorized || !strings.Contains(err.Error(), "the hub Orders only") {
		t.Errorf("another hub: %v", err)
	}
}
