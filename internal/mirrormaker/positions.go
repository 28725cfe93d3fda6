package mirrormaker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Partition is a partition of a topic of the source cluster.
type Partition struct {
	Topic string
	Index int
}

// Positions are how far a MirrorSourceConnector has come: by partition, the offset of the
// last source record whose copy the target has confirmed, with all before it
// (MirrorSourceTask and Connect's SubmittedRecords). The next to be copied is one higher.
// What was sent beyond them may be on the target too, and would be sent again by
// MirrorMaker as well.
type Positions map[Partition]int64

// Sorted returns the partitions in order.
func (p Positions) Sorted() []Partition {
	return slices.SortedFunc(maps.Keys(p), func(a, b Partition) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return a.Index - b.Index
	})
}

// Add takes a record of a Connect worker's offsets topic. Records must come in the order
// of their partition there: the last of a key counts, and a null value takes it away.
// Those of other connectors and clusters are left out.
//
//	key    ["MirrorSourceConnector",{"cluster":"A","partition":0,"topic":"orders"}]
//	value  {"offset":41}
func (p Positions) Add(connector, cluster string, key, value []byte) error {
	var pair [2]json.RawMessage
	var name string
	if json.Unmarshal(key, &pair) == nil {
		_ = json.Unmarshal(pair[0], &name) // what has no name is of another connector
	}
	if name != connector {
		return nil
	}
	var source struct {
		Cluster   *string `json:"cluster"`
		Topic     *string `json:"topic"`
		Partition *int    `json:"partition"`
	}
	if err := json.Unmarshal(pair[1], &source); err != nil || source.Cluster == nil || source.Topic == nil || source.Partition == nil {
		return fmt.Errorf("the key %s names no partition of a source cluster", show(key))
	}
	if *source.Cluster != cluster {
		return nil
	}
	at := Partition{*source.Topic, *source.Partition}
	if len(value) == 0 || bytes.Equal(bytes.TrimSpace(value), []byte("null")) {
		delete(p, at)
		return nil
	}
	var stored struct {
		Offset *int64 `json:"offset"`
	}
	if err := json.Unmarshal(value, &stored); err != nil || stored.Offset == nil || *stored.Offset < 0 {
		return fmt.Errorf("the value %s of the key %s is no offset", show(value), show(key))
	}
	p[at] = *stored.Offset
	return nil
}

// show quotes the beginning of what somebody else wrote.
func show(b []byte) string {
	const most = 200
	return fmt.Sprintf("%.*q", most, b)
}
