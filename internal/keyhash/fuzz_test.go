package keyhash

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// FuzzKafka holds the hash to an independent port of the Java client's.
func FuzzKafka(f *testing.F) {
	for _, s := range []string{"", "a", "ab", "abc", "abcd", "abcdefghi", "\xff\xfe\x00"} {
		f.Add([]byte(s))
	}
	reference := kgo.StickyKeyPartitioner(nil).ForTopic("t")
	f.Fuzz(func(t *testing.T, key []byte) {
		if key == nil {
			key = []byte{}
		}
		for _, n := range []int{1, 3, 8, 1000} {
			if got, want := Kafka(key, n), reference.Partition(&kgo.Record{Key: key}, n); got != want {
				t.Fatalf("Kafka(%x, %d) = %d, want %d", key, n, got, want)
			}
		}
	})
}
