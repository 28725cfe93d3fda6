// Package keyhash maps partition keys to partitions exactly as the services do:
// EventHubs as the Event Hubs gateway and Microsoft's buffered producers, Kafka
// as the default partitioner of the Java client. Both are pure functions and
// safe for concurrent use; they do not allocate.
package keyhash

import "encoding/binary"

// EventHubs returns the partition, 0 to n-1, of key in an event hub with n
// partitions. n must be positive. The empty key belongs to partition 0.
//
// The rule is that of the service as its SDKs carry it: lookup3 over the UTF-8
// bytes, both halves xored, the low 16 bits as a signed number, the absolute
// value of the remainder. (The Python buffered producer differs: it floors the
// remainder. It names the partition itself, so nobody else need care.)
func EventHubs(key string, n int) int {
	p := int(EventHubsHash(key)) % n
	if p < 0 {
		return -p
	}
	return p
}

// EventHubsHash returns the hash that EventHubs reduces to a partition.
func EventHubsHash(key string) int16 {
	a := 0xdeadbeef + uint32(len(key))
	b, c := a, a
	for len(key) > 12 {
		a += word(key[0:4])
		b += word(key[4:8])
		c += word(key[8:12])
		a, b, c = mix(a, b, c)
		key = key[12:]
	}
	if len(key) > 0 {
		var tail [12]byte
		copy(tail[:], key)
		a += binary.LittleEndian.Uint32(tail[0:])
		b += binary.LittleEndian.Uint32(tail[4:])
		c += binary.LittleEndian.Uint32(tail[8:])
		b, c = final(a, b, c)
	}
	return int16(b ^ c)
}

func word(s string) uint32 {
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

func rot(x uint32, k uint) uint32 { return x<<k | x>>(32-k) }

// mix is lookup3's mixing of three words (Bob Jenkins, public domain).
func mix(a, b, c uint32) (uint32, uint32, uint32) {
	a -= c
	a ^= rot(c, 4)
	c += b
	b -= a
	b ^= rot(a, 6)
	a += c
	c -= b
	c ^= rot(b, 8)
	b += a
	a -= c
	a ^= rot(c, 16)
	c += b
	b -= a
	b ^= rot(a, 19)
	a += c
	c -= b
	c ^= rot(b, 4)
	b += a
	return a, b, c
}

// final is lookup3's last step; only two of the three words are used.
func final(a, b, c uint32) (uint32, uint32) {
	c ^= b
	c -= rot(b, 14)
	a ^= c
	a -= rot(c, 11)
	b ^= a
	b -= rot(a, 25)
	c ^= b
	c -= rot(b, 16)
	a ^= c
	a -= rot(c, 4)
	b ^= a
	b -= rot(a, 14)
	c ^= b
	c -= rot(b, 24)
	return b, c
}

// Kafka returns the partition, 0 to n-1, of a record key in a topic with n
// partitions. n must be positive. It is the rule of the Java client's default
// partitioner: the positive part of murmur2 modulo n. A record without a key
// has no partition by hash; an empty key has one.
func Kafka(key []byte, n int) int {
	return int(KafkaHash(key)&0x7fffffff) % n
}

// KafkaHash returns murmur2 of key with the seed of the Java client.
func KafkaHash(key []byte) uint32 {
	const (
		seed uint32 = 0x9747b28c
		m    uint32 = 0x5bd1e995
	)
	h := seed ^ uint32(len(key))
	for len(key) >= 4 {
		k := binary.LittleEndian.Uint32(key) * m
		h = h*m ^ (k^k>>24)*m
		key = key[4:]
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(key[0])) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}
