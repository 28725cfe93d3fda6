package blob

import (
	"strings"

	"github.com/hubferry/hubferry"
)

// The folders of a group.
const (
	folderOwnership  = "ownership"
	folderCheckpoint = "checkpoint"
	folderExtra      = "hubferry"
)

// presence marks the groups in which the balancer keeps track of who takes part. Their
// ownership records are beside those of the group itself, in a folder with the mark, so that
// one listing shows both to us, and the SDKs' listing none of them.
const presence = "~hubferry"

// plain are the characters of names that are written as they are: what names of Event
// Hubs consist of, the port of an emulator, and the tilde.
const plain = "abcdefghijklmnopqrstuvwxyz0123456789-_.$~:"

const hexDigits = "0123456789abcdef"

// escape makes one segment of a blob's name. Event Hubs names come out as the SDKs that
// fold case write them.
func escape(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		// Storage drops a dot at the end of a segment, and a path of dots is a way up.
		if strings.IndexByte(plain, c) < 0 || c == '.' && i == len(name)-1 {
			b.Write([]byte{'%', hexDigits[c>>4], hexDigits[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unescape returns the name that a segment stands for. Upper-case letters that are not
// encoded are another SDK's way to write lower-case ones.
func unescape(segment string) string {
	var b strings.Builder
	segment = strings.ToLower(segment)
	for i := 0; i < len(segment); i++ {
		if c := segment[i]; c == '%' && i+2 < len(segment) {
			hi, lo := strings.IndexByte(hexDigits, segment[i+1]), strings.IndexByte(hexDigits, segment[i+2])
			if hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				i += 2
				continue
			}
		}
		b.WriteByte(segment[i])
	}
	return b.String()
}

// groupPrefix is how the names of a group's blobs begin, as we write them.
func groupPrefix(group hubferry.ID) string {
	return escape(group.Namespace) + "/" + escape(group.Hub) + "/" + escape(group.ConsumerGroup) + "/"
}

// folderPrefix is how the names of the blobs in a group's folder begin.
func folderPrefix(group hubferry.ID, folder string) string {
	if name, ok := strings.CutSuffix(group.ConsumerGroup, presence); ok && folder == folderOwnership {
		group.ConsumerGroup, folder = name, folder+presence
	}
	return groupPrefix(group) + folder + "/"
}

// blobName names the blob of a partition.
func blobName(id hubferry.ID, folder string) string {
	return folderPrefix(id, folder) + escape(id.Partition)
}

// partitionOf returns the partition of a blob below a prefix that ends with a slash.
func partitionOf(name, prefix string) (string, bool) {
	segment, ok := strings.CutPrefix(name, prefix)
	if !ok || segment == "" || strings.Contains(segment, "/") {
		return "", false
	}
	return unescape(segment), true
}

// groupOf returns the group of a blob, if it is one of ours or an SDK's.
func groupOf(name string) (hubferry.ID, bool) {
	s := strings.Split(name, "/")
	if len(s) != 5 || s[0] == "" || s[1] == "" || s[2] == "" || s[4] == "" {
		return hubferry.ID{}, false
	}
	id := hubferry.ID{Namespace: unescape(s[0]), Hub: unescape(s[1]), ConsumerGroup: unescape(s[2])}
	switch s[3] {
	case folderOwnership, folderCheckpoint:
		return id, true
	case folderOwnership + presence:
		id.ConsumerGroup += presence
		return id, true
	}
	return hubferry.ID{}, false
}

// textMark begins a metadata value that is not written as it is.
const textMark = "utf-8''"

// headerText makes a text fit for a header: as it is if it consists of visible ASCII,
// otherwise in the manner of RFC 8187.
func headerText(s string) string {
	visible := !strings.HasPrefix(s, textMark)
	for i := 0; visible && i < len(s); i++ {
		visible = s[i] > ' ' && s[i] < 0x7f
	}
	if visible {
		return s
	}
	return textMark + escape(s)
}

// fromHeaderText undoes headerText.
func fromHeaderText(s string) string {
	if rest, ok := strings.CutPrefix(s, textMark); ok {
		return unescape(rest)
	}
	return s
}
