package hub_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"

	"github.com/hubferry/hubferry/hub"
)

// serveAccount starts listening for an account and returns the address.
func (s *testServer) serveAccount(name string) string {
	s.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.served.Go(func() {
		if err := s.ServeBlob(context.Background(), ln, name); !errors.Is(err, hub.ErrClosed) {
			s.t.Errorf("ServeBlob: %v", err)
		}
	})
	return ln.Addr().String()
}

// blobClient is the official client for a connection string.
func blobClient(t *testing.T, connection string, trusting *tls.Config) *azblob.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: trusting}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := azblob.NewClientFromConnectionString(connection, &azblob.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: &http.Client{Transport: transport}, Retry: policy.RetryOptions{MaxRetries: -1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// An account without options is the one that Microsoft publishes; what is
// stored is there after a restart, beside the data of namespaces.
func TestBlobAccount(t *testing.T) {
	dir := t.TempDir()
	account := hub.AccountOptions{Containers: []string{"checkpoints"}}
	for _, fsync := range []hub.Fsync{hub.FsyncInterval, hub.FsyncBatch, hub.FsyncNever} {
		s := start(t, func(o *hub.Options) {
			o.Dir, o.Fsync, o.Blob = dir, fsync, []hub.AccountOptions{account}
		})
		addr := s.serveAccount(hub.PublishedAccount)
		connection := account.ConnectionString(addr)
		want := "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=" + hub.PublishedAccountKey +
			";BlobEndpoint=http://" + addr + "/devstoreaccount1;"
		if connection != want {
			t.Errorf("connection string %s, want %s", connection, want)
		}
		c := blobClient(t, connection, nil)
		if fsync != hub.FsyncInterval {
			got := make([]byte, 20)
			if n, err := c.DownloadBuffer(t.Context(), "checkpoints", "before", got, nil); err != nil || string(got[:n]) != "the restart" {
				t.Errorf("after the restart: %q, %v", got[:n], err)
			}
		}
		if _, err := c.UploadBuffer(t.Context(), "checkpoints", "before", []byte("the restart"), nil); err != nil {
			t.Error(err)
		}
		s.stop()
	}
}

// With a certificate the port takes both.
func TestBlobTLS(t *testing.T) {
	cert, pool := certificate(t)
	key := base64.StdEncoding.EncodeToString([]byte("a key of our own"))
	account := hub.AccountOptions{Name: "ours", Key: key}
	s := start(t, func(o *hub.Options) {
		o.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
		o.Blob = []hub.AccountOptions{account}
	})
	plain := account.ConnectionString(s.serveAccount("ours"))
	encrypted := strings.ReplaceAll(plain, "http", "https")
	trusting := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	for name, connection := range map[string]string{"plain": plain, "encrypted": encrypted} {
		if _, err := blobClient(t, connection, trusting).CreateContainer(t.Context(), name, nil); err != nil {
			t.Error(err)
		}
	}
	_, endpoint, _ := strings.Cut(encrypted, "BlobEndpoint=")
	// The answer names the endpoint with the protocol that was used.
	r, err := blobClient(t, encrypted, trusting).ServiceClient().NewListContainersPager(nil).NextPage(t.Context())
	if err != nil || *r.ServiceEndpoint != strings.TrimSuffix(endpoint, ";")+"/" {
		t.Errorf("listed %+v, %v", r, err)
	}
	if strings.Contains(s.log.text(), key) {
		t.Error("the log holds the key")
	}
}

func TestUnknownAccount(t *testing.T) {
	s := start(t, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ServeBlob(t.Context(), ln, "nobody"); !errors.Is(err, hub.ErrUnknownAccount) {
		t.Errorf("ServeBlob: %v", err)
	}
}

func TestAccountOptions(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    hub.Options
		want []string
	}{
		{"an account alone", hub.Options{Blob: []hub.AccountOptions{{}}}, nil},
		{"two", hub.Options{Blob: []hub.AccountOptions{{}, {Name: "second"}}}, nil},
		{"twice", hub.Options{Blob: []hub.AccountOptions{{}, {Name: hub.PublishedAccount}}}, []string{`blob[1].name: "devstoreaccount1" is given twice`}},
		{"bad names", hub.Options{Blob: []hub.AccountOptions{{Name: "A-b", Containers: []string{"x", "good", "good"}}}}, []string{
			`blob[0].name: "A-b" is not the name of an account`, `blob[0].containers[0]: "x" is not the name of a container`, `blob[0].containers[2]: "good" is given twice`,
		}},
		{"bad key", hub.Options{Blob: []hub.AccountOptions{{Key: "!secret!"}}}, []string{"blob[0].key: a key is not base64"}},
		{"bad address", hub.Options{Blob: []hub.AccountOptions{{Listen: "here"}}}, []string{`blob[0].listen: "here" is not an address with a port`}},
		{"published key for everybody", hub.Options{Blob: []hub.AccountOptions{{Listen: ":10000"}}}, []string{"blob[0].key: :10000 can be reached from other machines"}},
		{"own key for everybody", hub.Options{Blob: []hub.AccountOptions{{Listen: ":10000", Key: "a2V5"}}}, nil},
		{"folder", hub.Options{Dir: "x", Blob: []hub.AccountOptions{{}}, Namespaces: []hub.NamespaceOptions{{Name: "Blob"}}}, []string{`namespaces[0].name: "Blob" is the folder of storage accounts`}},
		{"limits", hub.Options{Blob: []hub.AccountOptions{{}}, Limits: hub.Limits{BlobBytes: -1, AccountBytes: -1}}, []string{"limits.blobBytes: it is negative", "limits.accountBytes: it is negative"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.o.Validate()
			if tc.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, tc.want...)
			if strings.Contains(err.Error(), "!secret!") {
				t.Error("the error shows the key")
			}
		})
	}
	o := hub.Options{Blob: []hub.AccountOptions{{}, {Name: "second"}}}
	if a, b := o.BlobListenAddress(0), o.BlobListenAddress(1); a != "127.0.0.1:10000" || b != "127.0.0.1:10001" {
		t.Errorf("addresses are %s and %s", a, b)
	}
}
