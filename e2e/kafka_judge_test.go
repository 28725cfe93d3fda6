package e2e

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// keyVerdict is what a keyJudge found.
type keyVerdict struct{ records, lost, reordered, duplicates int }

// keyJudge reads a topic as one who sees what is committed, and looks for every record of
// every key.
type keyJudge struct {
	topic  string
	client *kgo.Client
	seen   map[string]map[int]bool
	next   map[string]int
	at     map[int32]int64 // the offsets behind what was read
	v      keyVerdict      // lost is what is missing so far
}

// judgeKeys reads a topic until every record of every key has arrived, or for so long that
// something is lost.
func judgeKeys(t *testing.T, broker, topic string, sent map[string]int) *keyJudge {
	t.Helper()
	j := &keyJudge{topic: topic, seen: map[string]map[int]bool{}, next: map[string]int{}, at: map[int32]int64{}}
	j.client = kafkaClient(t, broker, kgo.ConsumeTopics(topic), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	for _, n := range sent {
		j.v.records += n
	}
	j.v.lost = j.v.records
	for idle := 0; j.v.lost > 0 && idle < 6; idle++ {
		if j.read(t, 20*time.Second) {
			idle = -1
		}
	}
	return j
}

// verdict reads what else there is. Nobody writes any more, and no transaction is open: it
// would hide what is behind it from every reader.
func (j *keyJudge) verdict(t *testing.T) keyVerdict {
	t.Helper()
	admin := kadm.NewClient(j.client)
	end, err := admin.ListEndOffsets(t.Context(), j.topic)
	if err != nil {
		t.Fatal(err)
	}
	stable, err := admin.ListCommittedOffsets(t.Context(), j.topic)
	if err != nil {
		t.Fatal(err)
	}
	stable.Each(func(o kadm.ListedOffset) {
		if e, _ := end.Lookup(o.Topic, o.Partition); e.Offset != o.Offset {
			t.Errorf("%s/%d ends at %d, and a transaction is open at %d", o.Topic, o.Partition, e.Offset, o.Offset)
		}
	})
	behind := func() (left int64) {
		stable.Each(func(o kadm.ListedOffset) { left += max(o.Offset-j.at[o.Partition], 0) })
		return left
	}
	for idle := 0; behind() > 0; idle++ {
		if j.read(t, 20*time.Second) {
			idle = -1
		} else if idle == 3 {
			t.Errorf("%s: %d offsets cannot be read", j.topic, behind())
			break
		}
	}
	j.client.Close()
	return j.v
}

// read reads on, and reports whether there was anything.
func (j *keyJudge) read(t *testing.T, within time.Duration) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	fetches := j.client.PollFetches(ctx)
	fetches.EachRecord(func(r *kgo.Record) {
		j.at[r.Partition] = r.Offset + 1
		if !r.Attrs.IsControl() {
			j.take(t, r)
		}
	})
	return fetches.NumRecords() > 0
}

func (j *keyJudge) take(t *testing.T, r *kgo.Record) {
	t.Helper()
	key := string(r.Key)
	_, number, _ := strings.Cut(string(r.Value), "#")
	n, err := strconv.Atoi(number)
	if err != nil || !strings.HasPrefix(string(r.Value), key+"#") {
		t.Errorf("%s holds %q for %q", j.topic, r.Value, r.Key)
		return
	}
	if j.seen[key] == nil {
		j.seen[key] = map[int]bool{}
	}
	if j.seen[key][n] {
		j.v.duplicates++
		return
	}
	j.seen[key][n] = true
	j.v.lost--
	if n != j.next[key] {
		j.v.reordered++
	}
	j.next[key] = n + 1
}
