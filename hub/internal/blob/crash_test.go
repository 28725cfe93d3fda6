package blob_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/hubferry/hubferry/hub/internal/blob"
)

// crashFolder is the variable that makes a process of this test the one that
// is killed: it says which folder to write to.
const crashFolder = "HUBFERRY_BLOB_CRASH"

// crash writes blobs and tells what was confirmed, until it is killed.
func crash(dir string) int {
	key, _ := base64.StdEncoding.DecodeString(accountKey)
	a, err := blob.Open(context.Background(), blob.Options{
		Name: accountName, Keys: [][]byte{key}, Dir: dir, Bearer: func(string) error { return nil },
	})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	do := func(method, path string, headers ...string) int {
		r := httptest.NewRequest(method, "/"+accountName+path, http.NoBody)
		r.Header.Set("Authorization", "Bearer any")
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		return w.Code
	}
	do("PUT", "/checkpoints?restype=container")
	for i := 0; ; i++ {
		path := "/checkpoints/p" + strconv.Itoa(i%7)
		value := "x-ms-meta-n: " + strconv.Itoa(i)
		status := do("PUT", path+"?comp=metadata", value)
		if status == http.StatusNotFound {
			status = do("PUT", path, value, "x-ms-blob-type: BlockBlob")
		}
		if status/100 != 2 {
			fmt.Println("status", status)
			return 1
		}
		fmt.Println(i)
	}
}

// What was confirmed is there after the process was killed, each time.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	dir := t.TempDir()
	for round := range 5 {
		confirmed := crashRound(t, dir, 200+300*round)
		a := serve(t, func(o *blob.Options) { o.Dir = dir })
		for i := max(0, confirmed-6); i <= confirmed; i++ {
			r := a.all("HEAD", "/checkpoints/p"+strconv.Itoa(i%7), "", nil)
			n, err := strconv.Atoi(r.header.Get("x-ms-meta-n"))
			// The one after the last confirmed may have been stored too.
			if err != nil || n < i || n%7 != i%7 {
				t.Errorf("round %d: %d was confirmed, %q is stored (status %d)", round, i, r.header.Get("x-ms-meta-n"), r.status)
			}
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// crashRound starts a writer, kills it once it has confirmed n, and returns
// the last number that it confirmed.
func crashRound(t *testing.T, dir string, n int) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashFolder+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last := -1
	for lines := bufio.NewScanner(out); lines.Scan(); {
		i, err := strconv.Atoi(lines.Text())
		if err != nil || i != last+1 {
			t.Fatalf("the writer says %q after %d", lines.Text(), last)
		}
		last = i
		if i == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	if last < n {
		t.Fatalf("the writer ended at %d", last)
	}
	return last
}
