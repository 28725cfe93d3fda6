package checkpoint

import (
	"cmp"
	"slices"
	"strings"
)

// view is what one instance knows of a group when it plans a round.
type view struct {
	me string
	// members are all that take part, me included, those without partitions too.
	members []string
	// owner says who holds each partition: a member, or "" if it is free.
	owner map[string]string
	// ending is how many of mine I am giving up already.
	ending int
	// barred are free partitions that I cannot take now.
	barred map[string]bool
	// foreign reports a member that steals and can be stolen from.
	foreign func(member string) bool
}

// plan is what one instance is to do in a round.
type plan struct {
	claim   []string // free partitions that are mine to take
	steal   []string // partitions of foreign members, in order of preference
	shed    int      // how many I have too many
	settled bool     // nothing is to be moved by anybody
}

// shares returns the fair share of each member: as equal as possible, and those that
// hold most keep the odd ones, so that as little as possible moves. All members that
// see the same records compute the same.
func (v *view) shares() (order []string, share, held map[string]int) {
	held = make(map[string]int, len(v.members))
	for _, m := range v.owner {
		held[m]++
	}
	order = slices.Clone(v.members)
	slices.SortFunc(order, func(a, b string) int {
		return cmp.Or(cmp.Compare(held[b], held[a]), strings.Compare(a, b))
	})
	each, odd := len(v.owner)/len(order), len(v.owner)%len(order)
	share = make(map[string]int, len(order))
	for i, m := range order {
		share[m] = each
		if i < odd {
			share[m]++
		}
	}
	return order, share, held
}

// make plans a round.
func (v *view) make() plan {
	order, share, held := v.shares()
	var p plan
	p.shed = max(0, held[v.me]-v.ending-share[v.me])
	free := v.free()
	p.settled = len(free) == 0
	// The members take the free partitions in turn, each a run of its own, so that they
	// do not race for the same ones.
	next := 0
	for _, m := range order {
		p.settled = p.settled && held[m] == share[m]
		need := max(0, share[m]-held[m])
		if m == v.me {
			for _, id := range free[min(next, len(free)):min(next+need, len(free))] {
				if !v.barred[id] {
					p.claim = append(p.claim, id)
				}
			}
		}
		next += need
	}
	if need := share[v.me] - held[v.me] - len(p.claim); need > 0 && len(free) == 0 {
		p.steal = v.surplus(order, share, held, need)
	}
	return p
}

// free returns the partitions that nobody holds, in a fixed order.
func (v *view) free() []string {
	var free []string
	for id, m := range v.owner {
		if m == "" {
			free = append(free, id)
		}
	}
	slices.SortFunc(free, comparePartition)
	return free
}

// surplus returns up to n partitions that foreign members hold beyond their shares, of
// the largest first.
func (v *view) surplus(order []string, share, held map[string]int, n int) []string {
	var ids []string
	for _, m := range order {
		over := held[m] - share[m]
		if over <= 0 || m == v.me || !v.foreign(m) {
			continue
		}
		var theirs []string
		for id, owner := range v.owner {
			if owner == m {
				theirs = append(theirs, id)
			}
		}
		slices.SortFunc(theirs, comparePartition)
		ids = append(ids, theirs[:min(over, n-len(ids))]...)
	}
	return ids
}

// comparePartition orders decimal partition ids by their number.
func comparePartition(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}
