package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2/checkpoints"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/azuritetest"
)

// setup returns a store in front of a fake service, and the proxy between them.
func setup(t *testing.T, change func(o *Options)) (*Store, *azuritetest.Proxy, Options) {
	t.Helper()
	account := service(t)
	p := newProxy(t, account)
	o := fresh(p.URL)
	open(t, o, hubferry.Env{}) // makes the container
	if change != nil {
		change(&o)
	}
	return open(t, o, hubferry.Env{}), p, o
}

func sequence(n int64) hubferry.Checkpoint {
	return hubferry.Checkpoint{Position: hubferry.Position{Sequence: n, Offset: fmt.Sprint(100 * n)}, Time: time.Unix(n, 0)}
}

// shape is what a request is judged by: what it does to which blob, under which
// condition, with which values.
func shape(r *http.Request) string {
	var b strings.Builder
	folders := strings.Split(strings.ReplaceAll(r.URL.EscapedPath(), "%2F", "/"), "/")
	fmt.Fprintf(&b, "%s %s", r.Method, strings.Join(folders[max(0, len(folders)-2):], "/"))
	if comp := r.URL.Query().Get("comp"); comp != "" {
		b.WriteString(" " + comp)
	}
	if r.Header.Get("If-Match") != "" {
		b.WriteString(" If-Match")
	}
	if v := r.Header.Get("If-None-Match"); v != "" {
		b.WriteString(" If-None-Match:" + v)
	}
	var meta []string
	for k, v := range r.Header {
		if key, ok := strings.CutPrefix(strings.ToLower(k), "x-ms-meta-"); ok {
			meta = append(meta, key+"="+v[0])
		}
	}
	slices.Sort(meta)
	return strings.Join(append([]string{b.String()}, meta...), " ")
}

// shapes returns the writes that came since set, but for those of our own records.
func shapes(p *azuritetest.Proxy) []string {
	var list []string
	for _, r := range p.Requests() {
		if r.Method == http.MethodPut && !strings.Contains(r.URL.EscapedPath(), folderExtra) {
			list = append(list, shape(r))
		}
	}
	return list
}

// goSDK opens the Go SDK's own store on the same container.
func goSDK(t *testing.T, account, name string) azeventhubs.CheckpointStore {
	t.Helper()
	c, err := container.NewClientFromConnectionString(azuritetest.ConnectionString(account), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := checkpoints.NewBlobStore(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sdkOwnership(owner, etag string) azeventhubs.Ownership {
	o := azeventhubs.Ownership{FullyQualifiedNamespace: id.Namespace, EventHubName: id.Hub, ConsumerGroup: id.ConsumerGroup, PartitionID: id.Partition, OwnerID: owner}
	if etag != "" {
		o.ETag = new(azcore.ETag(etag))
	}
	return o
}

// Our writes are those of the Go SDK, to the byte: same methods, conditions and values.
func TestSameRequestsAsTheSDK(t *testing.T) {
	ctx := t.Context()
	ours, p, _ := setup(t, nil)
	var claimed []hubferry.Ownership
	claim := func(o hubferry.Ownership) error {
		got, err := ours.ClaimOwnership(ctx, []hubferry.Ownership{o})
		claimed = append(claimed, got...)
		return err
	}
	theirs, q, o := setup(t, nil)
	_ = theirs.Close(ctx)
	sdk := goSDK(t, q.URL, o.Container)
	var etag string
	sdkClaim := func(o azeventhubs.Ownership) error {
		got, err := sdk.ClaimOwnership(ctx, []azeventhubs.Ownership{o}, nil)
		if len(got) == 1 {
			etag = string(*got[0].ETag)
		}
		return err
	}
	sdkSave := func(n int64) error {
		offset := fmt.Sprint(100 * n)
		return sdk.SetCheckpoint(ctx, azeventhubs.Checkpoint{
			FullyQualifiedNamespace: id.Namespace, EventHubName: id.Hub, ConsumerGroup: id.ConsumerGroup, PartitionID: id.Partition,
			Offset: &offset, SequenceNumber: &n,
		}, nil)
	}
	for _, step := range []struct {
		name      string
		ours, sdk func() error
	}{
		{"first claim", func() error { return claim(hubferry.Ownership{ID: id, Owner: "a"}) }, func() error { return sdkClaim(sdkOwnership("a", "")) }},
		{"lost create", func() error { return claim(hubferry.Ownership{ID: id, Owner: "b"}) }, func() error { return sdkClaim(sdkOwnership("b", "")) }},
		{"renew", func() error { return claim(claimed[0]) }, func() error { return sdkClaim(sdkOwnership("a", etag)) }},
		{"lost renew", func() error { return claim(claimed[0]) }, func() error { return sdkClaim(sdkOwnership("a", "0x1")) }},
		{"relinquish", func() error { c := claimed[1]; c.Owner = ""; return claim(c) }, func() error { return sdkClaim(sdkOwnership("", etag)) }},
		{"first checkpoint", func() error { return ours.SaveCheckpoint(ctx, id, sequence(1)) }, func() error { return sdkSave(1) }},
		{"later checkpoint", func() error { return ours.SaveCheckpoint(ctx, id, sequence(2)) }, func() error { return sdkSave(2) }},
	} {
		p.Set(nil)
		if err := step.ours(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		q.Set(nil)
		if err := step.sdk(); err != nil {
			t.Fatalf("%s, with the SDK: %v", step.name, err)
		}
		if diff := cmp.Diff(shapes(q), shapes(p)); diff != "" {
			t.Errorf("%s (-SDK +ours):\n%s", step.name, diff)
		}
	}
}

// What the Go SDK and we write into one container, both read.
func TestWithTheSDK(t *testing.T) {
	t.Run("hub", func(t *testing.T) {
		account := service(t)
		withSDK(t, account)
	})
	t.Run("Azurite", func(t *testing.T) { withSDK(t, account(t)) })
}

func withSDK(t *testing.T, account string) {
	t.Helper()
	ctx := t.Context()
	o := fresh(account)
	ours := open(t, o, hubferry.Env{})
	sdk := goSDK(t, account, o.Container)
	offset, n := "4711", int64(12)
	save := azeventhubs.Checkpoint{
		FullyQualifiedNamespace: id.Namespace, EventHubName: id.Hub, ConsumerGroup: id.ConsumerGroup, PartitionID: id.Partition,
		Offset: &offset, SequenceNumber: &n,
	}
	if err := sdk.SetCheckpoint(ctx, save, nil); err != nil {
		t.Fatal(err)
	}
	found, err := ours.ListCheckpoints(ctx, id)
	if got := found[id]; err != nil || got.Position != (hubferry.Position{Sequence: 12, Offset: "4711"}) || got.Time.IsZero() || got.Err != nil {
		t.Fatalf("we read %+v, %v", found, err)
	}
	if err := ours.SaveForward(ctx, hubferry.Ownership{ID: id, Owner: "task/a"}, sequence(13)); err != nil {
		t.Fatalf("save over the SDK's checkpoint: %v", err)
	}
	listed, err := sdk.ListCheckpoints(ctx, id.Namespace, id.Hub, id.ConsumerGroup, nil)
	if err != nil || len(listed) != 1 || *listed[0].SequenceNumber != 13 || *listed[0].Offset != "1300" {
		t.Fatalf("the SDK reads %+v, %v", listed, err)
	}
	mine, err := ours.ClaimOwnership(ctx, []hubferry.Ownership{{ID: id, Owner: "task/a"}})
	if err != nil || len(mine) != 1 {
		t.Fatal(mine, err)
	}
	owned, err := sdk.ListOwnership(ctx, id.Namespace, id.Hub, id.ConsumerGroup, nil)
	if err != nil || len(owned) != 1 || owned[0].OwnerID != "task/a" {
		t.Fatalf("the SDK sees the owners %+v, %v", owned, err)
	}
	owned[0].OwnerID = "thief"
	stolen, err := sdk.ClaimOwnership(ctx, owned, nil)
	if err != nil || len(stolen) != 1 {
		t.Fatalf("the SDK steals: %+v, %v", stolen, err)
	}
	if got, err := ours.ClaimOwnership(ctx, mine); err != nil || len(got) != 0 {
		t.Errorf("we renewed what was stolen: %+v, %v", got, err)
	}
	*save.SequenceNumber, *save.Offset = 20, "2000"
	if err := sdk.SetCheckpoint(ctx, save, nil); err != nil {
		t.Fatal(err)
	}
	if err := ours.SaveForward(ctx, hubferry.Ownership{ID: id, Owner: "task/a"}, sequence(30)); hubferry.KindOf(err) != hubferry.Lost {
		t.Errorf("we saved what was stolen: %v", err)
	}
	stolen[0].OwnerID = ""
	if _, err := sdk.ClaimOwnership(ctx, stolen, nil); err != nil {
		t.Fatal(err)
	}
	records, err := ours.ListOwnership(ctx, id)
	if err != nil || len(records) != 1 || records[0].Owner != "" {
		t.Fatalf("we see the owners %+v, %v", records, err)
	}
	records[0].Owner = "task/a"
	if got, err := ours.ClaimOwnership(ctx, records); err != nil || len(got) != 1 {
		t.Errorf("we do not get what was given back: %+v, %v", got, err)
	}
}

// What others have put beside the values stays.
func TestUnknownKeysStay(t *testing.T) {
	s, p, o := setup(t, nil)
	raw(t, o, blobName(id, folderCheckpoint), metadata{"sequencenumber": "1", "offset": "1", "clientidentifier": "functions"})
	if _, err := s.ListCheckpoints(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	p.Set(nil)
	if err := s.SaveForward(t.Context(), hubferry.Ownership{ID: id, Owner: "a"}, sequence(2)); err != nil {
		t.Fatal(err)
	}
	want := []string{"PUT checkpoint/0 metadata If-Match clientidentifier=functions offset=200 sequencenumber=2"}
	if diff := cmp.Diff(want, shapes(p)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Records in odd shapes are free, not fatal.
func TestOddRecords(t *testing.T) {
	s, _, o := setup(t, nil)
	for partition, m := range map[string]metadata{"0": {}, "1": {"OwnerId": "old"}, "2": {"owner_id": "older"}, "3": {"ownerid": ""}, "4/extra": {"ownerid": "x"}} {
		raw(t, o, groupPrefix(id)+folderOwnership+"/"+partition, m)
	}
	raw(t, o, groupPrefix(id)+folderOwnership+"/folder", metadata{"hdi_isfolder": "true"})
	records, err := s.ListOwnership(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range records {
		got[r.ID.Partition] = r.Owner
		if r.ETag == "" {
			t.Errorf("partition %s has no ETag", r.ID.Partition)
		}
	}
	if diff := cmp.Diff(map[string]string{"0": "", "1": "old", "2": "older", "3": ""}, got); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
}

// Who takes part and who owns what is seen with one request, and the SDKs see the owners only.
func TestListJoint(t *testing.T) {
	s, p, _ := setup(t, nil)
	group, present := id.Group(), id.Group()
	present.ConsumerGroup += presence
	var want []hubferry.Ownership
	for _, g := range []hubferry.ID{group, present} {
		g.Partition = "0"
		want = append(want, hubferry.Ownership{ID: g, Owner: "task/" + g.ConsumerGroup})
	}
	if _, err := s.ClaimOwnership(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	p.Set(nil)
	got, err := s.ListJoint(t.Context(), group, present)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(p.Requests()); n != 1 {
		t.Errorf("it took %d requests, want 1", n)
	}
	ignore := cmpopts.IgnoreFields(hubferry.Ownership{}, "ETag", "Modified")
	if diff := cmp.Diff(want, got, ignore); diff != "" {
		t.Errorf("jointly (-want +got):\n%s", diff)
	}
	for i, g := range []hubferry.ID{group, present} {
		got, err := s.ListOwnership(t.Context(), g)
		if diff := cmp.Diff(want[i:i+1], got, ignore); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", g, err, diff)
		}
	}
}

// A checkpoint that only moves on costs one request, as with the SDKs, and marks too
// large for metadata go into the body.
func TestCost(t *testing.T) {
	s, p, _ := setup(t, nil)
	c := sequence(1)
	c.States = map[string][]byte{"engine.task": []byte("t"), "engine.map.": []byte("{}")}
	c.Marks = map[string]hubferry.Position{"east/h/0": {Sequence: 5}}
	saves := func(want int) {
		t.Helper()
		p.Set(nil)
		if err := s.SaveForward(t.Context(), hubferry.Ownership{ID: id, Owner: "a"}, c); err != nil {
			t.Fatal(err)
		}
		if got := len(p.Requests()); got != want {
			t.Errorf("checkpoint %d took %d requests, want %d", c.Position.Sequence, got, want)
		}
		c.Position.Sequence++
		c.Position.Offset, c.Time = fmt.Sprint(100*c.Position.Sequence), c.Time.Add(time.Second)
	}
	if _, err := s.ListCheckpoints(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	saves(2) // the checkpoint and our record
	saves(1)
	saves(1)
	c.Marks = map[string]hubferry.Position{"east/h/0": {Sequence: 7}}
	saves(1) // marks that are a little old are true
	s.lane(id).extraAt = time.Now().Add(-marksEvery)
	saves(2)
	saves(1)
	c.Marks = map[string]hubferry.Position{"east/h/0": {Sequence: 7}, "east/h/1": {Sequence: 3}}
	saves(2) // without a mark the other partition would be read from its beginning
	c.Marks = map[string]hubferry.Position{}
	for i := range 1500 {
		c.Marks[fmt.Sprintf("east.servicebus.windows.net/telemetry/%d", i)] = hubferry.Position{Sequence: int64(i)}
	}
	saves(2)
	want := c
	want.Position.Sequence--
	got, err := s.ListCheckpoints(t.Context(), id)
	if err != nil || len(got[id].Marks) != 1500 || got[id].Position.Sequence != want.Position.Sequence {
		t.Errorf("%d marks at %d are listed, %v", len(got[id].Marks), got[id].Position.Sequence, err)
	}
	delete(c.Marks, "east.servicebus.windows.net/telemetry/7")
	saves(2)
	c.Marks = nil
	saves(2)
	if got, err := s.ListCheckpoints(t.Context(), id); err != nil || got[id].Marks != nil || got[id].Err != nil {
		t.Errorf("after they have gone: %+v, %v", got[id], err)
	}
}

// A record whose body cannot be read is the error of its partition alone.
func TestBadBody(t *testing.T) {
	s, p, _ := setup(t, nil)
	for _, partition := range []string{"0", "1"} {
		one := id
		one.Partition = partition
		c := sequence(1)
		c.Marks = map[string]hubferry.Position{}
		for i := range 1000 {
			c.Marks[fmt.Sprintf("east.servicebus.windows.net/telemetry/%d", i)] = hubferry.Position{Sequence: int64(i)}
		}
		if err := s.SaveCheckpoint(t.Context(), one, c); err != nil {
			t.Fatal(err)
		}
	}
	p.Set(func(r *http.Request) *azuritetest.Fault {
		if strings.HasSuffix(r.URL.Path, folderExtra+"/1") {
			return &azuritetest.Fault{Status: http.StatusNotFound, Code: "BlobNotFound"}
		}
		return nil
	})
	found, err := s.ListCheckpoints(t.Context(), id)
	one := id
	one.Partition = "1"
	if err != nil || found[id].Err != nil || len(found[id].Marks) != 1000 || found[one].Err == nil {
		t.Errorf("%d marks of partition 0, error of partition 1: %v; %v", len(found[id].Marks), found[one].Err, err)
	}
}

// Names in another case are found, reported, and read where ours are missing.
func TestSpellings(t *testing.T) {
	account := service(t)
	o := fresh(account)
	var log bytes.Buffer
	s := open(t, o, hubferry.Env{Log: slog.New(slog.NewTextHandler(&log, nil))})
	other := "Contoso.servicebus.windows.net/Telemetry/$Default"
	raw(t, o, other+"/checkpoint/0", metadata{"sequencenumber": "7", "offset": "70"})
	raw(t, o, other+"/checkpoint/1", metadata{"sequencenumber": "8", "offset": "80"})
	raw(t, o, "contoso.servicebus.windows.net/telemetry/$default2/checkpoint/0", metadata{"sequencenumber": "9", "offset": "90"})
	one := id
	one.Partition = "1"
	if err := s.SaveCheckpoint(t.Context(), one, sequence(5)); err != nil {
		t.Fatal(err)
	}
	found, err := s.ListCheckpoints(t.Context(), id)
	if err != nil || len(found) != 2 || found[id].Position.Sequence != 7 || found[one].Position.Sequence != 5 {
		t.Errorf("checkpoints %+v, %v", found, err)
	}
	if got, err := s.Spellings(t.Context(), id); err != nil || !slices.Equal(got, []string{other}) {
		t.Errorf("spellings %q, %v", got, err)
	}
	if strings.Count(log.String(), "level=WARN") != 1 || !strings.Contains(log.String(), other) || !strings.Contains(log.String(), "component=checkpoint/blob") {
		t.Errorf("the log says %s", log.String())
	}
	groups, err := s.Groups(t.Context())
	if err != nil || len(groups) != 2 || groups[0] != id.Group() {
		t.Errorf("groups %v, %v", groups, err)
	}
	// The next checkpoint is written in lower case.
	if err := s.SaveForward(t.Context(), hubferry.Ownership{ID: id, Owner: "a"}, sequence(8)); hubferry.KindOf(err) == hubferry.Lost {
		t.Errorf("save: %v", err)
	}
}

// Of many saves of one partition that wait at one time only the last is written.
func TestCoalesce(t *testing.T) {
	s, p, _ := setup(t, nil)
	gate, arrived := make(chan struct{}), make(chan struct{}, 100)
	p.Set(func(*http.Request) *azuritetest.Fault {
		arrived <- struct{}{}
		<-gate
		return nil
	})
	const n = 40
	var wg sync.WaitGroup
	save := func(i int64) {
		if err := s.SaveCheckpoint(t.Context(), id, sequence(i)); err != nil {
			t.Error(err)
		}
	}
	wg.Go(func() { save(0) })
	<-arrived
	l := s.lane(id)
	for i := range int64(n) {
		var before, now *waiter
		l.mu.Lock()
		before = l.waiting
		l.mu.Unlock()
		wg.Go(func() { save(i + 1) })
		for now = before; now == before; { // until it waits
			l.mu.Lock()
			now = l.waiting
			l.mu.Unlock()
		}
	}
	close(gate)
	wg.Wait()
	if got := len(shapes(p)); got > 4 {
		t.Errorf("%d saves made %d writes: %q", n+1, got, shapes(p))
	}
	found, err := s.ListCheckpoints(t.Context(), id)
	if err != nil || found[id].Position.Sequence != n {
		t.Errorf("the checkpoint is at %d, want %d: %v", found[id].Position.Sequence, n, err)
	}
}

func TestAPIVersion(t *testing.T) {
	s, p, _ := setup(t, func(o *Options) { o.APIVersion = "2019-07-07" })
	p.Set(nil)
	if _, err := s.ClaimOwnership(t.Context(), []hubferry.Ownership{{ID: id, Owner: "a"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ListOwnership(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for _, r := range p.Requests() {
		if got := r.Header.Values("X-Ms-Version"); !slices.Equal(got, []string{"2019-07-07"}) {
			t.Errorf("%s speaks version %q", shape(r), got)
		}
	}
}

// The secondary host is for checkpoints only.
func TestSecondary(t *testing.T) {
	account := service(t)
	p := newProxy(t, account)
	o := fresh(p.URL)
	s := open(t, o, hubferry.Env{})
	if err := s.SaveCheckpoint(t.Context(), id, sequence(3)); err != nil {
		t.Fatal(err)
	}
	_, host, _ := strings.Cut(account, "://")
	o.SecondaryHost, _, _ = strings.Cut(host, "/")
	s = open(t, o, hubferry.Env{})
	p.Set(func(*http.Request) *azuritetest.Fault {
		return &azuritetest.Fault{Status: http.StatusInternalServerError}
	})
	if found, err := s.ListCheckpoints(t.Context(), id); err != nil || found[id].Position.Sequence != 3 {
		t.Errorf("from the secondary host: %+v, %v", found, err)
	}
	if _, err := s.ListOwnership(t.Context(), id); err == nil {
		t.Errorf("ownership was read from the secondary host")
	}
	if err := s.SaveCheckpoint(t.Context(), id, sequence(4)); err == nil {
		t.Errorf("a checkpoint was saved while the account is away")
	}
}

// signed makes a shared access signature of the account.
func signed(t *testing.T) string {
	t.Helper()
	key, err := azblob.NewSharedKeyCredential(azuritetest.Account, azuritetest.Key)
	if err != nil {
		t.Fatal(err)
	}
	values, err := sas.AccountSignatureValues{
		Protocol: sas.ProtocolHTTPSandHTTP, ExpiryTime: time.Now().Add(time.Hour).UTC(),
		Permissions:   (&sas.AccountPermissions{Read: true, Write: true, List: true}).String(),
		ResourceTypes: (&sas.AccountResourceTypes{Container: true, Object: true}).String(),
	}.SignWithSharedKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return values.Encode()
}

// Secrets are in no error, no log and no trace (INV-8).
func TestSecrets(t *testing.T) {
	account := service(t)
	p := newProxy(t, account)
	made := fresh(p.URL)
	open(t, made, hubferry.Env{})
	var mu sync.Mutex
	var said bytes.Buffer
	env := hubferry.Env{Log: slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug})), Trace: func(line string) {
		mu.Lock()
		defer mu.Unlock()
		said.WriteString(line + "\n")
	}}
	query := signed(t)
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Options{
		"signature": {Container: made.Container, Account: p.URL, SAS: hubferry.NewSecret(query)},
		"key":       {Container: made.Container, Account: p.URL, Key: hubferry.NewSecret(azuritetest.Key)},
	} {
		p.Set(nil)
		s := open(t, o, env)
		for _, f := range []*azuritetest.Fault{{Cut: true}, {Status: http.StatusForbidden, Code: "AuthenticationFailed"}, {Status: http.StatusInternalServerError}} {
			p.Set(func(*http.Request) *azuritetest.Fault { return f })
			_, err := s.ListOwnership(t.Context(), id)
			said.WriteString(fmt.Sprintf("%v %+v\n", err, err))
			_, err = s.ClaimOwnership(t.Context(), []hubferry.Ownership{{ID: id, Owner: "a"}})
			said.WriteString(fmt.Sprintf("%v %+v\n", err, err))
		}
		if !strings.Contains(said.String(), "PUT /devstoreaccount1/"+made.Container) {
			t.Errorf("%s: the trace shows no requests: %s", name, said.String())
		}
	}
	for _, secret := range []string{values.Get("sig"), url.QueryEscape(values.Get("sig")), azuritetest.Key, "SharedKey "} {
		if strings.Contains(said.String(), secret) {
			t.Errorf("%q is shown in: %s", secret, said.String())
		}
	}
}

func TestFaults(t *testing.T) {
	ownership := []hubferry.Ownership{{ID: id, Owner: "a"}}
	claim := func(ctx context.Context, s *Store) error {
		_, err := s.ClaimOwnership(ctx, ownership)
		return err
	}
	listing := func(ctx context.Context, s *Store) error {
		_, err := s.ListOwnership(ctx, id)
		return err
	}
	saving := func(ctx context.Context, s *Store) error {
		return s.SaveForward(ctx, ownership[0], sequence(1))
	}
	times := func(n int, f azuritetest.Fault) func(*http.Request) *azuritetest.Fault { // only of writes and lists of records
		left := n
		return func(*http.Request) *azuritetest.Fault {
			if left--; left < 0 {
				return nil
			}
			return &f
		}
	}
	for name, c := range map[string]struct {
		op     func(ctx context.Context, s *Store) error
		faults int
		fault  azuritetest.Fault
		kind   hubferry.ErrorKind // none if it succeeds
		ok     bool
		unsure bool
		tries  int // 0 if it does not matter
		after  time.Duration
		hint   string
	}{
		"a read is tried again":                {op: listing, faults: 2, fault: azuritetest.Fault{Status: 500}, ok: true, tries: 3},
		"a read is not tried for ever":         {op: listing, faults: 99, fault: azuritetest.Fault{Status: 500}, kind: hubferry.Transient, tries: 3},
		"a read survives a cut":                {op: listing, faults: 1, fault: azuritetest.Fault{Cut: true}, ok: true},
		"a write is tried once":                {op: claim, faults: 1, fault: azuritetest.Fault{Status: 500, Code: "InternalError"}, kind: hubferry.Transient, unsure: true, tries: 1},
		"a write is cut":                       {op: claim, faults: 99, fault: azuritetest.Fault{Cut: true}, kind: hubferry.Transient, unsure: true},
		"a write loses its answer":             {op: claim, faults: 1, fault: azuritetest.Fault{Lose: true}, kind: hubferry.Transient, unsure: true, tries: 1},
		"a gateway is busy":                    {op: claim, faults: 1, fault: azuritetest.Fault{Status: 503, After: "1"}, kind: hubferry.Throttled, unsure: true, tries: 1, after: time.Second},
		"the service is busy, then not":        {op: claim, faults: 2, fault: azuritetest.Fault{Status: 503, Code: "ServerBusy", After: "1"}, ok: true, tries: 3},
		"the service stays busy":               {op: claim, faults: 99, fault: azuritetest.Fault{Status: 503, Code: "ServerBusy"}, kind: hubferry.Throttled, tries: busyTries},
		"too many requests":                    {op: claim, faults: 1, fault: azuritetest.Fault{Status: 429}, ok: true, tries: 2},
		"a longer pause than anybody can wait": {op: claim, faults: 99, fault: azuritetest.Fault{Status: 503, Code: "ServerBusy", After: "3600"}, kind: hubferry.Throttled, tries: 1},
		"a lost race is no error":              {op: claim, faults: 1, fault: azuritetest.Fault{Status: 412, Code: "ConditionNotMet"}, ok: true, tries: 1},
		"a storm of conflicts":                 {op: saving, faults: 999, fault: azuritetest.Fault{Status: 412, Code: "ConditionNotMet"}, kind: hubferry.Transient},
		"forbidden":                            {op: claim, faults: 1, fault: azuritetest.Fault{Status: 403, Code: "AuthorizationPermissionMismatch"}, kind: hubferry.Unauthorized, tries: 1, hint: roles},
		"leased":                               {op: claim, faults: 1, fault: azuritetest.Fault{Status: 412, Code: "LeaseIdMissing"}, kind: hubferry.Refused, tries: 1, hint: "lease"},
		"version":                              {op: listing, faults: 9, fault: azuritetest.Fault{Status: 400, Code: "InvalidHeaderValue"}, kind: hubferry.Fatal, hint: "apiVersion"},
		"no container":                         {op: listing, faults: 9, fault: azuritetest.Fault{Status: 404, Code: "ContainerNotFound"}, kind: hubferry.NotFound, hint: "createContainer"},
		"container on its way out":             {op: claim, faults: 1, fault: azuritetest.Fault{Status: 409, Code: "ContainerBeingDeleted"}, kind: hubferry.Transient},
	} {
		t.Run(name, func(t *testing.T) {
			s, p, _ := setup(t, func(o *Options) { o.CreateContainer = false })
			pick := times(c.faults, c.fault)
			if name == "a storm of conflicts" {
				if _, err := s.ListCheckpoints(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				pick = func(r *http.Request) *azuritetest.Fault {
					if r.Method == http.MethodPut {
						return &c.fault
					}
					return nil
				}
				if _, err := s.ClaimOwnership(t.Context(), ownership); err != nil {
					t.Fatal(err)
				}
			}
			p.Set(pick)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute/2)
			defer cancel()
			err := c.op(ctx, s)
			tries := len(p.Requests())
			if (err == nil) != c.ok {
				t.Fatalf("it ended with %v after %d tries", err, tries)
			}
			if c.tries > 0 && tries != c.tries {
				t.Errorf("it was tried %d times, want %d", tries, c.tries)
			}
			if c.ok {
				return
			}
			var e *hubferry.Error
			if !errors.As(err, &e) || e.Kind != c.kind || e.Unsure != c.unsure || e.After < c.after || !strings.Contains(e.Hint, c.hint) {
				t.Errorf("%+v, want kind %s, unsure %t, after %s, hint %q", err, c.kind, c.unsure, c.after, c.hint)
			}
			p.Set(nil)
			if c.fault.After != "3600" {
				if err := c.op(t.Context(), s); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			}
		})
	}
}

// A request that hangs is given up in time.
func TestHang(t *testing.T) {
	s, p, _ := setup(t, nil)
	p.Set(func(*http.Request) *azuritetest.Fault { return &azuritetest.Fault{Hang: true} })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := s.ClaimOwnership(ctx, []hubferry.Ownership{{ID: id, Owner: "a"}}); err == nil {
		t.Error("a claim without an answer succeeded")
	}
	// The time is used up: it says which store has done so.
	if _, err := s.ListOwnership(ctx, id); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), s.host) {
		t.Errorf("a listing without any time left: %v", err)
	}
}

// A store opens while its service is away, and not where it never will work.
func TestOpen(t *testing.T) {
	account := service(t)
	p := newProxy(t, account)
	o := fresh(p.URL)
	o.CreateContainer = false
	if _, err := Open(t.Context(), o, hubferry.Env{}); hubferry.KindOf(err) != hubferry.NotFound || !strings.Contains(err.Error(), o.Container) {
		t.Errorf("a missing container: %v", err)
	}
	p.Set(func(*http.Request) *azuritetest.Fault { return &azuritetest.Fault{Cut: true} })
	o.CreateContainer = true
	s := open(t, o, hubferry.Env{})
	if _, err := s.ServerTime(t.Context()); err == nil {
		t.Error("a service that is away tells the time")
	}
	p.Set(nil)
	if now, err := s.ServerTime(t.Context()); err != nil || time.Since(now).Abs() > time.Minute {
		t.Errorf("the time is %s, %v", now, err)
	}
	if err := s.SaveCheckpoint(t.Context(), id, sequence(1)); err != nil {
		t.Errorf("the container is made when it is first needed: %v", err)
	}
	if _, err := Open(t.Context(), Options{Container: "abc"}, hubferry.Env{}); hubferry.KindOf(err) != hubferry.Fatal {
		t.Errorf("options that are not valid: %v", err)
	}
}
