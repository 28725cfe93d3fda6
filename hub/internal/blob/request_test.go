package blob_test

import (
	"crypto/md5"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hubferry/hubferry/hub/internal/blob"
)

// The answers to requests, one by one: status, code and what else counts.
func TestAnswers(t *testing.T) {
	a := serve(t, nil)
	a.container("things")
	a.put("/things/b", "body")
	long := strings.Repeat("x", 1025)
	for _, tc := range []struct {
		name, method, path, query string
		body                      []byte
		headers                   []string
		status                    int
		code                      string
	}{
		{"list containers", "GET", "/", "comp=list", nil, nil, 200, ""},
		{"parameters have no case", "GET", "/", "COMP=List", nil, nil, 200, ""},
		{"head of a container", "HEAD", "/things", "restype=container", nil, nil, 200, ""},
		{"metadata of a container", "GET", "/things", "restype=container&comp=metadata", nil, nil, 200, ""},
		{"container is there", "PUT", "/things", "restype=container", nil, nil, 409, "ContainerAlreadyExists"},
		{"container of 2 characters", "PUT", "/ab", "restype=container", nil, nil, 400, "OutOfRangeInput"},
		{"container in upper case", "PUT", "/Things", "restype=container", nil, nil, 400, "InvalidResourceName"},
		{"container with two hyphens", "PUT", "/a--b", "restype=container", nil, nil, 400, "InvalidResourceName"},
		{"container with public access", "PUT", "/open", "restype=container", nil, []string{"x-ms-blob-public-access: blob"}, 409, "PublicAccessNotPermitted"},
		{"container that is not there", "GET", "/nothing", "restype=container", nil, nil, 404, "ContainerNotFound"},
		{"delete what is not there", "DELETE", "/nothing", "restype=container", nil, nil, 404, "ContainerNotFound"},
		{"list what is not there", "GET", "/nothing", "restype=container&comp=list", nil, nil, 404, "ContainerNotFound"},
		{"delete container by ETag", "DELETE", "/things", "restype=container", nil, []string{"If-Match: *"}, 400, "ConditionHeadersNotSupported"},
		{"container has no lease", "DELETE", "/things", "restype=container", nil, []string{"x-ms-lease-id: any"}, 412, "LeaseNotPresentWithContainerOperation"},
		{"blob in the root container", "GET", "/things", "", nil, nil, 404, "ContainerNotFound"},

		{"blob without type", "PUT", "/things/b", "", nil, nil, 400, "MissingRequiredHeader"},
		{"page blob", "PUT", "/things/b", "", nil, []string{"x-ms-blob-type: PageBlob"}, 501, "NotImplemented"},
		{"blob of no type", "PUT", "/things/b", "", nil, []string{"x-ms-blob-type: Blob"}, 400, "InvalidHeaderValue"},
		{"blob without length", "PUT", "/things/b", "", []byte("x"), []string{"x-ms-blob-type: BlockBlob", "Content-Length: none"}, 411, "MissingContentLengthHeader"},
		{"blob into nothing", "PUT", "/nothing/b", "", nil, []string{"x-ms-blob-type: BlockBlob"}, 404, "ContainerNotFound"},
		{"blob with a long name", "PUT", "/things/" + long, "", nil, []string{"x-ms-blob-type: BlockBlob"}, 400, "OutOfRangeInput"},
		{"bad MD5", "PUT", "/things/b", "", []byte("x"), []string{"x-ms-blob-type: BlockBlob", "Content-Md5: AAAA"}, 400, "InvalidMd5"},
		{"wrong MD5", "PUT", "/things/b", "", []byte("x"), []string{"x-ms-blob-type: BlockBlob", "Content-Md5: " + sumOf("y")}, 400, "Md5Mismatch"},
		{"right MD5", "PUT", "/things/c", "", []byte("x"), []string{"x-ms-blob-type: BlockBlob", "Content-Md5: " + sumOf("x")}, 201, ""},
		{"copy", "PUT", "/things/b", "", nil, []string{"x-ms-blob-type: BlockBlob", "x-ms-copy-source: http://127.0.0.1/"}, 400, "UnsupportedHeader"},
		{"key of a customer", "PUT", "/things/b", "", nil, []string{"x-ms-blob-type: BlockBlob", "x-ms-encryption-key: x"}, 400, "UnsupportedHeader"},
		{"blob that is not there", "GET", "/things/x", "", nil, nil, 404, "BlobNotFound"},
		{"metadata of what is not there", "PUT", "/things/x", "comp=metadata", nil, nil, 404, "BlobNotFound"},
		{"blob in what is not there", "HEAD", "/nothing/x", "", nil, nil, 404, "ContainerNotFound"},
		{"snapshot", "GET", "/things/b", "snapshot=2026-01-01T00:00:00.0000000Z", nil, nil, 400, "UnsupportedQueryParameter"},
		{"delete snapshots only", "DELETE", "/things/b", "", nil, []string{"x-ms-delete-snapshots: only"}, 400, "UnsupportedHeader"},
		{"blob has no lease", "PUT", "/things/b", "comp=metadata", nil, []string{"x-ms-lease-id: any"}, 412, "LeaseNotPresentWithBlobOperation"},
		{"range", "GET", "/things/b", "", nil, []string{"x-ms-range: bytes=1-2"}, 206, ""},
		{"range without end", "GET", "/things/b", "", nil, []string{"Range: bytes=1-"}, 206, ""},
		{"range beyond the end", "GET", "/things/b", "", nil, []string{"x-ms-range: bytes=4-9"}, 416, "InvalidRange"},
		{"range of the end", "GET", "/things/b", "", nil, []string{"x-ms-range: bytes=-2"}, 416, "InvalidRange"},

		{"metadata with a bad name", "PUT", "/things/b", "comp=metadata", nil, []string{"x-ms-meta-a-b: 1"}, 400, "InvalidMetadata"},
		{"metadata with a digit first", "PUT", "/things/b", "comp=metadata", nil, []string{"x-ms-meta-1a: 1"}, 400, "InvalidMetadata"},
		{"metadata without a name", "PUT", "/things/b", "comp=metadata", nil, []string{"x-ms-meta-: 1"}, 400, "EmptyMetadataKey"},
		{"metadata not in ASCII", "PUT", "/things/b", "comp=metadata", nil, []string{"x-ms-meta-a: ä"}, 400, "InvalidMetadata"},
		{"metadata of 9 KiB", "PUT", "/things/b", "comp=metadata", nil, []string{"x-ms-meta-a: " + strings.Repeat("x", 9<<10)}, 400, "MetadataTooLarge"},

		{"lease a blob", "PUT", "/things/b", "comp=lease", nil, []string{"x-ms-lease-action: acquire"}, 501, "NotImplemented"},
		{"lease a container", "PUT", "/things", "restype=container&comp=lease", nil, nil, 501, "NotImplemented"},
		{"block", "PUT", "/things/b", "comp=block&blockid=AA==", []byte("x"), nil, 501, "NotImplemented"},
		{"properties of the service", "GET", "/", "restype=service&comp=properties", nil, nil, 501, "NotImplemented"},
		{"access policy", "PUT", "/things", "restype=container&comp=acl", nil, nil, 501, "NotImplemented"},
		{"no such operation", "GET", "/things/b", "comp=everything", nil, nil, 400, "InvalidQueryParameterValue"},
		{"no such verb", "POST", "/things/b", "", nil, nil, 405, "UnsupportedHttpVerb"},
		{"account itself", "GET", "/", "", nil, nil, 400, "InvalidUri"},
		{"bad query", "GET", "/things/b", "a=%zz", nil, nil, 400, "InvalidUri"},
		{"bad version", "GET", "/things/b", "", nil, []string{"x-ms-version: newest"}, 400, "InvalidHeaderValue"},
		{"later version", "GET", "/things/b", "", nil, []string{"x-ms-version: 2031-01-01"}, 200, ""},

		{"page of 0", "GET", "/things", "restype=container&comp=list&maxresults=0", nil, nil, 400, "OutOfRangeQueryParameterValue"},
		{"page of many", "GET", "/things", "restype=container&comp=list&maxresults=50000", nil, nil, 200, ""},
		{"page of x", "GET", "/things", "restype=container&comp=list&maxresults=x", nil, nil, 400, "InvalidQueryParameterValue"},
		{"marker of another", "GET", "/things", "restype=container&comp=list&marker=%21", nil, nil, 400, "OutOfRangeInput"},
		{"include what is not there", "GET", "/things", "restype=container&comp=list&include=snapshots,tags", nil, nil, 200, ""},
		{"include what is not known", "GET", "/things", "restype=container&comp=list&include=all", nil, nil, 400, "InvalidQueryParameterValue"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := a.all(tc.method, tc.path, tc.query, tc.body, append(tc.headers, "x-ms-client-request-id: "+tc.name)...)
			if r.status != tc.status || r.code(t) != tc.code {
				t.Errorf("%d %s, want %d %s\n%s", r.status, r.code(t), tc.status, tc.code, r.body)
			}
			if r.header.Get("x-ms-client-request-id") != tc.name || len(r.header.Get("x-ms-request-id")) != 36 ||
				r.header.Get("Date") == "" || r.header.Get("Server") == "" {
				t.Errorf("headers are %v", r.header)
			}
			if r.status >= 300 && r.body != "" && (r.header.Get("Content-Type") != "application/xml" || !strings.Contains(r.body, "\nRequestId:"+r.header.Get("x-ms-request-id")+"\nTime:")) {
				t.Errorf("headers are %v, the body is %s", r.header, r.body)
			}
		})
	}
}

func sumOf(s string) string {
	sum := md5.Sum([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Conditions: those of a read, and those of each write.
func TestConditions(t *testing.T) {
	a := serve(t, nil)
	a.container("things")
	before := a.clock.now().Add(-time.Hour).UTC().Format(http.TimeFormat)
	for _, tc := range []struct {
		name    string
		headers []string // ETAG stands for that of the blob
		get     int      // of a blob that is there
		set     int      // Set Blob Metadata, likewise
		put     int      // Put Blob, likewise
		create  int      // Put Blob where there is none
		missing int      // Set Blob Metadata where there is none
	}{
		{"none", nil, 200, 200, 201, 201, 404},
		{"If-Match", []string{"If-Match: ETAG"}, 200, 200, 201, 412, 404},
		{"If-Match in quotes", []string{`If-Match: "ETAG"`}, 200, 200, 201, 412, 404},
		{"If-Match any", []string{"If-Match: *"}, 200, 200, 201, 412, 404},
		{"If-Match another", []string{"If-Match: 0x1"}, 412, 412, 412, 412, 404},
		{"If-Match two", []string{`If-Match: "ETAG", "0x1"`}, 400, 400, 400, 400, 400},
		{"If-None-Match", []string{"If-None-Match: ETAG"}, 304, 412, 412, 201, 404},
		{"If-None-Match another", []string{"If-None-Match: 0x1"}, 200, 200, 201, 201, 404},
		{"If-None-Match any", []string{"If-None-Match: *"}, 400, 412, 409, 201, 404},
		{"modified", []string{"If-Modified-Since: " + before}, 200, 200, 201, 201, 404},
		{"not modified", []string{"If-Modified-Since: NOW"}, 304, 412, 412, 201, 404},
		{"unmodified", []string{"If-Unmodified-Since: NOW"}, 200, 200, 201, 201, 404},
		{"not unmodified", []string{"If-Unmodified-Since: " + before}, 412, 412, 412, 201, 404},
		{"a wrong time", []string{"If-Unmodified-Since: today"}, 400, 400, 400, 400, 400},
		{"both of a kind, one met", []string{"If-None-Match: 0x1", "If-Modified-Since: NOW"}, 200, 200, 201, 201, 404},
		{"both of a kind, none met", []string{"If-None-Match: ETAG", "If-Modified-Since: NOW"}, 304, 412, 412, 201, 404},
		{"of two kinds, all met", []string{"If-Match: ETAG", "If-Modified-Since: " + before}, 200, 400, 400, 400, 404},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, op := range []struct {
				name, method, query string
				there               bool
				want                int
			}{
				{"get", "GET", "", true, tc.get},
				{"head", "HEAD", "", true, tc.get},
				{"set", "PUT", "comp=metadata", true, tc.set},
				{"put", "PUT", "", true, tc.put},
				{"create", "PUT", "", false, tc.create},
				{"missing", "PUT", "comp=metadata", false, tc.missing},
			} {
				tag, path := "0x1234", "/things/missing"
				if op.there {
					path = "/things/there"
					tag = strings.Trim(a.put(path, "body"), `"`)
				} else {
					a.all("DELETE", path, "", nil)
				}
				replaced := strings.NewReplacer("ETAG", tag, "NOW", a.clock.now().UTC().Format(http.TimeFormat))
				headers := []string{"x-ms-blob-type: BlockBlob"}
				for _, h := range tc.headers {
					headers = append(headers, replaced.Replace(h))
				}
				r := a.all(op.method, path, op.query, nil, headers...)
				if r.status != op.want {
					t.Errorf("%s: %d %s, want %d", op.name, r.status, r.code(t), op.want)
				}
				if code := r.code(t); (r.status == 412 || r.status == 304) != (code == "ConditionNotMet") {
					t.Errorf("%s: %d with the code %q", op.name, r.status, code)
				}
				if r.status == 304 && (r.body != "" || strings.Trim(r.header.Get("ETag"), `"`) != tag) {
					t.Errorf("%s: not modified, headers %v, body %q", op.name, r.header, r.body)
				}
			}
		})
	}
}

// Delete obeys conditions too.
func TestConditionalDelete(t *testing.T) {
	a := serve(t, nil)
	a.container("things")
	tag := a.put("/things/b", "body")
	if r := a.all("DELETE", "/things/b", "", nil, "If-Match: 0x1"); r.status != 412 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := a.all("DELETE", "/things/b", "", nil, "If-Match: "+tag); r.status != 202 {
		t.Errorf("%d %s", r.status, r.body)
	}
	past := a.clock.now().Add(-time.Hour).UTC().Format(http.TimeFormat)
	if r := a.all("DELETE", "/things", "restype=container", nil, "If-Unmodified-Since: "+past); r.status != 412 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := a.all("DELETE", "/things", "restype=container", nil, "If-Modified-Since: "+past); r.status != 202 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// Every change has an ETag of its own, also when the clock stands or goes back.
func TestETags(t *testing.T) {
	now := time.Now()
	a := serve(t, func(o *blob.Options) { o.Now = func() time.Time { return now } })
	a.container("things")
	seen := map[string]bool{}
	for range 5 {
		tag := a.put("/things/b", "body")
		if seen[tag] || !strings.HasPrefix(tag, `"0x8`) || !strings.HasSuffix(tag, `"`) {
			t.Errorf("ETag %s after %v", tag, seen)
		}
		seen[tag] = true
		now = now.Add(-time.Second)
	}
}

// The account in the name of the host, as in the service.
func TestHostStyle(t *testing.T) {
	a := serve(t, nil)
	a.container("things")
	a.put("/things/b", "body")
	root := strings.TrimSuffix(a.url, "/"+accountName)
	signature := a.accountSAS("rl", "sco")
	for _, tc := range []struct {
		host, path string
		status     int
	}{
		{accountName + ".blob.localhost:10000", "/things/b", 200},
		{accountName + ".blob.core.windows.net", "/things/b", 200},
		{"other.blob.core.windows.net", "/things/b", 404},
		{"localhost:10000", "/" + accountName + "/things/b", 200},
		{"localhost:10000", "/other/things/b", 404},
	} {
		r := a.sendTo("GET", root+tc.path+"?"+signature, nil, "Host: "+tc.host)
		if r.status != tc.status {
			t.Errorf("%s%s: %d %s", tc.host, tc.path, r.status, r.body)
		}
	}
	r := a.sendTo("GET", root+"/things?restype=container&comp=list&"+signature, nil, "Host: "+accountName+".blob.localhost:10000")
	if !strings.Contains(r.body, `ServiceEndpoint="http://devstoreaccount1.blob.localhost:10000/" ContainerName="things"`) {
		t.Errorf("listed %s", r.body)
	}
}

// The XML of a list, whole.
func TestListXML(t *testing.T) {
	a := serve(t, nil)
	a.container("things")
	tag := a.put("/things/dir/a&b", "body", "x-ms-meta-b: 2 < 3", "x-ms-meta-a: ")
	a.put("/things/x%01y", "")
	r := a.all("GET", "/things", "restype=container&comp=list&include=metadata&prefix=dir/&maxresults=7", nil)
	_, listed, _ := strings.Cut(r.body, "<Creation-Time>")
	created, _, _ := strings.Cut(listed, "<")
	want := `<?xml version="1.0" encoding="UTF-8"?><EnumerationResults ServiceEndpoint="` + a.url + `/" ContainerName="things">` +
		`<Prefix>dir/</Prefix><MaxResults>7</MaxResults><Blobs><Blob><Name>dir/a&amp;b</Name><Properties><Creation-Time>` + created +
		`</Creation-Time><Last-Modified>` + created + `</Last-Modified><Etag>` + strings.Trim(tag, `"`) + `</Etag><Content-Length>4</Content-Length>` +
		`<Content-Type>application/octet-stream</Content-Type><Content-Encoding></Content-Encoding><Content-Language></Content-Language>` +
		`<Content-CRC64></Content-CRC64><Content-MD5>` + sumOf("body") + `</Content-MD5><Cache-Control></Cache-Control><Content-Disposition></Content-Disposition>` +
		`<BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier><AccessTierInferred>true</AccessTierInferred><LeaseStatus>unlocked</LeaseStatus>` +
		`<LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted></Properties><Metadata><a></a><b>2 &lt; 3</b></Metadata>` +
		`<OrMetadata></OrMetadata></Blob></Blobs><NextMarker></NextMarker></EnumerationResults>`
	if _, err := http.ParseTime(created); r.body != want || err != nil {
		t.Errorf("listed\n%s\nwant\n%s", r.body, want)
	}
	r = a.all("GET", "/things", "restype=container&comp=list&prefix=x", nil)
	if !strings.Contains(r.body, `<Blob><Name Encoded="true">x%01y</Name>`) {
		t.Errorf("listed %s", r.body)
	}
}
