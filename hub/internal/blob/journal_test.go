package blob_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hubferry/hubferry/hub/internal/blob"
	"github.com/hubferry/hubferry/hub/internal/seglog"
)

// shown is the list of everything that a container holds, as it is answered,
// without the address that was asked.
func (a *testAccount) shown(container string) string {
	a.t.Helper()
	r := a.all("GET", "/"+container, "restype=container&comp=list&include=metadata", nil)
	_, list, _ := strings.Cut(r.body, "<Blobs>")
	return fmt.Sprint(r.status, " ", list)
}

// Everything that a blob has is there after a restart, and what was deleted is
// not.
func TestRestart(t *testing.T) {
	for _, fsync := range []seglog.Fsync{seglog.FsyncInterval, seglog.FsyncBatch, seglog.FsyncNever} {
		dir := t.TempDir()
		onDisk := func(o *blob.Options) { o.Dir, o.Fsync = dir, fsync }
		a := serve(t, onDisk)
		for _, name := range []string{"first", "second", "third"} {
			if r := a.all("PUT", "/"+name, "restype=container", nil, "x-ms-meta-Of: "+name); r.status != http.StatusCreated {
				t.Fatal(r.body)
			}
		}
		a.put("/first/full", "a body", "x-ms-meta-OwnerId: me", "x-ms-blob-content-type: text/plain", "x-ms-blob-content-encoding: e",
			"x-ms-blob-content-language: de", "x-ms-blob-cache-control: c", "x-ms-blob-content-disposition: d")
		a.put("/first/changed", "", "x-ms-meta-n: 1")
		a.all("PUT", "/first/changed", "comp=metadata", nil, "x-ms-meta-n: 2")
		a.put("/first/gone", "")
		a.all("DELETE", "/first/gone", "", nil)
		a.put("/second/gone", "")
		a.all("DELETE", "/second", "restype=container", nil)
		a.put("/third/gone", "")
		a.all("DELETE", "/third", "restype=container", nil)
		a.all("PUT", "/third", "restype=container", nil)
		before := []string{a.shown("first"), a.shown("second"), a.shown("third"), a.all("HEAD", "/first/full", "", nil).header.Get("ETag")}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		a = serve(t, onDisk)
		after := []string{a.shown("first"), a.shown("second"), a.shown("third"), a.all("HEAD", "/first/full", "", nil).header.Get("ETag")}
		for i := range before {
			if before[i] != after[i] {
				t.Errorf("before the restart\n%s\nafter it\n%s", before[i], after[i])
			}
		}
		if r := a.all("GET", "/first/full", "", nil); r.body != "a body" || r.header.Get("Content-Type") != "text/plain" {
			t.Errorf("after the restart: %v %s", r.header, r.body)
		}
		if r := a.all("HEAD", "/first", "restype=container", nil); len(r.header["X-Ms-Meta-Of"]) != 1 {
			t.Errorf("after the restart: %v", r.header)
		}
		if strings.Contains(before[0], "gone") || !strings.HasPrefix(before[1], "404") || strings.Contains(before[2], "gone") {
			t.Errorf("what was deleted is listed: %s", before)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A folder belongs to one account at a time.
func TestLocked(t *testing.T) {
	dir := t.TempDir()
	serve(t, func(o *blob.Options) { o.Dir = dir })
	_, err := blob.Open(t.Context(), blob.Options{Name: accountName, Keys: [][]byte{{1}}, Dir: dir})
	if locked, ok := errors.AsType[*seglog.LockedError](err); !ok || locked.PID != os.Getpid() {
		t.Errorf("opened twice: %v", err)
	}
}

// Records that nobody could have written are an error, not a loss.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	l, err := seglog.Open(seglog.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), []seglog.Entry{{Key: []byte("things"), Flags: seglog.FlagKey, Message: []byte("\x05{}")}}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err = blob.Open(t.Context(), blob.Options{Name: accountName, Keys: [][]byte{{1}}, Dir: dir}); err == nil || !strings.Contains(err.Error(), "record 0 of the journal") {
		t.Errorf("opened: %v", err)
	}
}

// full is a disk that takes writes only as long as it is not full.
type full struct {
	seglog.File
	on *atomic.Bool
}

var errFull = errors.New("no space left on device")

// WriteAt writes half of it when the disk is full.
func (f full) WriteAt(b []byte, at int64) (int, error) {
	if !f.on.Load() {
		return f.File.WriteAt(b, at)
	}
	n, _ := f.File.WriteAt(b[:len(b)/2], at)
	return n, errFull
}

// A change that cannot be stored is refused and not seen, and works again when
// there is room.
func TestFullDisk(t *testing.T) {
	dir, on := t.TempDir(), &atomic.Bool{}
	onDisk := func(o *blob.Options) {
		o.Dir = dir
		o.OpenFile = func(name string, flag int, perm fs.FileMode) (seglog.File, error) {
			f, err := os.OpenFile(name, flag, perm)
			return full{f, on}, err
		}
	}
	a := serve(t, onDisk)
	a.container("things")
	a.put("/things/b", "", "x-ms-meta-n: 1")
	before := a.shown("things")
	on.Store(true)
	for _, tc := range []struct{ method, path, query string }{
		{"PUT", "/things/b", "comp=metadata"},
		{"PUT", "/things/b", ""},
		{"PUT", "/things/c", ""},
		{"DELETE", "/things/b", ""},
		{"DELETE", "/things", "restype=container"},
		{"PUT", "/more", "restype=container"},
	} {
		r := a.all(tc.method, tc.path, tc.query, nil, "x-ms-blob-type: BlockBlob")
		if r.status != http.StatusInternalServerError || r.code(t) != "InternalError" || strings.Contains(r.body, "space") {
			t.Errorf("%s %s?%s: %d %s", tc.method, tc.path, tc.query, r.status, r.body)
		}
	}
	if got := a.shown("things"); got != before {
		t.Errorf("what was refused is seen: %s", got)
	}
	on.Store(false)
	a.put("/things/c", "")
	before = a.shown("things")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if got := serve(t, onDisk).shown("things"); got != before || !strings.Contains(got, "<n>1</n>") {
		t.Errorf("before the restart\n%s\nafter it\n%s", before, got)
	}
}

// The journal does not grow with the number of changes.
func TestCompaction(t *testing.T) {
	dir := t.TempDir()
	a := serve(t, func(o *blob.Options) { o.Dir, o.Fsync = dir, seglog.FsyncNever })
	a.container("things")
	value := "x-ms-meta-v: " + strings.Repeat("x", 4000)
	for i := range 1500 { // 6 MB
		a.put(fmt.Sprintf("/things/%d", i%10), "", value)
		if i%10 == 9 && i > 1000 {
			a.all("DELETE", "/things/9", "", nil)
		}
	}
	before := a.shown("things")
	if err := a.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	var size int64
	files, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if st, err := os.Stat(f); err == nil {
			size += st.Size()
		}
	}
	if size > 1_300_000 { // 1 MiB may be superseded, and some of it may have been dropped while it was written
		t.Errorf("the journal has %d bytes", size)
	}
	if got := serve(t, func(o *blob.Options) { o.Dir = dir }).shown("things"); got != before || strings.Count(got, "<Blob>") != 9 {
		t.Errorf("before\n%s\nafter\n%s", before, got)
	}
}

// An account that holds what it may takes nothing more, but lets go.
func TestRoom(t *testing.T) {
	a := serve(t, func(o *blob.Options) { o.Limits = blob.Limits{BlobBytes: 1000, AccountBytes: 3000} })
	a.container("things")
	body := strings.Repeat("x", 900)
	a.put("/things/a", body)
	a.put("/things/b", body)
	put := func(path string, n int) answer {
		return a.all("PUT", path, "", make([]byte, n), "x-ms-blob-type: BlockBlob")
	}
	if r := put("/things/c", 900); r.status != http.StatusRequestEntityTooLarge || r.code(t) != "RequestBodyTooLarge" || !strings.Contains(r.body, "may hold 3000 bytes") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := put("/things/c", 1001); r.status != http.StatusRequestEntityTooLarge || !strings.Contains(r.body, "<MaxLimit>1000</MaxLimit>") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := put("/things/a", 900); r.status != http.StatusCreated {
		t.Errorf("replaced: %d %s", r.status, r.body)
	}
	a.all("DELETE", "/things/a", "", nil)
	if r := put("/things/c", 900); r.status != http.StatusCreated {
		t.Errorf("after a deletion: %d %s", r.status, r.body)
	}
	a.all("DELETE", "/things", "restype=container", nil)
	a.container("things")
	a.put("/things/a", body)
	a.put("/things/b", body)
}
