package blob_test

import (
	"strconv"
	"strings"
	"testing"
)

// Names of metadata come back in the case in which they were set, on every
// request of a connection, and however the request is cut into packets.
func TestSpelling(t *testing.T) {
	a := serve(t, nil)
	a.container("things")
	for i := range 20 {
		name := "SequenceNumber" + strconv.Itoa(i)
		if i%2 == 1 {
			name = strings.ToLower(name)
		}
		// A body that looks like a header is none.
		a.put("/things/b", "x-ms-meta-"+strings.ToUpper(name)+": 1\r\n\r\n", "x-ms-meta-"+name+": 1", "x-ms-meta-other: 2")
		r := a.all("GET", "/things", "restype=container&comp=list&include=metadata", nil)
		if want := "<Metadata><other>2</other><" + name + ">1</" + name + "></Metadata>"; !strings.Contains(r.body, want) {
			t.Errorf("listed %s, want %s", r.body, want)
		}
		r = a.all("PUT", "/things/b", "comp=metadata", nil, "x-ms-meta-Only: 1")
		if r.status != 200 {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	r := a.all("GET", "/things", "restype=container&comp=list&include=metadata", nil)
	if !strings.Contains(r.body, "<Metadata><Only>1</Only></Metadata>") {
		t.Errorf("listed %s", r.body)
	}
}
