package entity

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry/hub/internal/seglog"
)

func TestHubs(t *testing.T) {
	n := openNS(t, testOptions())
	h := create(t, n, HubSpec{Name: "Orders", Partitions: 3, Groups: []string{"Audit"}})
	create(t, n, HubSpec{Name: "a/b.c-d_e"})
	if again, err := n.Hub("oRDERS"); again != h || err != nil || h.Name() != "Orders" {
		t.Errorf("hub by another case: %v, %v", again, err)
	}
	if ids := strings.Join(h.PartitionIDs(), " "); ids != "0 1 2" || h.PartitionCount() != 3 {
		t.Errorf("partition ids = %s", ids)
	}
	if h2, _ := n.Hub("A/B.C-D_E"); h2 == nil || h2.PartitionCount() != 4 {
		t.Errorf("default partitions: %v", h2)
	}
	for _, g := range []string{"$Default", "$default", "audit", "AUDIT"} {
		if _, err := h.Group(g); err != nil {
			t.Errorf("group %s: %v", g, err)
		}
	}
	_, err := n.Hub("nobody")
	wantError(t, err, NotFound, 404, "The messaging entity 'sb://ns/nobody' could not be found.")
	_, err = h.Group("nobody")
	wantError(t, err, NotFound, 404, "The messaging entity 'sb://ns/Orders/ConsumerGroups/nobody' could not be found.")
	_, err = n.CreateHub(t.Context(), HubSpec{Name: "orders"})
	wantError(t, err, EntityAlreadyExists, 409, "already exists")
	for _, id := range []string{"3", "-1", "", "00", "+1", "x", "1 ", "9999999999999999999999"} {
		_, err = h.Partition(id)
		wantError(t, err, ArgumentOutOfRange, 400, "The specified partition is invalid for an EventHub partition sender or receiver. It should be between 0 and 3-1.")
	}
	if err := n.DeleteHub(t.Context(), "ORDERS"); err != nil {
		t.Fatal(err)
	}
	<-h.Deleted()
	wantError(t, h.Err(), NotFound, 404, "sb://ns/Orders")
	wantError(t, n.DeleteHub(t.Context(), "orders"), NotFound, 404, "")
	again := create(t, n, HubSpec{Name: "orders"})
	if again.ID() == h.ID() || len(again.ID()) != 32 {
		t.Errorf("the hub that was created again has the identity %s", again.ID())
	}
	_, err = partition2(h).Append(t.Context(), []Entry{{Message: []byte("x")}})
	wantError(t, err, NotFound, 404, "sb://ns/Orders")
	wantError(t, partition2(h).Read(0, 1, 1, &Batch{}), NotFound, 404, "")
}

func partition2(h *Hub) *Partition { return h.Partitions()[2] }

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "A9": true, "a.b-c_d/e": true, strings.Repeat("x", 256): true, "a/b/c": true,
		"": false, strings.Repeat("x", 257): false, "-a": false, "a-": false, "_": false, "a b": false, "a$": false,
		"$cbs": false, "a//b": false, "/a": false, "a/": false, "ä": false, "a\n": false, "a/Partitions/1": false, "x/consumergroups": false,
	} {
		if err := CheckHubName(name); (err == nil) != ok {
			t.Errorf("hub %.20q: %v", name, err)
		}
	}
	for name, ok := range map[string]bool{
		"a": true, "$Default": true, "$default": true, "a.b-c_9": true, strings.Repeat("x", 50): true,
		"": false, "$other": false, strings.Repeat("x", 51): false, "a/b": false, "-": false, "a b": false,
	} {
		if err := CheckGroupName(name); (err == nil) != ok {
			t.Errorf("group %.20q: %v", name, err)
		}
	}
}

func TestSpecs(t *testing.T) {
	o := testOptions()
	o.Limits = Limits{Hubs: 2, Groups: 3}
	n := openNS(t, o)
	for _, test := range []struct {
		spec HubSpec
		c    Condition
		text string
	}{
		{HubSpec{Name: "a", Partitions: 33}, ArgumentError, "33 is not between 1 and 32"},
		{HubSpec{Name: "a", Partitions: -1}, ArgumentError, "-1 is not between"},
		{HubSpec{Name: "a b"}, ArgumentError, "'a b' is not allowed"},
		{HubSpec{Name: "a", Groups: []string{"x", "X"}}, ArgumentError, "'X' is given twice"},
		{HubSpec{Name: "a", Groups: []string{"x y"}}, ArgumentError, "'x y' is not allowed"},
		{HubSpec{Name: "a", Groups: []string{"x", "y", "z"}}, ResourceLimitExceeded, "the limit is 3"},
		{HubSpec{Name: "a", Retention: Retention{For: -1}}, ArgumentError, "negative"},
		{HubSpec{Name: "a", Status: 9}, ArgumentError, "status"},
		{HubSpec{Name: "a", Rules: []Rule{{Name: "r"}}}, ArgumentError, "'r' has no key"},
		{HubSpec{Name: "a", Rules: []Rule{{Name: "r", Key: "sssecret"}}}, ArgumentError, "'r' needs at least one"},
		{HubSpec{Name: "a", Rules: []Rule{{Name: "r", Key: "sssecret", Rights: Send}, {Name: "R", Key: "sssecret", Rights: Send}}}, ArgumentError, "'R' is given twice"},
		{HubSpec{Name: "a", Rules: []Rule{{Name: "a&b", Key: "sssecret", Rights: Send}}}, ArgumentError, "'a&b' is not allowed"},
		{HubSpec{Name: "a", Rules: make([]Rule, 13)}, ArgumentError, "at most 12"},
	} {
		_, err := n.CreateHub(t.Context(), test.spec)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Condition != test.c || !strings.Contains(e.Text, test.text) || strings.Contains(err.Error(), "sssecret") {
			t.Errorf("%+v: %v, want %s %q", test.spec, err, test.c, test.text)
		}
	}
	create(t, n, HubSpec{Name: "a", Groups: []string{"$default", "x", "y"}})
	create(t, n, HubSpec{Name: "b"})
	_, err := n.CreateHub(t.Context(), HubSpec{Name: "c"})
	wantError(t, err, ResourceLimitExceeded, 403, "which is the limit")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.CreateHub(ctx, HubSpec{Name: "d"}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestGroups(t *testing.T) {
	n := openNS(t, onDisk(t))
	h := create(t, n, HubSpec{Name: "hub"})
	g, err := h.CreateGroup(t.Context(), "Mine", "for me")
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.CreateGroup(t.Context(), "mine", "")
	wantError(t, err, EntityAlreadyExists, 409, "")
	_, err = h.CreateGroup(t.Context(), "$DEFAULT", "")
	wantError(t, err, EntityAlreadyExists, 409, "")
	_, err = h.CreateGroup(t.Context(), "no/slash", "")
	wantError(t, err, ArgumentError, 400, "")
	r, err := g.Attach(partition(t, h, "0"), ReceiverOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n = reopen(t, n)
	<-r.Done()
	wantError(t, r.Err(), DetachForced, 503, "shutting down")
	_, err = g.Attach(partition(t, h, "0"), ReceiverOptions{})
	wantError(t, err, DetachForced, 503, "shutting down")
	h, _ = n.Hub("hub")
	created := g.CreatedAt()
	if g, err = h.Group("MINE"); err != nil || g.Name() != "Mine" || g.UserMetadata() != "for me" || !g.CreatedAt().Equal(created) {
		t.Fatalf("group %+v, %v", g, err)
	}
	if r, err = g.Attach(partition(t, h, "0"), ReceiverOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := h.DeleteGroup(t.Context(), "mine"); err != nil {
		t.Fatal(err)
	}
	<-r.Done()
	wantError(t, r.Err(), NotFound, 404, "ConsumerGroups/Mine")
	_, err = g.Attach(partition(t, h, "0"), ReceiverOptions{})
	wantError(t, err, NotFound, 404, "")
	wantError(t, h.DeleteGroup(t.Context(), "mine"), NotFound, 404, "")
	wantError(t, h.DeleteGroup(t.Context(), "$default"), NotAllowed, 400, "")
	for i := range 19 {
		if _, err := h.CreateGroup(t.Context(), fmt.Sprint("g", i), ""); err != nil {
			t.Fatal(err)
		}
	}
	_, err = h.CreateGroup(t.Context(), "g19", "")
	wantError(t, err, ResourceLimitExceeded, 403, "20 consumer groups")
}

func TestPersistence(t *testing.T) {
	c := newClock()
	o := onDisk(t)
	o.Now = c.now
	n := openNS(t, o)
	spec := HubSpec{
		Name: "Hub/One", Partitions: 3, Groups: []string{"a", "b"}, Status: SendDisabled, UserMetadata: "me",
		Retention: Retention{For: time.Hour, Bytes: 1 << 20, Compact: true, Tombstones: time.Minute},
		Rules:     []Rule{{Name: "r", Key: "k1", SecondaryKey: "k2", Rights: Listen | Send}},
	}
	h := create(t, n, HubSpec{Name: "Hub/One", Partitions: 3})
	send(t, partition(t, h, "1"), "one", "two")
	c.add(time.Hour)
	if _, err := n.UpdateHub(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		n = reopen(t, n)
		again, err := n.Hub("hub/one")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(spec, again.Spec()); diff != "" {
			t.Error(diff)
		}
		if again.ID() != h.ID() || !again.CreatedAt().Equal(h.CreatedAt()) || !again.UpdatedAt().Equal(c.now()) {
			t.Errorf("identity %s, created %v, updated %v", again.ID(), again.CreatedAt(), again.UpdatedAt())
		}
		if got := receive(t, partition(t, again, "1"), 0); cmp.Diff([]string{"one", "two"}, got) != "" {
			t.Errorf("received %v", got)
		}
		h = again
	}
	if st, err := os.Stat(filepath.Join(o.Dir, listName)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the list holds keys and has mode %v, %v", st.Mode(), err)
	}
	if err := n.DeleteHub(t.Context(), "Hub/One"); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(filepath.Join(o.Dir, hubsName)); len(left) != 0 {
		t.Errorf("left after deletion: %v", left)
	}
	if n = reopen(t, n); len(n.Hubs()) != 0 {
		t.Errorf("hubs: %v", n.Hubs())
	}
}

func TestUpdateHub(t *testing.T) {
	n := openNS(t, onDisk(t))
	h := create(t, n, HubSpec{Name: "hub", Partitions: 2, Groups: []string{"a"}})
	p := partition(t, h, "1")
	send(t, p, "x")
	if _, err := n.UpdateHub(t.Context(), HubSpec{Name: "HUB", Partitions: 5, Groups: []string{"A", "b"}}); err != nil {
		t.Fatal(err)
	}
	if h.PartitionCount() != 5 || partition(t, h, "1") != p || strings.Join(h.Spec().Groups, " ") != "a b" {
		t.Errorf("spec = %+v", h.Spec())
	}
	send(t, partition(t, h, "4"), "y")
	_, err := n.UpdateHub(t.Context(), HubSpec{Name: "hub", Partitions: 4})
	wantError(t, err, ArgumentError, 400, "cannot be lowered to 4")
	_, err = n.UpdateHub(t.Context(), HubSpec{Name: "other"})
	wantError(t, err, NotFound, 404, "")
	rules := []Rule{{Name: "r", Key: "k", Rights: Send}}
	if _, err := n.UpdateHub(t.Context(), HubSpec{Name: "hub", Rules: rules, Status: SendDisabled, UserMetadata: "m"}); err != nil {
		t.Fatal(err)
	}
	// What the configuration says at start does not undo what was changed
	// since, unless it says so.
	if _, err := n.EnsureHub(t.Context(), HubSpec{Name: "hub", Retention: Retention{For: time.Hour}}); err != nil {
		t.Fatal(err)
	}
	want := HubSpec{Name: "hub", Partitions: 5, Groups: []string{"a", "b"}, Rules: rules, Status: SendDisabled, UserMetadata: "m", Retention: Retention{For: time.Hour}}
	if diff := cmp.Diff(want, h.Spec()); diff != "" {
		t.Error(diff)
	}
	if _, err := n.EnsureHub(t.Context(), HubSpec{Name: "new", Partitions: 7}); err != nil {
		t.Fatal(err)
	}
	n = reopen(t, n)
	h, _ = n.Hub("hub")
	if got := receive(t, partition(t, h, "4"), 0); len(got) != 1 {
		t.Errorf("received %v", got)
	}
}

func TestDisabled(t *testing.T) {
	n := openNS(t, testOptions())
	h := create(t, n, HubSpec{Name: "hub", Partitions: 1})
	g, _ := h.Group(DefaultGroup)
	p := partition(t, h, "0")
	for _, test := range []struct {
		status         Status
		sends, listens bool
	}{{Disabled, false, false}, {SendDisabled, false, true}, {ReceiveDisabled, true, false}, {Active, true, true}} {
		open, err := g.Attach(p, ReceiverOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.UpdateHub(t.Context(), HubSpec{Name: "hub", Status: test.status}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Append(t.Context(), []Entry{{Message: []byte("x")}}); (err == nil) != test.sends {
			t.Errorf("%v: append: %v", test.status, err)
		} else if err != nil {
			wantError(t, err, EntityDisabled, 403, "currently disabled")
		}
		r, err := g.Attach(p, ReceiverOptions{})
		if (err == nil) != test.listens {
			t.Errorf("%v: attach: %v", test.status, err)
		} else if err != nil {
			wantError(t, err, EntityDisabled, 403, "currently disabled")
			<-open.Done()
			wantError(t, open.Err(), EntityDisabled, 403, "")
		} else {
			r.Close()
		}
		open.Close()
		if _, err := n.UpdateHub(t.Context(), HubSpec{Name: "hub"}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFolderInUse(t *testing.T) {
	o := onDisk(t)
	openNS(t, o)
	_, err := Open(t.Context(), o)
	if held, ok := errors.AsType[*seglog.LockedError](err); !ok || held.Dir != o.Dir || held.PID != os.Getpid() {
		t.Error(err)
	}
}

func TestFolderOfAnother(t *testing.T) {
	o := onDisk(t)
	n := openNS(t, o)
	create(t, n, HubSpec{Name: "hub"})
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	o.Name = "other"
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), `belongs to the namespace "ns"`) {
		t.Error(err)
	}
	o.Name = "ns"
	list := filepath.Join(o.Dir, listName)
	b, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]string{
		"{":              "unexpected end",
		`{"version": 2}`: "it has version 2",
		strings.Replace(string(b), `"id": "`, `"id": "../../`, 1): "is not valid",
	} {
		if err := os.WriteFile(list, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), list) {
			t.Errorf("%.20q: %v", content, err)
		}
	}
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "is missing but") {
		t.Error(err)
	}
}

// What crashes leave of creations and deletions is removed; a folder with
// events that nobody knows is not.
func TestSweep(t *testing.T) {
	o := onDisk(t)
	var log logBuffer
	o.Log = logTo(&log)
	n := openNS(t, o)
	h := create(t, n, HubSpec{Name: "hub", Partitions: 1})
	send(t, partition(t, h, "0"), "x")
	empty := create(t, n, HubSpec{Name: "empty", Partitions: 1})
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(o.Dir, hubsName, name) }
	for to, from := range map[string]string{"half-deleted" + deletedSuffix: h.ID(), "stray": h.ID(), "half-created": empty.ID()} {
		if err := os.CopyFS(at(to), os.DirFS(at(from))); err != nil {
			t.Fatal(err)
		}
	}
	n = openNS(t, o)
	if len(n.Hubs()) != 2 {
		t.Errorf("hubs: %v", n.Hubs())
	}
	for name, there := range map[string]bool{h.ID(): true, empty.ID(): true, "stray": true, "half-deleted" + deletedSuffix: false, "half-created": false} {
		if _, err := os.Stat(at(name)); (err == nil) != there {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !strings.Contains(log.String(), "stray") {
		t.Errorf("the log says nothing of the stray folder: %s", &log)
	}
}

func TestDamagedPartition(t *testing.T) {
	o := onDisk(t)
	n := openNS(t, o)
	h := create(t, n, HubSpec{Name: "hub", Partitions: 2})
	send(t, partition(t, h, "1"), "x")
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(n.hubDir(h), "1", strings.Repeat("0", 20)+".seg")
	if err := os.Truncate(file, 100); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), o)
	if d, ok := errors.AsType[*seglog.DamageError](err); !ok || d.File != file || !strings.Contains(err.Error(), "hub hub") {
		t.Errorf("error %v", err)
	}
	// The failed start has released the folder.
	lock, err := seglog.LockDir(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
}

// A disk that is full: senders are told to try again, the operator is told
// why, once; and a hub that cannot be created leaves nothing.
func TestFullDisk(t *testing.T) {
	o := onDisk(t)
	var log logBuffer
	o.Log = logTo(&log)
	full := false
	o.OpenFile = func(name string, flag int, perm os.FileMode) (seglog.File, error) {
		f, err := os.OpenFile(name, flag, perm)
		if err != nil {
			return nil, err
		}
		return fullFile{f, &full}, nil
	}
	n := openNS(t, o)
	h := create(t, n, HubSpec{Name: "hub", Partitions: 1})
	p := partition(t, h, "0")
	send(t, p, "a")
	full = true
	for range 3 {
		_, err := p.Append(t.Context(), []Entry{{Message: []byte("b")}})
		wantError(t, err, ServerBusy, 503, "try again")
	}
	if s := log.String(); strings.Count(s, "no space left on device") != 1 || !strings.Contains(s, "partition=0") {
		t.Errorf("log: %s", s)
	}
	if _, err := n.CreateHub(t.Context(), HubSpec{Name: "new"}); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	if left, _ := os.ReadDir(filepath.Join(o.Dir, hubsName)); len(left) != 1 {
		t.Errorf("left of the hub that could not be created: %v", left)
	}
	full = false
	if s := send(t, p, "c"); s.First != 1 {
		t.Errorf("span = %+v", s)
	}
	create(t, n, HubSpec{Name: "new"})
}

type fullFile struct {
	*os.File
	full *bool
}

func (f fullFile) WriteAt(b []byte, at int64) (int, error) {
	if *f.full {
		return 0, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
	}
	return f.File.WriteAt(b, at)
}

func TestRetention(t *testing.T) {
	c := newClock()
	o := testOptions()
	o.Now = c.now
	n := openNS(t, o)
	h := create(t, n, HubSpec{Name: "timed", Partitions: 1, Retention: Retention{For: time.Hour}})
	sized := create(t, n, HubSpec{Name: "sized", Partitions: 1, Retention: Retention{Bytes: 3000}})
	compacted := create(t, n, HubSpec{Name: "compacted", Partitions: 1, Retention: Retention{Compact: true}})
	send(t, partition(t, h, "0"), "a")
	c.add(30 * time.Minute)
	send(t, partition(t, h, "0"), "b")
	for range 20 {
		send(t, partition(t, sized, "0"), strings.Repeat("x", 500))
	}
	for _, v := range []string{"1", "2", ""} {
		e := Entry{Key: []byte("k"), Flags: FlagKey, Message: []byte(v)}
		if v == "" {
			e.Flags |= FlagTombstone
		}
		if _, err := partition(t, compacted, "0").Append(t.Context(), []Entry{e}); err != nil {
			t.Fatal(err)
		}
	}
	c.add(30*time.Minute + time.Millisecond)
	if err := n.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(receive(t, partition(t, h, "0"), 0), " "); got != "b" {
		t.Errorf("timed: %s", got)
	}
	if i := partition(t, sized, "0").Info(); i.Begin < 14 || i.Begin > 16 || i.Last != 19 {
		t.Errorf("sized: %+v", i)
	}
	if got := receive(t, partition(t, compacted, "0"), 0); len(got) != 1 || got[0] != "" {
		t.Errorf("compacted: %q", got)
	}
	c.add(24 * time.Hour)
	if err := n.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if i := partition(t, h, "0").Info(); !i.Empty || i.Begin != 2 {
		t.Errorf("timed: %+v", i)
	}
}

// Retention happens by itself.
func TestMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions()
		o.Storage = Storage{}
		n, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		h := create(t, n, HubSpec{Name: "hub", Partitions: 1, Retention: Retention{For: time.Minute}})
		send(t, partition(t, h, "0"), "a")
		time.Sleep(59 * time.Second)
		if i := partition(t, h, "0").Info(); i.Empty {
			t.Error("gone before its time")
		}
		time.Sleep(7 * time.Second)
		if i := partition(t, h, "0").Info(); !i.Empty {
			t.Error("still there")
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestClose(t *testing.T) {
	n := openNS(t, testOptions())
	h := create(t, n, HubSpec{Name: "hub", Partitions: 1})
	if n.Closed() {
		t.Error("closed before Close")
	}
	for range 2 {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	<-h.Deleted()
	wantError(t, h.Err(), DetachForced, 503, "shutting down")
	_, err := h.Partitions()[0].Append(t.Context(), []Entry{{Message: []byte("x")}})
	wantError(t, err, DetachForced, 503, "")
	_, err = n.CreateHub(t.Context(), HubSpec{Name: "b"})
	wantError(t, err, DetachForced, 503, "")
	wantError(t, n.DeleteHub(t.Context(), "hub"), DetachForced, 503, "")
	if !n.Closed() {
		t.Error("not closed after Close")
	}
}

func TestManyPartitions(t *testing.T) {
	o := onDisk(t)
	o.Limits.Partitions = 300
	o.Storage.Fsync = seglog.FsyncNever
	n := openNS(t, o)
	h := create(t, n, HubSpec{Name: "hub", Partitions: 300})
	for _, p := range h.Partitions() {
		send(t, p, p.ID())
	}
	n = reopen(t, n)
	h, _ = n.Hub("hub")
	for _, p := range h.Partitions() {
		if got := receive(t, p, 0); len(got) != 1 || got[0] != p.ID() {
			t.Fatalf("partition %s: %v", p.ID(), got)
		}
	}
}
