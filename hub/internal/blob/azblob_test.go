package blob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2/checkpoints"
	azb "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry/hub/internal/blob"
)

// The official Go client, unmodified, against an account.

func TestContainers(t *testing.T) {
	a := serve(t, nil)
	client := a.sdk().ServiceClient()
	c := client.NewContainerClient("checkpoints")
	created, err := c.Create(t.Context(), &container.CreateOptions{Metadata: map[string]*string{"purpose": new("test")}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Create(t.Context(), nil)
	wantCode(t, err, http.StatusConflict, bloberror.ContainerAlreadyExists)
	p, err := c.GetProperties(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if *p.ETag != *created.ETag || !p.LastModified.Equal(*created.LastModified) || *p.Metadata["Purpose"] != "test" {
		t.Errorf("properties are %+v", p)
	}
	for _, name := range []string{"alpha", "beta", "bravo", "gamma"} {
		if _, err := client.CreateContainer(t.Context(), name, nil); err != nil {
			t.Fatal(err)
		}
	}
	var all []string
	pages := 0
	for pager := client.NewListContainersPager(&service.ListContainersOptions{MaxResults: new(int32(2)), Include: service.ListContainersInclude{Metadata: true}}); pager.More(); pages++ {
		page, err := pager.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.ContainerItems {
			all = append(all, *item.Name)
			if *item.Name == "checkpoints" && *item.Metadata["purpose"] != "test" {
				t.Errorf("metadata is %v", item.Metadata)
			}
		}
	}
	if want := []string{"alpha", "beta", "bravo", "checkpoints", "gamma"}; !slices.Equal(all, want) || pages != 3 {
		t.Errorf("listed %q in %d pages, want %q in 3", all, pages, want)
	}
	if _, err := c.Delete(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	_, err = c.GetProperties(t.Context(), nil)
	wantCode(t, err, http.StatusNotFound, bloberror.ContainerNotFound)
	_, err = c.Delete(t.Context(), nil)
	wantCode(t, err, http.StatusNotFound, bloberror.ContainerNotFound)
	_, err = c.NewBlobClient("any").GetProperties(t.Context(), nil)
	wantCode(t, err, http.StatusNotFound, bloberror.ContainerNotFound)
}

func TestBlobs(t *testing.T) {
	a := serve(t, nil)
	c := a.container("things")
	const name = "a folder/ünïcode & more+%20?#.txt"
	b := c.NewBlockBlobClient(name)
	body := []byte("eleven byte")
	up, err := b.UploadBuffer(t.Context(), body, &blockblob.UploadBufferOptions{
		Metadata:    map[string]*string{"owner_id": new("me"), "OwnerID2": new(""), "n1": new("a, b")},
		HTTPHeaders: &azb.HTTPHeaders{BlobContentType: new("text/plain"), BlobCacheControl: new("no-store"), BlobContentLanguage: new("de"), BlobContentDisposition: new("inline"), BlobContentEncoding: new("none")},
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.GetProperties(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if *p.ETag != *up.ETag || *p.ContentLength != 11 || *p.ContentType != "text/plain" || *p.BlobType != azb.BlobTypeBlockBlob ||
		*p.CacheControl != "no-store" || *p.ContentLanguage != "de" || *p.ContentDisposition != "inline" || *p.ContentEncoding != "none" ||
		!bytes.Equal(p.ContentMD5, up.ContentMD5) {
		t.Errorf("properties are %+v", p)
	}
	if *p.Metadata["Owner_id"] != "me" || *p.Metadata["Ownerid2"] != "" || *p.Metadata["N1"] != "a, b" {
		t.Errorf("metadata is %v", p.Metadata)
	}
	whole, err := b.DownloadStream(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(whole.Body); err != nil || !bytes.Equal(got, body) {
		t.Errorf("downloaded %q, %v", got, err)
	}
	part, err := b.DownloadStream(t.Context(), &azb.DownloadStreamOptions{Range: azb.HTTPRange{Offset: 3, Count: 4}, RangeGetContentMD5: new(true)})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(part.Body); err != nil || string(got) != "ven " || *part.ContentRange != "bytes 3-6/11" || len(part.ContentMD5) != 16 {
		t.Errorf("downloaded %q, %v, range %q", got, err, *part.ContentRange)
	}
	_, err = b.DownloadStream(t.Context(), &azb.DownloadStreamOptions{Range: azb.HTTPRange{Offset: 11, Count: 4}})
	wantCode(t, err, http.StatusRequestedRangeNotSatisfiable, bloberror.InvalidRange)

	set, err := b.SetMetadata(t.Context(), map[string]*string{"only": new("this")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	page, err := c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{Metadata: true}}).NextPage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	item := page.Segment.BlobItems[0]
	if *item.Name != name || len(item.Metadata) != 1 || *item.Metadata["only"] != "this" || *item.Properties.ContentType != "text/plain" ||
		`"`+string(*item.Properties.ETag)+`"` != string(*set.ETag) || !item.Properties.CreationTime.Equal(*p.CreationTime) {
		t.Errorf("listed %+v with %+v", item, item.Properties)
	}
	if _, err := b.Delete(t.Context(), &azb.DeleteOptions{DeleteSnapshots: new(azb.DeleteSnapshotsOptionTypeInclude)}); err != nil {
		t.Fatal(err)
	}
	_, err = b.GetProperties(t.Context(), nil)
	wantCode(t, err, http.StatusNotFound, bloberror.BlobNotFound)
	_, err = b.Delete(t.Context(), nil)
	wantCode(t, err, http.StatusNotFound, bloberror.BlobNotFound)
}

// The client's parallel download, and its streams with checksums.
func TestLargerBlobs(t *testing.T) {
	a := serve(t, nil)
	b := a.container("things").NewBlockBlobClient("large")
	body := make([]byte, 3<<20+17)
	for i := range body {
		body[i] = byte(rand.Uint32())
	}
	if _, err := b.UploadStream(t.Context(), bytes.NewReader(body), &blockblob.UploadStreamOptions{BlockSize: 4 << 20}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(body))
	if _, err := b.DownloadBuffer(t.Context(), got, &azb.DownloadBufferOptions{BlockSize: 1 << 20, Concurrency: 4}); err != nil || !bytes.Equal(got, body) {
		t.Errorf("download: %v, same bytes: %t", err, bytes.Equal(got, body))
	}
	if _, err := b.Upload(t.Context(), streaming(body), &blockblob.UploadOptions{TransactionalValidation: azb.TransferValidationTypeComputeCRC64()}); err != nil {
		t.Errorf("with a CRC64: %v", err)
	}
	wrong := azb.TransferValidationTypeCRC64(1)
	_, err := b.Upload(t.Context(), streaming(body), &blockblob.UploadOptions{TransactionalValidation: wrong})
	wantCode(t, err, http.StatusBadRequest, bloberror.CRC64Mismatch)
	_, err = b.Upload(t.Context(), streaming(make([]byte, 4<<20+1)), nil)
	wantCode(t, err, http.StatusRequestEntityTooLarge, bloberror.RequestBodyTooLarge)
}

// readSeekCloser is what the client wants of a body.
type readSeekCloser struct{ io.ReadSeeker }

func (readSeekCloser) Close() error { return nil }

func streaming(b []byte) io.ReadSeekCloser { return readSeekCloser{bytes.NewReader(b)} }

func TestListBlobs(t *testing.T) {
	a := serve(t, nil)
	c := a.container("things")
	all := []string{"a", "b/1", "b/2", "b/c/3", "b0", "bb", "c/", "d"}
	for _, name := range all {
		if _, err := c.NewBlockBlobClient(name).UploadBuffer(t.Context(), nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		prefix, delimiter string
		want              string
	}{
		{"", "", "a b/1 b/2 b/c/3 b0 bb c/ d"},
		{"b/", "", "b/1 b/2 b/c/3"},
		{"", "/", "a [b/] b0 bb [c/] d"},
		{"b/", "/", "b/1 b/2 [b/c/]"},
		{"b", "/", "[b/] b0 bb"},
		{"b", "b", "b/1 b/2 b/c/3 b0 [bb]"},
		{"x", "/", ""},
		{"dd", "", ""},
	} {
		for _, most := range []int32{0, 1, 2, 3} {
			got, pages := listAll(t, c, tc.prefix, tc.delimiter, most)
			if strings.Join(got, " ") != tc.want {
				t.Errorf("prefix %q, delimiter %q, pages of %d: listed %q, want %q", tc.prefix, tc.delimiter, most, got, tc.want)
			}
			if n := len(got); most > 0 && pages != max(1, (n+int(most)-1)/int(most)) {
				t.Errorf("prefix %q, delimiter %q, pages of %d: %d entries came in %d pages", tc.prefix, tc.delimiter, most, n, pages)
			}
		}
	}
}

// listAll lists names, prefixes in brackets.
func listAll(t *testing.T, c *container.Client, prefix, delimiter string, most int32) (got []string, pages int) {
	t.Helper()
	var size *int32
	if most > 0 {
		size = &most
	}
	if delimiter == "" {
		for pager := c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &prefix, MaxResults: size}); pager.More(); pages++ {
			page, err := pager.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, item := range page.Segment.BlobItems {
				got = append(got, *item.Name)
			}
		}
		return got, pages
	}
	for pager := c.NewListBlobsHierarchyPager(delimiter, &container.ListBlobsHierarchyOptions{Prefix: &prefix, MaxResults: size}); pager.More(); pages++ {
		page, err := pager.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, item := range page.Segment.BlobItems {
			names = append(names, *item.Name)
		}
		for _, p := range page.Segment.BlobPrefixes {
			names = append(names, *p.Name+"]")
		}
		slices.Sort(names) // the client has sorted them by kind
		for i, name := range names {
			if strings.HasSuffix(name, "]") {
				names[i] = "[" + name
			}
		}
		got = append(got, names...)
	}
	return got, pages
}

// The official checkpoint store.
func TestCheckpointStore(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*blob.Options)
	}{
		{"in memory", nil},
		{"on disk", func(o *blob.Options) { o.Dir = t.TempDir() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := serve(t, tc.change)
			checkpointStore(t, a.container("checkpoints"))
		})
	}
}

const hubNamespace, hubName, group = "contoso.servicebus.windows.net", "telemetry", "$default"

func checkpointStore(t *testing.T, c *container.Client) {
	t.Helper()
	store, err := checkpoints.NewBlobStore(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	claim := func(owner string, from *azeventhubs.Ownership) []azeventhubs.Ownership {
		t.Helper()
		o := azeventhubs.Ownership{ConsumerGroup: group, EventHubName: hubName, FullyQualifiedNamespace: hubNamespace, PartitionID: "3", OwnerID: owner}
		if from != nil {
			o.ETag = from.ETag
		}
		got, err := store.ClaimOwnership(t.Context(), []azeventhubs.Ownership{o}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := claim("one", nil)
	if len(first) != 1 || len(claim("two", nil)) != 0 {
		t.Error("the first claim is not the only one")
	}
	listed, err := store.ListOwnership(t.Context(), hubNamespace, hubName, group, nil)
	if err != nil || len(listed) != 1 || listed[0].OwnerID != "one" || listed[0].PartitionID != "3" || listed[0].LastModifiedTime.IsZero() {
		t.Fatalf("listed %+v, %v", listed, err)
	}
	renewed := claim("one", &first[0])
	stolen := claim("two", &renewed[0])
	if len(renewed) != 1 || len(stolen) != 1 || len(claim("one", &renewed[0])) != 0 || len(claim("three", &listed[0])) != 0 {
		t.Error("renewing and stealing go wrong")
	}
	if len(claim("", &stolen[0])) != 1 {
		t.Error("the claim cannot be given up")
	}
	listed, err = store.ListOwnership(t.Context(), hubNamespace, hubName, group, nil)
	if err != nil || len(listed) != 1 || listed[0].OwnerID != "" {
		t.Fatalf("listed %+v, %v", listed, err)
	}
	for _, sequence := range []int64{41, 9007199254740993} {
		checkpoint := azeventhubs.Checkpoint{
			ConsumerGroup: group, EventHubName: hubName, FullyQualifiedNamespace: hubNamespace,
			PartitionID: "3", Offset: new("a:b"), SequenceNumber: new(sequence),
		}
		if err := store.SetCheckpoint(t.Context(), checkpoint, nil); err != nil {
			t.Fatal(err)
		}
		got, err := store.ListCheckpoints(t.Context(), hubNamespace, hubName, group, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]azeventhubs.Checkpoint{checkpoint}, got); diff != "" {
			t.Error(diff)
		}
	}
}

// Of many that claim one partition at once, one wins.
func TestClaimsRace(t *testing.T) {
	a := serve(t, func(o *blob.Options) { o.Dir = t.TempDir() })
	c := a.container("checkpoints")
	const claimers = 16
	won := make(chan error, claimers)
	for range claimers {
		go func() {
			_, err := c.NewBlockBlobClient("claim").UploadBuffer(context.WithoutCancel(t.Context()), nil, &blockblob.UploadBufferOptions{
				AccessConditions: &azb.AccessConditions{ModifiedAccessConditions: &azb.ModifiedAccessConditions{IfNoneMatch: new(azcore.ETagAny)}},
			})
			won <- err
		}()
	}
	winners := 0
	for range claimers {
		if err := <-won; err == nil {
			winners++
		} else {
			wantCode(t, err, http.StatusConflict, bloberror.BlobAlreadyExists)
		}
	}
	if winners != 1 {
		t.Errorf("%d have won", winners)
	}
}

// More blobs than a page holds.
func TestManyBlobs(t *testing.T) {
	a := serve(t, nil)
	c := a.container("many")
	store, err := checkpoints.NewBlobStore(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	const n = 5003
	prefix := strings.Join([]string{"/many", hubNamespace, hubName, group, "checkpoint"}, "/")
	signature := a.accountSAS("w", "o")
	for i := range n { // without a network, as there are so many
		r := httptest.NewRequest(http.MethodPut, fmt.Sprintf("/%s%s/%d?%s", accountName, prefix, i, signature), http.NoBody)
		for name, value := range map[string]string{"x-ms-blob-type": "BlockBlob", "x-ms-meta-offset": "1", "x-ms-meta-sequencenumber": "2"} {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		if a.ServeHTTP(w, r); w.Code != http.StatusCreated {
			t.Fatalf("put %d: %d %s", i, w.Code, w.Body)
		}
	}
	all, err := store.ListCheckpoints(t.Context(), hubNamespace, hubName, group, nil)
	if err != nil || len(all) != n {
		t.Errorf("listed %d of %d: %v", len(all), n, err)
	}
}

func TestClosed(t *testing.T) {
	a := serve(t, nil)
	c := a.container("checkpoints")
	if err := errors.Join(a.Close(), a.Close()); err != nil {
		t.Fatal(err)
	}
	_, err := c.NewBlockBlobClient("b").UploadBuffer(t.Context(), nil, nil)
	wantCode(t, err, http.StatusServiceUnavailable, bloberror.ServerBusy)
}
