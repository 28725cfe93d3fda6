package blob_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"go.uber.org/goleak"

	"github.com/hubferry/hubferry/hub/internal/blob"
	"github.com/hubferry/hubferry/internal/leaktest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashFolder); dir != "" {
		os.Exit(crash(dir))
	}
	os.Exit(leaktest.Main(m, func() error { return goleak.Find() }))
}

const accountName = "devstoreaccount1"

// accountKey is a key of the account, in base64.
const accountKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

// testAccount is an account behind an HTTP server.
type testAccount struct {
	*blob.Account
	t      testing.TB
	url    string // of the account, without a slash at the end
	client *http.Client
	clock  *clock
}

// clock is the time, which a test may move.
type clock struct {
	mu    sync.Mutex
	shift time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.shift)
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shift += d
}

// serve starts an account; change may alter its options.
func serve(t testing.TB, change func(*blob.Options)) *testAccount {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(accountKey)
	if err != nil {
		t.Fatal(err)
	}
	a := &testAccount{t: t, clock: &clock{}}
	o := blob.Options{Name: accountName, Keys: [][]byte{[]byte("another key"), key}, Now: a.clock.now}
	if change != nil {
		change(&o)
	}
	if a.Account, err = blob.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(a)
	server.Listener = listener{server.Listener}
	server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return c.(*blob.Conn).Context(ctx) }
	server.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateIdle {
			c.(*blob.Conn).Idle()
		}
	}
	server.Start()
	a.url = server.URL + "/" + accountName
	transport := &http.Transport{}
	a.client = &http.Client{Transport: transport}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		if err := a.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return a
}

// listener wraps connections as the hub does.
type listener struct{ net.Listener }

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return blob.NewConn(c, false), nil
}

// options are those of clients: no retries, which hide failures.
func (a *testAccount) options() azcore.ClientOptions {
	return azcore.ClientOptions{Transport: a.client, Retry: policy.RetryOptions{MaxRetries: -1}}
}

func (a *testAccount) credential() *azblob.SharedKeyCredential {
	a.t.Helper()
	c, err := azblob.NewSharedKeyCredential(accountName, accountKey)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// sdk is the official client, with the key of the account.
func (a *testAccount) sdk() *azblob.Client {
	a.t.Helper()
	c, err := azblob.NewClientWithSharedKeyCredential(a.url, a.credential(), &azblob.ClientOptions{ClientOptions: a.options()})
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// container creates a container and returns its client.
func (a *testAccount) container(name string) *container.Client {
	a.t.Helper()
	c := a.sdk().ServiceClient().NewContainerClient(name)
	if _, err := c.Create(a.t.Context(), nil); err != nil {
		a.t.Fatal(err)
	}
	return c
}

// accountSAS is the query of a SAS of the account.
func (a *testAccount) accountSAS(permissions, types string) string {
	a.t.Helper()
	q, err := sas.AccountSignatureValues{
		Permissions: permissions, ResourceTypes: types, ExpiryTime: a.clock.now().Add(time.Hour).UTC(),
	}.SignWithSharedKey(a.credential())
	if err != nil {
		a.t.Fatal(err)
	}
	return q.Encode()
}

// answer is what came back for a raw request.
type answer struct {
	status int
	header http.Header
	body   string
}

// errorBody is the XML of an error.
type errorBody struct {
	Code    string
	Message string
	Detail  string `xml:"AuthenticationErrorDetail"`
}

// code is the error code of an answer; that of the body must be the same.
func (r answer) code(t testing.TB) string {
	t.Helper()
	code := r.header.Get("x-ms-error-code")
	if r.body == "" || r.status < 300 {
		return code
	}
	var e errorBody
	if err := xml.Unmarshal([]byte(r.body), &e); err != nil {
		t.Errorf("the body of an error is no XML: %v\n%s", err, r.body)
	}
	if e.Code != code {
		t.Errorf("x-ms-error-code is %q, the body says %q", code, e.Code)
	}
	return code
}

// send makes a raw request. Headers are "Name: value".
func (a *testAccount) send(method, path, query string, body []byte, headers ...string) answer {
	a.t.Helper()
	target := a.url + path
	if query != "" {
		target += "?" + query
	}
	return a.sendTo(method, target, body, headers...)
}

func (a *testAccount) sendTo(method, target string, body []byte, headers ...string) answer {
	a.t.Helper()
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	r, err := http.NewRequestWithContext(a.t.Context(), method, target, reader)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		switch name {
		case "Host":
			r.Host = value
		case "Content-Length":
			if value == "none" {
				r.ContentLength = -1
			}
		default:
			r.Header[name] = append(r.Header[name], value)
		}
	}
	res, err := a.client.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		a.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

// all is a raw request with a SAS that allows everything.
func (a *testAccount) all(method, path, query string, body []byte, headers ...string) answer {
	a.t.Helper()
	signature := a.accountSAS("rwdlac", "sco")
	if query != "" {
		query += "&"
	}
	return a.send(method, path, query+signature, body, headers...)
}

// put stores a blob and returns its ETag.
func (a *testAccount) put(path, body string, headers ...string) string {
	a.t.Helper()
	r := a.all("PUT", path, "", []byte(body), append(headers, "x-ms-blob-type: BlockBlob")...)
	if r.status != http.StatusCreated {
		a.t.Fatalf("put %s: %d %s", path, r.status, r.body)
	}
	return r.header.Get("ETag")
}

// wantCode checks the code of an SDK's error.
func wantCode(t testing.TB, err error, status int, code bloberror.Code) {
	t.Helper()
	if !bloberror.HasCode(err, code) {
		t.Errorf("error is %v, want the code %s", err, code)
		return
	}
	if e, ok := errors.AsType[*azcore.ResponseError](err); !ok || e.StatusCode != status {
		t.Errorf("error is %v, want the status %d", err, status)
	}
}
