package entity

import (
	"net/url"
	"strings"
)

// Kind says what an address names.
type Kind uint8

// The kinds of addresses.
const (
	// KindNone is an address of no known form.
	KindNone Kind = iota
	// KindCBS is $cbs.
	KindCBS
	// KindManagement is $management or hub/$management.
	KindManagement
	// KindHub is a hub: the service chooses the partition.
	KindHub
	// KindPartition is hub/Partitions/N.
	KindPartition
	// KindPublisher is hub/Publishers/P.
	KindPublisher
	// KindGroup is hub/ConsumerGroups/G.
	KindGroup
	// KindGroupPartition is hub/ConsumerGroups/G/Partitions/N.
	KindGroupPartition
)

// Address is a parsed link address or token audience. The names are as the
// client wrote them, percent-decoded.
type Address struct {
	Kind      Kind
	Hub       string
	Group     string
	Partition string
	Publisher string

	path string
}

// Path is the address in lower case without scheme, authority and outer
// slashes: what rights are compared with. Empty is the namespace itself.
func (a Address) Path() string { return a.path }

// ParseAddress reads a link's address or a token's audience: a path, with a
// leading slash or not, or a whole URL whose scheme, host and port are
// ignored. Hub names may contain slashes, so the key words are looked for
// from the right. It never fails: what it cannot place is of KindNone, and
// an empty path is of KindNone too.
func ParseAddress(s string) Address {
	a := Address{}
	parts := split(s)
	a.path = strings.ToLower(strings.Join(parts, "/"))
	n := len(parts)
	word := func(fromEnd int, w string) bool {
		return n >= fromEnd && strings.EqualFold(parts[n-fromEnd], w)
	}
	hub := func(fromEnd int) string { return strings.Join(parts[:n-fromEnd], "/") }
	switch {
	case n == 0:
	case n == 1 && word(1, "$cbs"):
		a.Kind = KindCBS
	case word(1, "$management"):
		a.Kind, a.Hub = KindManagement, hub(1)
	case n > 4 && word(4, "ConsumerGroups") && word(2, "Partitions"):
		a.Kind, a.Hub, a.Group, a.Partition = KindGroupPartition, hub(4), parts[n-3], parts[n-1]
	case n > 2 && word(2, "ConsumerGroups"):
		a.Kind, a.Hub, a.Group = KindGroup, hub(2), parts[n-1]
	case n > 2 && word(2, "Partitions"):
		a.Kind, a.Hub, a.Partition = KindPartition, hub(2), parts[n-1]
	case n > 2 && word(2, "Publishers"):
		a.Kind, a.Hub, a.Publisher = KindPublisher, hub(2), parts[n-1]
	default:
		a.Kind, a.Hub = KindHub, hub(0)
	}
	return a
}

// split cuts an address into percent-decoded segments, without scheme,
// authority, query and empty segments.
func split(s string) []string {
	if i := strings.Index(s, "://"); i >= 0 {
		s = s[i+3:]
		if i = strings.IndexByte(s, '/'); i < 0 {
			return nil
		}
		s = s[i:]
	}
	var parts []string
	for p := range strings.SplitSeq(s, "/") {
		if p == "" {
			continue
		}
		if d, err := url.PathUnescape(p); err == nil {
			p = d
		}
		parts = append(parts, p)
	}
	return parts
}
