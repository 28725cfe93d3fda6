package checkpointtest_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint/checkpointtest"
	"github.com/hubferry/hubferry/checkpoint/mem"
)

// mutant is a store that breaks a rule, and the cases that must notice.
type mutant struct {
	name   string
	caught []string
	make   func(s *mem.Store) hubferry.CheckpointStore
}

func mutants() []mutant {
	return slices.Concat(ownershipMutants(), checkpointMutants(), nameMutants(), lifeMutants())
}

type (
	records = []hubferry.Ownership
	store   = hubferry.CheckpointStore
)

// current returns the stored version of a record.
func current(ctx context.Context, s *mem.Store, id hubferry.ID) hubferry.Ownership {
	all, _ := s.ListOwnership(ctx, id.Group())
	for _, o := range all {
		if o.ID == id {
			return o
		}
	}
	return hubferry.Ownership{}
}

// forced is a claim that changes the ETags before it asks.
func forced(s *mem.Store, change func(o, stored hubferry.Ownership) string) store {
	return &broken{Store: s, claim: func(ctx context.Context, want records) (records, error) {
		want = slices.Clone(want)
		for i := range want {
			want[i].ETag = change(want[i], current(ctx, s, want[i].ID))
		}
		return s.ClaimOwnership(ctx, want)
	}}
}

func ownershipMutants() []mutant {
	return []mutant{
		{name: "create overwrites", caught: []string{"Create", "RaceToCreate", "PartlyLost", "Relinquish"}, make: func(s *mem.Store) store {
			return forced(s, func(o, stored hubferry.Ownership) string {
				if o.ETag == "" {
					return stored.ETag
				}
				return o.ETag
			})
		}},
		{name: "ETags are ignored", caught: []string{"Renew", "Steal", "RaceToSteal", "LostResponse"}, make: func(s *mem.Store) store {
			return forced(s, func(_, stored hubferry.Ownership) string { return stored.ETag })
		}},
		{name: "an ETag creates what is missing", caught: []string{"NoCreateWithETag"}, make: func(s *mem.Store) store {
			return forced(s, func(o, stored hubferry.Ownership) string {
				if stored.ETag == "" {
					return ""
				}
				return o.ETag
			})
		}},
		{name: "a lost race is an error", caught: []string{"Create", "Renew"}, make: func(s *mem.Store) store {
			return &broken{Store: s, claim: func(ctx context.Context, want records) (records, error) {
				got, err := s.ClaimOwnership(ctx, want)
				if err == nil && len(got) < len(want) {
					err = errors.New("conflict")
				}
				return got, err
			}}
		}},
		{name: "all that was asked for is returned", caught: []string{"PartlyLost", "Create"}, make: func(s *mem.Store) store {
			return &broken{Store: s, claim: func(ctx context.Context, want records) (records, error) {
				_, err := s.ClaimOwnership(ctx, want)
				return want, err
			}}
		}},
		{name: "all or nothing", caught: []string{"PartlyLost"}, make: func(s *mem.Store) store {
			return &broken{Store: s, claim: func(ctx context.Context, want records) (records, error) {
				for _, o := range want {
					if current(ctx, s, o.ID).ETag != o.ETag {
						return nil, ctx.Err()
					}
				}
				return s.ClaimOwnership(ctx, want)
			}}
		}},
		{name: "check, then write", caught: []string{"RaceToCreate", "RaceToSteal"}, make: func(s *mem.Store) store {
			return &broken{Store: s, claim: func(ctx context.Context, want records) (records, error) {
				var fits records
				for _, o := range want {
					if current(ctx, s, o.ID).ETag == o.ETag {
						fits = append(fits, o)
					}
				}
				time.Sleep(2 * time.Millisecond)
				for i := range fits {
					fits[i].ETag = current(ctx, s, fits[i].ID).ETag
				}
				return s.ClaimOwnership(ctx, fits)
			}}
		}},
		{name: "an ETag stands for the content", caught: []string{"ETagsNeverRepeat", "Renew"}, make: func(s *mem.Store) store {
			hash := func(o hubferry.Ownership) hubferry.Ownership {
				if o.ETag != "" {
					o.ETag = "of " + o.Owner
				}
				return o
			}
			return &broken{Store: s, claim: func(ctx context.Context, want records) (records, error) {
				var got records
				for _, o := range want {
					now := current(ctx, s, o.ID)
					if hash(now).ETag == o.ETag {
						o.ETag = now.ETag
						written, err := s.ClaimOwnership(ctx, records{o})
						if err != nil {
							return got, err
						}
						got = append(got, hash(written[0]))
					}
				}
				return got, nil
			}}
		}},
		{name: "a relinquished record is not listed", caught: []string{"Relinquish"}, make: func(s *mem.Store) store {
			return &broken{Store: s, owned: func(ctx context.Context, group hubferry.ID) (records, error) {
				all, err := s.ListOwnership(ctx, group)
				return slices.DeleteFunc(all, func(o hubferry.Ownership) bool { return o.Owner == "" }), err
			}}
		}},
		{name: "times are not listed", caught: []string{"Listed"}, make: func(s *mem.Store) store {
			return &broken{Store: s, owned: func(ctx context.Context, group hubferry.ID) (records, error) {
				all, err := s.ListOwnership(ctx, group)
				for i := range all {
					all[i].Modified = time.Time{}
				}
				return all, err
			}}
		}},
		{name: "each handle has its own clock", caught: []string{"OneClock"}, make: func() func(*mem.Store) store {
			ahead := time.Hour
			return func(s *mem.Store) store {
				ahead -= time.Minute
				mine := ahead
				return &broken{Store: s, claim: func(ctx context.Context, want records) (records, error) {
					got, err := s.ClaimOwnership(ctx, want)
					for i := range got {
						got[i].Modified = got[i].Modified.Add(mine)
					}
					return got, err
				}}
			}
		}()},
		{name: "an error hides as a lost race", caught: []string{"LostResponse", "Canceled"}, make: func(s *mem.Store) store {
			return &broken{Store: s, claim: func(ctx context.Context, want records) (records, error) {
				got, _ := s.ClaimOwnership(ctx, want)
				return got, nil
			}}
		}},
		{name: "an error counts as success", caught: []string{"LostResponse", "Closed"}, make: func(s *mem.Store) store {
			return &broken{Store: s, claim: func(ctx context.Context, want records) (records, error) {
				got, err := s.ClaimOwnership(ctx, want)
				if err != nil {
					return want, nil //nolint:nilerr // this is the mistake
				}
				return got, nil
			}}
		}},
		{name: "one page of records", caught: []string{"ManyRecords"}, make: func(s *mem.Store) store {
			return &broken{Store: s, owned: func(ctx context.Context, group hubferry.ID) (records, error) {
				all, err := s.ListOwnership(ctx, group)
				return all[:min(1000, len(all))], err
			}}
		}},
	}
}

// saving is a store that changes what is saved.
func saving(change func(c *hubferry.Checkpoint)) func(s *mem.Store) store {
	return func(s *mem.Store) store {
		return &broken{Store: s, save: func(ctx context.Context, id hubferry.ID, c hubferry.Checkpoint) error {
			change(&c)
			return s.SaveCheckpoint(ctx, id, c)
		}}
	}
}

func checkpointMutants() []mutant {
	var ms []mutant
	for name, change := range map[string]func(c *hubferry.Checkpoint){
		"sequence numbers are doubles": func(c *hubferry.Checkpoint) {
			if f := float64(c.Position.Sequence); f > -1e18 && f < 1e18 {
				c.Position.Sequence = int64(f)
			}
		},
		"no negative sequence numbers": func(c *hubferry.Checkpoint) { c.Position.Sequence = max(0, c.Position.Sequence) },
		"offsets are numbers": func(c *hubferry.Checkpoint) {
			if _, err := strconv.ParseInt(c.Position.Offset, 10, 64); err != nil {
				c.Position.Offset = ""
			}
		},
		"no leader epoch": func(c *hubferry.Checkpoint) { c.Position.Epoch = 0 },
		"no beginning":    func(c *hubferry.Checkpoint) { c.Beginning = 0 },
		"no incarnation":  func(c *hubferry.Checkpoint) { c.Incarnation = "" },
		"no time":         func(c *hubferry.Checkpoint) { c.Time = time.Time{} },
		"never clean":     func(c *hubferry.Checkpoint) { c.Clean = false },
		"no marks":        func(c *hubferry.Checkpoint) { c.Marks = nil },
		"marks without offsets": func(c *hubferry.Checkpoint) {
			c.Marks = maps.Clone(c.Marks)
			for name, p := range c.Marks {
				c.Marks[name] = hubferry.Position{Sequence: p.Sequence}
			}
		},
		"no states": func(c *hubferry.Checkpoint) { c.States = nil },
		"states are text": func(c *hubferry.Checkpoint) {
			c.States = maps.Clone(c.States)
			for name, b := range c.States {
				c.States[name] = []byte(strings.ToValidUTF8(string(b), "?"))
			}
		},
	} {
		ms = append(ms, mutant{name: name, caught: []string{"RoundTrip"}, make: saving(change)})
	}
	return append(ms,
		mutant{name: "never backwards", caught: []string{"Replace"}, make: func(s *mem.Store) store {
			return &broken{Store: s, save: func(ctx context.Context, id hubferry.ID, c hubferry.Checkpoint) error {
				all, err := s.ListCheckpoints(ctx, id)
				if old, ok := all[id]; err != nil || ok && old.Position.Sequence > c.Position.Sequence {
					return err
				}
				return s.SaveCheckpoint(ctx, id, c)
			}}
		}},
		mutant{name: "merges", caught: []string{"Replace"}, make: func(s *mem.Store) store {
			return &broken{Store: s, save: func(ctx context.Context, id hubferry.ID, c hubferry.Checkpoint) error {
				all, err := s.ListCheckpoints(ctx, id)
				if err != nil {
					return err
				}
				if len(c.Marks) == 0 {
					c.Marks = all[id].Marks
				}
				return s.SaveCheckpoint(ctx, id, c)
			}}
		}},
		mutant{name: "shares maps", caught: []string{"NoSharing"}, make: func(s *mem.Store) store {
			kept := map[hubferry.ID]hubferry.Checkpoint{}
			return &broken{
				Store: s,
				save: func(_ context.Context, id hubferry.ID, c hubferry.Checkpoint) error {
					kept[id] = c
					return nil
				},
				list: func(context.Context, hubferry.ID) (map[hubferry.ID]hubferry.Checkpoint, error) { return kept, nil },
			}
		}},
		mutant{name: "a bad record fails the group", caught: []string{"BadRecord"}, make: func(s *mem.Store) store {
			return &broken{Store: s, list: func(ctx context.Context, group hubferry.ID) (map[hubferry.ID]hubferry.Checkpoint, error) {
				all, err := s.ListCheckpoints(ctx, group)
				for _, c := range all {
					if c.Err != nil {
						return nil, c.Err
					}
				}
				return all, err
			}}
		}},
		mutant{name: "a bad record is left out", caught: []string{"BadRecord"}, make: func(s *mem.Store) store {
			return &broken{Store: s, list: func(ctx context.Context, group hubferry.ID) (map[hubferry.ID]hubferry.Checkpoint, error) {
				all, err := s.ListCheckpoints(ctx, group)
				maps.DeleteFunc(all, func(_ hubferry.ID, c hubferry.Checkpoint) bool { return c.Err != nil })
				return all, err
			}}
		}},
		mutant{name: "a bad record passes for a good one", caught: []string{"BadRecord"}, make: func(s *mem.Store) store {
			return &broken{Store: s, list: func(ctx context.Context, group hubferry.ID) (map[hubferry.ID]hubferry.Checkpoint, error) {
				all, err := s.ListCheckpoints(ctx, group)
				for id, c := range all {
					c.Err = nil
					all[id] = c
				}
				return all, err
			}}
		}},
		mutant{name: "saves for anybody", caught: []string{"Fenced", "Forwards", "StaleOwner"}, make: func(s *mem.Store) store {
			return &broken{Store: s, fence: func(ctx context.Context, o hubferry.Ownership, c hubferry.Checkpoint) error {
				return s.SaveCheckpoint(ctx, o.ID, c)
			}}
		}},
		mutant{name: "the sequence number alone decides", caught: []string{"Forwards"}, make: func(s *mem.Store) store {
			return &broken{Store: s, fence: func(ctx context.Context, o hubferry.Ownership, c hubferry.Checkpoint) error {
				bare := c
				bare.Beginning = 0
				return s.SaveOwned(ctx, o, bare)
			}}
		}},
		mutant{name: "one document for the group", caught: []string{"Concurrent"}, make: documents()},
	)
}

// documents makes stores that keep the checkpoints of a group in one document, which
// they read, change and write without a lock.
func documents() func(s *mem.Store) store {
	var mu sync.Mutex
	all := map[hubferry.ID]hubferry.Checkpoint{}
	read := func() map[hubferry.ID]hubferry.Checkpoint {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(all)
	}
	return func(s *mem.Store) store {
		return &broken{
			Store: s,
			save: func(_ context.Context, id hubferry.ID, c hubferry.Checkpoint) error {
				mine := read()
				mine[id] = c
				time.Sleep(time.Millisecond)
				mu.Lock()
				defer mu.Unlock()
				all = mine
				return nil
			},
			list: func(context.Context, hubferry.ID) (map[hubferry.ID]hubferry.Checkpoint, error) { return read(), nil },
		}
	}
}

// renamed is a store that changes the names of what it stores and lists.
func renamed(in, out func(id hubferry.ID) hubferry.ID) func(s *mem.Store) store {
	return func(s *mem.Store) store {
		return &broken{
			Store: s,
			save: func(ctx context.Context, id hubferry.ID, c hubferry.Checkpoint) error {
				return s.SaveCheckpoint(ctx, in(id), c)
			},
			list: func(ctx context.Context, group hubferry.ID) (map[hubferry.ID]hubferry.Checkpoint, error) {
				all, err := s.ListCheckpoints(ctx, in(group))
				found := map[hubferry.ID]hubferry.Checkpoint{}
				for id, c := range all {
					found[out(id)] = c
				}
				return found, err
			},
			claim: func(ctx context.Context, want records) (records, error) {
				want = slices.Clone(want)
				for i := range want {
					want[i].ID = in(want[i].ID)
				}
				got, err := s.ClaimOwnership(ctx, want)
				for i := range got {
					got[i].ID = out(got[i].ID)
				}
				return got, err
			},
			owned: func(ctx context.Context, group hubferry.ID) (records, error) {
				all, err := s.ListOwnership(ctx, in(group))
				for i := range all {
					all[i].ID = out(all[i].ID)
				}
				return all, err
			},
		}
	}
}

func same(id hubferry.ID) hubferry.ID { return id }

func nameMutants() []mutant {
	return []mutant{
		{name: "names are folded", caught: []string{"GroupOnly"}, make: renamed(func(id hubferry.ID) hubferry.ID {
			id.Hub = strings.ToLower(id.Hub)
			return id
		}, same)},
		{name: "names run together", caught: []string{"GroupOnly"}, make: renamed(func(id hubferry.ID) hubferry.ID {
			return hubferry.ID{Namespace: id.Namespace + "/" + id.Hub + "/" + id.ConsumerGroup, Hub: "-", ConsumerGroup: "-", Partition: id.Partition}
		}, func(id hubferry.ID) hubferry.ID {
			parts := append(strings.SplitN(id.Namespace, "/", 3), "", "")
			return hubferry.ID{Namespace: parts[0], Hub: parts[1], ConsumerGroup: parts[2], Partition: id.Partition}
		})},
		{name: "a slash ends a partition", caught: []string{"OddNames"}, make: renamed(func(id hubferry.ID) hubferry.ID {
			id.Partition = id.Partition[strings.LastIndex(id.Partition, "/")+1:]
			return id
		}, same)},
		{name: "all groups are listed", caught: []string{"GroupOnly"}, make: func(s *mem.Store) store {
			return &broken{Store: s, owned: func(ctx context.Context, _ hubferry.ID) (records, error) {
				groups, err := s.Groups(ctx)
				var all records
				for _, g := range groups {
					some, err := s.ListOwnership(ctx, g)
					if err != nil {
						return nil, err
					}
					all = append(all, some...)
				}
				return all, err
			}}
		}},
		{name: "a missing partition is partition -", caught: []string{"IncompleteName"}, make: renamed(func(id hubferry.ID) hubferry.ID {
			if id.Partition == "" {
				id.Partition = "-"
			}
			return id
		}, same)},
		{name: "groups without checkpoints are not listed", caught: []string{"Groups"}, make: func(s *mem.Store) store {
			return &broken{Store: s, group: func(ctx context.Context) ([]hubferry.ID, error) {
				groups, err := s.Groups(ctx)
				return slices.DeleteFunc(groups, func(g hubferry.ID) bool {
					found, _ := s.ListCheckpoints(ctx, g)
					return len(found) == 0
				}), err
			}}
		}},
	}
}

func lifeMutants() []mutant {
	return []mutant{
		{name: "each handle has its own data", caught: []string{"SecondHandle", "RoundTrip"}, make: func(*mem.Store) store { return mem.New() }},
		{name: "a handle reads once", caught: []string{"SecondHandle"}, make: func() func(*mem.Store) store {
			handles := 0
			return func(s *mem.Store) store {
				handles++
				if handles == 1 {
					return s
				}
				kept, err := s.ListOwnership(context.Background(), checkpointtest.Group)
				return &broken{Store: s, owned: func(context.Context, hubferry.ID) (records, error) { return kept, err }}
			}
		}()},
		{name: "contexts are ignored", caught: []string{"Canceled"}, make: func(s *mem.Store) store {
			return &broken{Store: s, save: func(ctx context.Context, id hubferry.ID, c hubferry.Checkpoint) error {
				return s.SaveCheckpoint(context.WithoutCancel(ctx), id, c)
			}}
		}},
		{name: "a second Close is an error", caught: []string{"Closed"}, make: func(s *mem.Store) store {
			closed := false
			return &broken{Store: s, close: func(ctx context.Context) error {
				if closed {
					return hubferry.ErrClosed
				}
				closed = true
				return s.Close(ctx)
			}}
		}},
		{name: "Close does nothing", caught: []string{"Closed"}, make: func(s *mem.Store) store {
			return &broken{Store: s, close: func(context.Context) error { return nil }}
		}},
	}
}
