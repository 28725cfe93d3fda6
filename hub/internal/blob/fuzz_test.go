package blob_test

import (
	"bufio"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hubferry/hubferry/hub/internal/blob"
)

// fuzzed opens an account without a server in front.
func fuzzed(f *testing.F, bearer func(string) error) *blob.Account {
	f.Helper()
	a, err := blob.Open(f.Context(), blob.Options{Name: accountName, Keys: [][]byte{[]byte("key")}, Bearer: bearer, Limits: blob.Limits{AccountBytes: 1 << 20}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := a.Close(); err != nil {
			f.Error(err)
		}
	})
	if err := a.EnsureContainer(f.Context(), "things"); err != nil {
		f.Fatal(err)
	}
	return a
}

// request reads a request as a server would.
func request(line, headers string) *http.Request {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(line + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + headers + "\r\n\r\n")))
	if err != nil {
		return nil
	}
	r.RemoteAddr = "127.0.0.1:1234"
	return r
}

// wellFormed checks the XML of an answer.
func wellFormed(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Header().Get("Content-Type") != "application/xml" {
		return
	}
	for d := xml.NewDecoder(w.Body); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Errorf("%d: the body is no XML: %v", w.Code, err)
			return
		}
	}
}

// Nothing that was not signed with the key gets in, or makes the server fail.
func FuzzUnsigned(f *testing.F) {
	for _, seed := range [][2]string{
		{"GET /devstoreaccount1/?comp=list", "Authorization: SharedKey devstoreaccount1:AAAA\r\nx-ms-date: Sun, 29 Nov 2026 16:00:00 GMT"},
		{"PUT /devstoreaccount1/things/b?comp=metadata", "Authorization: SharedKeyLite devstoreaccount1:AAAA\r\nDate: Sun, 29 Nov 2026 16:00:00 GMT\r\nx-ms-meta-a_b: 1"},
		{"GET /devstoreaccount1/things/b?sv=2026-02-06&ss=b&srt=sco&sp=rwdl&st=2020-01-01&se=2031-01-01T00:00Z&sip=127.0.0.1-127.0.0.9&spr=https,http&sig=AAAA%3D", ""},
		{"GET /devstoreaccount1/things/b?sv=2018-03-28&sr=b&sp=r&se=2031-01-01&sig=a+b&rscc=x", "x-ms-version: 2019-07-07"},
		{"HEAD /devstoreaccount1/things/%C3%BC%2F?sv=2020-12-06&sr=c&sp=r&se=2031-01-01&sig=", "Authorization: Bearer a.b.c"},
	} {
		f.Add(seed[0], seed[1])
	}
	a := fuzzed(f, nil)
	f.Fuzz(func(t *testing.T, line, headers string) {
		r := request(line, headers)
		if r == nil {
			return
		}
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if w.Code < 400 || w.Code == http.StatusInternalServerError || w.Header().Get("x-ms-error-code") == "" {
			t.Errorf("%s: %d %v", line, w.Code, w.Header())
		}
		wellFormed(t, w)
	})
}

// Whatever is asked with the right to ask it, the answer is well formed.
func FuzzSigned(f *testing.F) {
	for _, seed := range [][2]string{
		{"PUT /devstoreaccount1/things/a%00b", "x-ms-blob-type: BlockBlob\r\nContent-Length: 0"},
		{"PUT /devstoreaccount1/things/x%01", "x-ms-blob-type: BlockBlob\r\nContent-Length: 0\r\nx-ms-meta-a: <&>"},
		{"GET /devstoreaccount1/things?restype=container&comp=list&prefix=x&delimiter=%01&marker=YQ&maxresults=2&include=metadata,tags", ""},
		{"GET /devstoreaccount1/?comp=list&maxresults=1&prefix=t", ""},
		{"GET /devstoreaccount1/things/x%01", "x-ms-range: bytes=0-5\r\nIf-None-Match: \"0x1\""},
		{"DELETE /devstoreaccount1/things/x%01", "If-Match: *\r\nIf-Unmodified-Since: Sun, 29 Nov 2026 16:00:00 GMT"},
		{"PUT /devstoreaccount1/others?restype=container", "x-ms-meta-A_1: v"},
	} {
		f.Add(seed[0], seed[1])
	}
	a := fuzzed(f, func(string) error { return nil })
	f.Fuzz(func(t *testing.T, line, headers string) {
		r := request(line, headers)
		if r == nil {
			return
		}
		r.Header.Set("Authorization", "Bearer any")
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if w.Code == http.StatusInternalServerError || w.Code >= 300 && w.Header().Get("x-ms-error-code") == "" {
			t.Errorf("%s: %d %v", line, w.Code, w.Header())
		}
		wellFormed(t, w)
	})
}
