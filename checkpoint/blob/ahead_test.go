package blob

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/azuritetest"
)

var owner = hubferry.Ownership{ID: id, Owner: "a"}

// owned is setup with a partition that owner has.
func owned(t *testing.T) (*Store, *azuritetest.Proxy, Options) {
	t.Helper()
	s, p, o := setup(t, nil)
	if _, err := s.ClaimOwnership(t.Context(), []hubferry.Ownership{owner}); err != nil {
		t.Fatal(err)
	}
	return s, p, o
}

// refusing makes writes below a folder fail.
func refusing(folder string) func(*http.Request) *azuritetest.Fault {
	return func(r *http.Request) *azuritetest.Fault {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/"+folder+"/") {
			return &azuritetest.Fault{Status: 500, Code: "InternalError"}
		}
		return nil
	}
}

// A first checkpoint is not found without what the engine keeps beside it, wherever we die or
// somebody else looks: without the name of its task it would be another program's (G-10).
func TestFirstCheckpointIsWhole(t *testing.T) {
	first := sequence(7)
	first.Clean, first.States = true, map[string][]byte{"engine.task": []byte("t")}
	for _, folder := range []string{folderExtra, folderCheckpoint} {
		t.Run(folder, func(t *testing.T) {
			s, p, o := owned(t)
			p.Set(refusing(folder))
			if err := s.SaveForward(t.Context(), owner, first); err == nil {
				t.Fatal("it was saved in spite of the fault")
			}
			p.Set(nil)
			if found, err := open(t, o, hubferry.Env{}).ListCheckpoints(t.Context(), id); err != nil || len(found) > 0 {
				t.Errorf("after the fault: %+v, %v", found, err)
			}
			before := len(p.Requests())
			if err := s.SaveForward(t.Context(), owner, first); err != nil {
				t.Fatal(err)
			}
			puts := 0
			for _, r := range p.Requests()[before:] {
				if r.Method == http.MethodPut {
					puts++
				}
			}
			if puts > 2 {
				t.Errorf("it took %d writes", puts)
			}
			found, err := open(t, o, hubferry.Env{}).ListCheckpoints(t.Context(), id)
			if c := found[id]; err != nil || c.Position.Sequence != 7 || !c.Clean || string(c.States["engine.task"]) != "t" {
				t.Errorf("saved again: %+v, %v", found, err)
			}
		})
	}
}

// A checkpoint that begins anew is found whole wherever we die: as it was, or as it is, and
// never the old position with the new incarnation.
func TestBeginAnewIsWhole(t *testing.T) {
	old, anew := sequence(500), sequence(-1)
	old.Incarnation, anew.Incarnation, anew.Beginning = "one", "two", 1
	ignore := cmpopts.IgnoreFields(hubferry.Checkpoint{}, "Time")
	for _, folder := range []string{folderExtra, folderCheckpoint} {
		t.Run(folder, func(t *testing.T) {
			s, p, o := owned(t)
			if err := s.SaveForward(t.Context(), owner, old); err != nil {
				t.Fatal(err)
			}
			p.Set(refusing(folder))
			if err := s.SaveForward(t.Context(), owner, anew); err == nil {
				t.Fatal("it was saved in spite of the fault")
			}
			p.Set(nil)
			want := anew
			if folder == folderExtra { // which goes first
				want = old
			}
			found, err := open(t, o, hubferry.Env{}).ListCheckpoints(t.Context(), id)
			if diff := cmp.Diff(map[hubferry.ID]hubferry.Checkpoint{id: want}, found, ignore, cmpopts.EquateEmpty()); err != nil || diff != "" {
				t.Errorf("after the fault: %v (-want +got):\n%s", err, diff)
			}
			later := sequence(500) // by chance the same number as before
			later.Incarnation, later.Beginning = "two", 1
			for _, c := range []hubferry.Checkpoint{anew, later} {
				if err := s.SaveForward(t.Context(), owner, c); err != nil {
					t.Fatal(err)
				}
				found, err := open(t, o, hubferry.Env{}).ListCheckpoints(t.Context(), id)
				if diff := cmp.Diff(map[hubferry.ID]hubferry.Checkpoint{id: c}, found, ignore, cmpopts.EquateEmpty()); err != nil || diff != "" {
					t.Errorf("saved at %d: %v (-want +got):\n%s", c.Position.Sequence, err, diff)
				}
			}
		})
	}
}

// A later checkpoint is never found with the epoch of an earlier one, wherever we die: a log
// would look as if it had been cut back where that epoch ended.
func TestEpochGoesAhead(t *testing.T) {
	old, next := sequence(500), sequence(900)
	old.Position.Epoch, next.Position.Epoch = 3, 4
	old.Marks = map[string]hubferry.Position{"east/h/0": {Sequence: 70}}
	next.Marks = map[string]hubferry.Position{"east/h/0": {Sequence: 80}}
	ignore := cmpopts.IgnoreFields(hubferry.Checkpoint{}, "Time")
	for _, folder := range []string{folderExtra, folderCheckpoint} {
		t.Run(folder, func(t *testing.T) {
			s, p, o := owned(t)
			if err := s.SaveForward(t.Context(), owner, old); err != nil {
				t.Fatal(err)
			}
			p.Set(refusing(folder))
			if err := s.SaveForward(t.Context(), owner, next); err == nil {
				t.Fatal("it was saved in spite of the fault")
			}
			p.Set(nil)
			want := old
			if folder == folderCheckpoint {
				want.Position.Epoch = 4 // brokers then tell where what came before it ended
			}
			found, err := open(t, o, hubferry.Env{}).ListCheckpoints(t.Context(), id)
			if diff := cmp.Diff(map[hubferry.ID]hubferry.Checkpoint{id: want}, found, ignore, cmpopts.EquateEmpty()); err != nil || diff != "" {
				t.Errorf("after the fault: %v (-want +got):\n%s", err, diff)
			}
			before := len(p.Requests())
			if err := s.SaveForward(t.Context(), owner, next); err != nil {
				t.Fatal(err)
			}
			if n := len(p.Requests()) - before; n > 4 {
				t.Errorf("it took %d requests", n)
			}
			found, err = open(t, o, hubferry.Env{}).ListCheckpoints(t.Context(), id)
			if c := found[id]; err != nil || c.Position != next.Position || c.Marks["east/h/0"].Sequence < 70 {
				t.Errorf("saved again: %+v, %v", found, err)
			}
		})
	}
}

// However many writes fail one after the other, what is found is of one checkpoint.
func TestAheadAfterFailures(t *testing.T) {
	marks := func(n int64) map[string]hubferry.Position {
		return map[string]hubferry.Position{"east/h/0": {Sequence: n}}
	}
	old, anew, later := sequence(500), sequence(-1), sequence(40)
	old.Incarnation, anew.Incarnation, anew.Beginning = "one", "two", 1
	later.Incarnation, later.Beginning, later.Position.Epoch = "two", 1, 4
	third, fourth := sequence(500), sequence(900)
	third.Position.Epoch, third.Marks = 3, marks(70)
	fourth.Position.Epoch, fourth.Marks, fourth.Clean = 4, marks(80), true
	type save struct {
		fails string // the folder whose writes fail
		c     hubferry.Checkpoint
	}
	for name, c := range map[string]struct {
		saves []save
		want  hubferry.Checkpoint // with the epoch of the record that went ahead
	}{
		"anew":  {[]save{{"", old}, {folderCheckpoint, anew}, {folderExtra, later}, {folderCheckpoint, later}}, anew},
		"epoch": {[]save{{"", third}, {folderExtra, fourth}, {folderCheckpoint, fourth}}, third},
	} {
		for _, large := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " large ", large), func(t *testing.T) {
				s, p, o := owned(t)
				state := map[string][]byte{"engine.task": []byte("t")}
				if large { // more than metadata hold
					state["engine.map"] = make([]byte, 10<<10)
				}
				for _, one := range c.saves {
					p.Set(nil)
					if one.fails != "" {
						p.Set(refusing(one.fails))
					}
					one.c.States = state
					if err := s.SaveForward(t.Context(), owner, one.c); (err != nil) != (one.fails != "") {
						t.Fatalf("saved at %d: %v", one.c.Position.Sequence, err)
					}
				}
				p.Set(nil)
				found, err := open(t, o, hubferry.Env{}).ListCheckpoints(t.Context(), id)
				want := c.want
				want.Position.Epoch, want.States = 4, state
				if diff := cmp.Diff(want, found[id], cmpopts.IgnoreFields(hubferry.Checkpoint{}, "Time"), cmpopts.EquateEmpty()); err != nil || diff != "" {
					t.Errorf("%v (-want +got):\n%s", err, diff)
				}
			})
		}
	}
}
