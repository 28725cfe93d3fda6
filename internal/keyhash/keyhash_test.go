package keyhash

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strconv"
	"testing"
)

func TestEventHubsVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/partition-key-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Vectors []struct {
			Key       string
			UTF8Hex   string `json:"utf8Hex"`
			Hash      int16
			Partition map[string]int
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) < 50 {
		t.Fatalf("only %d vectors", len(file.Vectors))
	}
	for _, v := range file.Vectors {
		if got := hex.EncodeToString([]byte(v.Key)); v.UTF8Hex != "" && got != v.UTF8Hex {
			t.Fatalf("key %q is %s in the file, want %s", v.Key, got, v.UTF8Hex)
		}
		if got := EventHubsHash(v.Key); got != v.Hash {
			t.Errorf("EventHubsHash(%.40q) = %d, want %d", v.Key, got, v.Hash)
		}
		for count, want := range v.Partition {
			n, err := strconv.Atoi(count)
			if err != nil {
				t.Fatal(err)
			}
			if got := EventHubs(v.Key, n); got != want {
				t.Errorf("EventHubs(%.40q, %d) = %d, want %d", v.Key, n, got, want)
			}
		}
	}
}

// The hashes are those of the Java client's own test, UtilsTest.testMurmur2.
func TestKafkaVectors(t *testing.T) {
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(KafkaHash([]byte(key))); got != want {
			t.Errorf("KafkaHash(%q) = %d, want %d", key, got, want)
		}
		if got, w := Kafka([]byte(key), 7), int(want&0x7fffffff)%7; got != w {
			t.Errorf("Kafka(%q, 7) = %d, want %d", key, got, w)
		}
	}
}

func TestRange(t *testing.T) {
	for n := 1; n < 40; n++ {
		for i := range 200 {
			key := strconv.Itoa(i * 7919)
			if p := EventHubs(key, n); p < 0 || p >= n {
				t.Fatalf("EventHubs(%q, %d) = %d", key, n, p)
			}
			if p := Kafka([]byte(key), n); p < 0 || p >= n {
				t.Fatalf("Kafka(%q, %d) = %d", key, n, p)
			}
		}
	}
}
