package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
)

// An instance that has opened the target before it grew takes a partition over from one
// that has opened it since: it maps as that one did (G-4), and its other partition as
// before.
func TestTargetGrewSinceItWasOpened(t *testing.T) {
	for _, hub := range []string{"out", "{hub}-out"} {
		t.Run(hub, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, 2, 3)
				name := strings.ReplaceAll(hub, "{hub}", "in")
				if name != "out" {
					r.target = r.broker.Create("east", name, mem.HubOptions{Partitions: 3})
				}
				r.task.Routes[0].Hub = hub
				r.produce(200, 20)
				x := r.start()
				x.settled(200)
				close(x.deal.ending["1"])
				time.Sleep(time.Second)

				r.target.Grow(5)
				r.store.mu.Lock()
				r.store.saved["1"].States["engine.map.out"] = []byte(`{"v":1,"source":2,"target":5}`)
				r.store.mu.Unlock()
				place := r.source.Place(1)
				x.deal.claims <- &hubferry.Claim{
					Place: place, Checkpoint: r.store.get(place), Lost: x.deal.gone["1"], Ending: make(chan struct{}),
					Holder: &holder{dealer: x.deal, place: place},
				}
				const late = 200
				for i := range late {
					r.source.Send(event(fmt.Sprintf("late-%d", i), i))
				}
				x.settled(200 + late)
				x.finish()

				w, err := r.task.Routes[0].Target.Open(t.Context(), name, hubferry.Trail{})
				if err != nil {
					t.Fatal(err)
				}
				layout, err := w.Layout(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				mapped := map[string]int{r.source.Place(0).Path(): 3, r.source.Place(1).Path(): 5}
				came := map[string]int{}
				for q := range r.target.Partitions() {
					for _, e := range r.target.Dump(q) {
						if !strings.HasPrefix(string(e.Key.Bytes), "late-") {
							continue
						}
						from := hubferry.Hops(&e)[0].Source
						came[from]++
						if want := layout.Partition(e.Key, mapped[from]); want != q {
							t.Errorf("%s of %s is in partition %d, want %d", e.Key.Bytes, from, q, want)
						}
					}
				}
				if zero, one := came[r.source.Place(0).Path()], came[r.source.Place(1).Path()]; zero == 0 || one == 0 || zero+one != late {
					t.Errorf("came: %v", came)
				}
			})
		})
	}
}
