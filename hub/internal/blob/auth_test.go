package blob_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/hubferry/hubferry/hub/internal/blob"
)

// A wrong key, a wrong account and an old request are refused with the reason.
func TestSharedKeyRefused(t *testing.T) {
	a := serve(t, nil)
	wrong, err := azblob.NewSharedKeyCredential(accountName, "d3Jvbmc=")
	if err != nil {
		t.Fatal(err)
	}
	other, err := azblob.NewSharedKeyCredential("another", accountKey)
	if err != nil {
		t.Fatal(err)
	}
	second, err := azblob.NewSharedKeyCredential(accountName, "YW5vdGhlciBrZXk=")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		with   *azblob.SharedKeyCredential
		late   time.Duration
		detail string
	}{
		{"wrong key", wrong, 0, "The MAC signature found in the HTTP request"},
		{"another account", other, 0, "The account 'another' is not the one of this endpoint"},
		{"too late", a.credential(), 16 * time.Minute, "Request date header too old"},
		{"too early", a.credential(), -16 * time.Minute, "Request date header too old"},
		{"late", a.credential(), 14 * time.Minute, ""},
		{"second key", second, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a.clock.add(tc.late)
			defer a.clock.add(-tc.late)
			c, err := azblob.NewClientWithSharedKeyCredential(a.url, tc.with, &azblob.ClientOptions{ClientOptions: a.options()})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.ServiceClient().NewListContainersPager(nil).NextPage(t.Context())
			if tc.detail == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantCode(t, err, http.StatusForbidden, bloberror.AuthenticationFailed)
			if !strings.Contains(err.Error(), tc.detail) {
				t.Errorf("the error says %v", err)
			}
		})
	}
}

// What comes without a signature, or with another kind of one.
func TestOtherAuthorization(t *testing.T) {
	a := serve(t, nil)
	b := serve(t, func(o *blob.Options) {
		o.Bearer = func(token string) error {
			if token != "good" {
				return errors.New("no good")
			}
			return nil
		}
	})
	for _, tc := range []struct {
		to     *testAccount
		header string
		status int
		code   string
	}{
		{a, "", 401, "NoAuthenticationInformation"},
		{a, "Basic YTpi", 400, "InvalidAuthenticationInfo"},
		{a, "SharedKey nonsense", 400, "InvalidAuthenticationInfo"},
		{a, "SharedKey " + accountName + ":AAAA", 403, "AuthenticationFailed"}, // it has no date
		{a, "Bearer good", 403, "AuthenticationFailed"},
		{b, "Bearer bad", 403, "AuthenticationFailed"},
		{b, "Bearer good", 200, ""},
	} {
		var headers []string
		if tc.header != "" {
			headers = []string{"Authorization: " + tc.header}
		}
		r := tc.to.send("GET", "/", "comp=list", nil, headers...)
		if r.status != tc.status || r.code(t) != tc.code {
			t.Errorf("%q: %d %s, want %d %s", tc.header, r.status, r.code(t), tc.status, tc.code)
		}
		if r.status == 401 && r.header.Get("WWW-Authenticate") == "" {
			t.Error("it does not say how to sign")
		}
	}
}

// asked are the operations that a SAS may allow.
var asked = []struct {
	name, method, path, query string
}{
	{"list containers", "GET", "/", "comp=list"},
	{"create container", "PUT", "/fresh", "restype=container"},
	{"get container", "GET", "/things", "restype=container"},
	{"list blobs", "GET", "/things", "restype=container&comp=list"},
	{"get", "GET", "/things/there", ""},
	{"set metadata", "PUT", "/things/there", "comp=metadata"},
	{"put new", "PUT", "/things/new", ""},
	{"put over", "PUT", "/things/there", ""},
	{"delete", "DELETE", "/things/new", ""},
	{"get another", "GET", "/others/there", ""},
	{"delete container", "DELETE", "/fresh", "restype=container"},
}

// ask makes all requests with a signature and returns which were allowed.
func (a *testAccount) ask(signature string) (allowed string) {
	a.t.Helper()
	a.all("DELETE", "/things/new", "", nil)
	a.all("DELETE", "/fresh", "restype=container", nil)
	var all []string
	for _, op := range asked {
		query := signature
		if op.query != "" {
			query = op.query + "&" + signature
		}
		r := a.send(op.method, op.path, query, nil, "x-ms-blob-type: BlockBlob")
		switch code := r.code(a.t); {
		case r.status < 300 || r.status == 404:
			all = append(all, op.name)
		case r.status != 403:
			a.t.Errorf("%s: %d %s", op.name, r.status, r.body)
		case op.name == "put over" && strings.Contains(allowed, "put new") && code != "UnauthorizedBlobOverwrite":
			a.t.Errorf("%s: %s", op.name, code)
		}
	}
	return strings.Join(all, ", ")
}

func TestAccountSAS(t *testing.T) {
	a := serve(t, nil)
	for _, name := range []string{"things", "others"} {
		a.container(name)
		a.put("/"+name+"/there", "body")
	}
	for _, tc := range []struct {
		permissions, types string
		want               string
	}{
		{"rl", "sco", "list containers, get container, list blobs, get, get another"},
		{"rl", "o", "get, get another"},
		{"l", "s", "list containers"},
		{"w", "o", "set metadata, put new, put over"},
		{"c", "o", "put new"},
		{"c", "c", "create container"},
		{"d", "o", "delete"},
		{"d", "c", "delete container"},
		{"rwl", "co", "create container, get container, list blobs, get, set metadata, put new, put over, get another"},
	} {
		if got := a.ask(a.accountSAS(tc.permissions, tc.types)); got != tc.want {
			t.Errorf("%s for %s: allowed are %s; want %s", tc.permissions, tc.types, got, tc.want)
		}
	}
}

func TestServiceSAS(t *testing.T) {
	a := serve(t, nil)
	for _, name := range []string{"things", "others"} {
		a.container(name)
		a.put("/"+name+"/there", "body")
	}
	sign := func(v sas.BlobSignatureValues) string {
		t.Helper()
		v.ExpiryTime = a.clock.now().Add(time.Hour)
		q, err := v.SignWithSharedKey(a.credential())
		if err != nil {
			t.Fatal(err)
		}
		return q.Encode()
	}
	for _, tc := range []struct {
		name string
		v    sas.BlobSignatureValues
		want string
	}{
		{"container, all", sas.BlobSignatureValues{ContainerName: "things", Permissions: "racwdl"}, "list blobs, get, set metadata, put new, put over, delete"},
		{"container, rl", sas.BlobSignatureValues{ContainerName: "things", Permissions: "rl"}, "list blobs, get"},
		{"container, c", sas.BlobSignatureValues{ContainerName: "things", Permissions: "c"}, "put new"},
		{"blob, rw", sas.BlobSignatureValues{ContainerName: "things", BlobName: "there", Permissions: "rw"}, "get, set metadata, put over"},
		{"blob, d", sas.BlobSignatureValues{ContainerName: "things", BlobName: "new", Permissions: "d"}, "delete"},
	} {
		if got := a.ask(sign(tc.v)); got != tc.want {
			t.Errorf("%s: allowed are %s; want %s", tc.name, got, tc.want)
		}
	}
	r := a.send("GET", "/things/there", sign(sas.BlobSignatureValues{
		ContainerName: "things", BlobName: "there", Permissions: "r",
		ContentType: "text/x-test", CacheControl: "max-age=5", ContentDisposition: "attachment", ContentEncoding: "x", ContentLanguage: "de",
	}), nil)
	for name, want := range map[string]string{
		"Content-Type": "text/x-test", "Cache-Control": "max-age=5", "Content-Disposition": "attachment", "Content-Encoding": "x", "Content-Language": "de",
	} {
		if r.header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, r.header.Get(name), want)
		}
	}
}

// The client makes a SAS itself and hands it to another one.
func TestClientSAS(t *testing.T) {
	a := serve(t, nil)
	url, err := a.container("things").GetSASURL(sas.ContainerPermissions{Read: true, List: true, Write: true}, a.clock.now().Add(time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := container.NewClientWithNoCredential(url, &container.ClientOptions{ClientOptions: a.options()})
	if err != nil {
		t.Fatal(err)
	}
	checkpointStore(t, c)
	_, err = c.Delete(t.Context(), nil)
	wantCode(t, err, http.StatusForbidden, bloberror.AuthorizationPermissionMismatch)
}

// A SAS holds for its time, protocol and address only, and as it was signed.
func TestSASRefused(t *testing.T) {
	a := serve(t, nil)
	a.container("things")
	sign := func(change func(*sas.AccountSignatureValues)) string {
		t.Helper()
		v := sas.AccountSignatureValues{Permissions: "rl", ResourceTypes: "sco", ExpiryTime: a.clock.now().Add(time.Hour).UTC()}
		if change != nil {
			change(&v)
		}
		q, err := v.SignWithSharedKey(a.credential())
		if err != nil {
			t.Fatal(err)
		}
		return q.Encode()
	}
	good := sign(nil)
	for _, tc := range []struct {
		name, query string
		status      int
		code        string
		detail      string
	}{
		{"good", good, 200, "", ""},
		{"expired", sign(func(v *sas.AccountSignatureValues) { v.ExpiryTime = a.clock.now().Add(-time.Hour).UTC() }), 403, "AuthenticationFailed", "Signature not valid in the specified time frame"},
		{"not yet", sign(func(v *sas.AccountSignatureValues) { v.StartTime = a.clock.now().Add(time.Minute).UTC() }), 403, "AuthenticationFailed", "Signature not valid in the specified time frame"},
		{"HTTPS only", sign(func(v *sas.AccountSignatureValues) { v.Protocol = sas.ProtocolHTTPS }), 403, "AuthorizationProtocolMismatch", ""},
		{"both protocols", sign(func(v *sas.AccountSignatureValues) { v.Protocol = sas.ProtocolHTTPSandHTTP }), 200, "", ""},
		{"this address", sign(func(v *sas.AccountSignatureValues) {
			v.IPRange = sas.IPRange{Start: []byte{127, 0, 0, 0}, End: []byte{127, 0, 0, 9}}
		}), 200, "", ""},
		{"another address", sign(func(v *sas.AccountSignatureValues) { v.IPRange = sas.IPRange{Start: []byte{10, 0, 0, 1}} }), 403, "AuthorizationSourceIPMismatch", ""},
		{"more rights than were signed", strings.Replace(good, "sp=rl", "sp=rlw", 1), 403, "AuthenticationFailed", "Signature did not match"},
		{"another service", strings.Replace(good, "ss=b", "ss=q", 1), 403, "AuthenticationFailed", "Signature did not match"},
		{"no permissions", strings.Replace(good, "sp=rl", "", 1), 403, "AuthenticationFailed", "sp and se are mandatory"},
		{"an access policy", good + "&si=policy", 403, "AuthenticationFailed", "access policy"},
		{"a user's key", good + "&skoid=id", 403, "AuthenticationFailed", "user delegation key"},
		{"an old version", "sv=2012-02-12&sr=c&sig=x&sp=r&se=2030-01-01", 403, "AuthenticationFailed", "sv is mandatory"},
		{"no version", "sig=x", 403, "AuthenticationFailed", "sv is mandatory"},
		{"no resource", "sv=2026-02-06&sig=x&sp=r&se=2030-01-01", 403, "AuthenticationFailed", "neither ss nor a known sr"},
	} {
		r := a.send("GET", "/things", "restype=container&comp=list&"+tc.query, nil)
		if r.status != tc.status || r.code(t) != tc.code || !strings.Contains(r.body, tc.detail) {
			t.Errorf("%s: %d %s, want %d %s %s", tc.name, r.status, r.body, tc.status, tc.code, tc.detail)
		}
	}
}
