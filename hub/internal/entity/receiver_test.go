package entity

import (
	"fmt"
	"slices"
	"sync"
	"testing"
)

// readers is a partition of a group and the receivers that a test opened.
type readers struct {
	t testing.TB
	p *Partition
	g *Group
}

func newReaders(t testing.TB) readers {
	n := openNS(t, testOptions())
	h := create(t, n, HubSpec{Name: "hub", Partitions: 2, Groups: []string{"other"}})
	g, err := h.Group(DefaultGroup)
	if err != nil {
		t.Fatal(err)
	}
	return readers{t, partition(t, h, "0"), g}
}

func (r readers) attach(name string, epoch ...int64) *Receiver {
	r.t.Helper()
	rec, err := r.try(name, epoch...)
	if err != nil {
		r.t.Fatal(err)
	}
	return rec
}

func (r readers) try(name string, epoch ...int64) (*Receiver, error) {
	o := ReceiverOptions{Name: name}
	if len(epoch) > 0 {
		o.Epoch, o.HasEpoch = epoch[0], true
	}
	return r.g.Attach(r.p, o)
}

func ended(r *Receiver) bool {
	select {
	case <-r.Done():
		return true
	default:
		return false
	}
}

func TestEpochs(t *testing.T) {
	r := newReaders(t)
	first := r.attach("first", 3)

	_, err := r.try("low", 2)
	wantError(t, err, LinkStolen, 410, "Receiver 'first' with a higher epoch '3' already exists. Receiver 'low' with epoch 2 cannot be created. Make sure you are creating receiver with increasing epoch value to ensure connectivity, or ensure all old epoch receivers are closed or disconnected.")
	_, err = r.try("none")
	wantError(t, err, LinkStolen, 410, "At least one receiver for the endpoint is created with epoch of '3', and so non-epoch receiver is not allowed. Either reconnect with a higher epoch, or make sure all epoch receivers are closed or disconnected.")
	if ended(first) {
		t.Fatal("a refused receiver ended the owner")
	}

	same := r.attach("", 3) // equal counts: the last one wins
	<-first.Done()
	wantError(t, first.Err(), LinkStolen, 410, "New receiver 'nil' with higher epoch of '3' is created hence current receiver 'first' with epoch '3' is getting disconnected. If you are recreating the receiver, make sure a higher epoch is used.")

	higher := r.attach("higher", 10)
	<-same.Done()
	wantError(t, same.Err(), LinkStolen, 410, "New receiver 'higher' with higher epoch of '10' is created hence current receiver 'nil' with epoch '3' is getting disconnected.")

	first.Close() // late: the displaced ones do not take the owner's place away
	same.Close()
	_, err = r.try("", 9)
	wantError(t, err, LinkStolen, 410, "Receiver 'higher' with a higher epoch '10' already exists. Receiver 'nil' with epoch 9")

	higher.Close() // the epoch goes with its owner
	if ended(higher) || higher.Err() != nil {
		t.Error("Close ended the receiver")
	}
	low := r.attach("low", 0)
	low.Close()
	low.Close()
	r.attach("plain").Close()
}

func TestReceiverLimit(t *testing.T) {
	r := newReaders(t)
	var open []*Receiver
	for _, name := range []string{"a", "b", "", "d", "e"} {
		open = append(open, r.attach(name))
	}
	_, err := r.try("f")
	wantError(t, err, ResourceLimitExceeded, 403, "Exceeded the maximum number of allowed receivers per partition in a consumer group which is 5. List of connected receivers - a, b, nil, d, e.")
	open[1].Close()
	open[1].Close()
	open[1] = r.attach("f")

	// Other partitions and groups are counted by themselves.
	other := readers{t, r.p.Hub().Partitions()[1], r.g}
	other.attach("x").Close()
	g, _ := r.p.Hub().Group("other")
	elsewhere := readers{t, r.p, g}.attach("x", 7)

	owner := r.attach("owner", 0)
	for _, o := range open {
		<-o.Done()
		wantError(t, o.Err(), LinkStolen, 410, "New receiver 'owner' with higher epoch of '0' is created hence current receiver '")
	}
	if ended(elsewhere) {
		t.Error("another group's receiver was ended")
	}
	owner.Close()
	for range 5 {
		r.attach("again")
	}
}

func TestReceiversEndWithHub(t *testing.T) {
	r := newReaders(t)
	open := []*Receiver{r.attach("a"), r.attach("b"), readers{t, r.p.Hub().Partitions()[1], r.g}.attach("c", 1)}
	if err := r.p.hub.ns.DeleteHub(t.Context(), "hub"); err != nil {
		t.Fatal(err)
	}
	for _, o := range open {
		<-o.Done()
		wantError(t, o.Err(), NotFound, 404, "The messaging entity 'sb://ns/hub' could not be found.")
		o.Close()
	}
	_, err := r.try("d")
	wantError(t, err, NotFound, 404, "")
}

// Many at once: there is never more than one owner, and never an owner beside
// others.
func TestConcurrentAttach(t *testing.T) {
	r := newReaders(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 200 {
				var rec *Receiver
				var err error
				if (i+j)%3 == 0 {
					rec, err = r.try(fmt.Sprint(i))
				} else {
					rec, err = r.try(fmt.Sprint(i), int64((i*j)%5))
				}
				if err != nil {
					continue
				}
				r.g.mu.Lock()
				tab := r.g.tables[0]
				if tab.owner != nil && len(tab.plain) > 0 || len(tab.plain) > 5 {
					t.Errorf("owner %v beside %d others", tab.owner, len(tab.plain))
				}
				if rec.err == nil && tab.owner != rec && !slices.Contains(tab.plain, rec) {
					t.Error("a receiver that has not ended is not in the table")
				}
				r.g.mu.Unlock()
				rec.Close()
			}
		})
	}
	all.Wait()
	r.attach("last", 0).Close()
}
