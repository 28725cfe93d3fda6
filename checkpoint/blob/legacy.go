package blob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/hubferry/hubferry"
)

// Legacy returns the checkpoints that an older event processor keeps of a group in this
// container, by partition: JSON in blobs that are leased, of which nothing else here takes
// notice. Prefix is how the processor's blobs are named before the consumer group; "" means
// the names of the Functions extension 3 and 4. Blobs that never had a checkpoint are left
// out, and one that cannot be read has its Err set.
//
// The layouts are those of the Functions extension 3 and 4 and of .NET's EventProcessorHost
// (Offset, SequenceNumber), Java's (the same in camel case), Python's before version 5
// (sequence_number), and of azure-event-hubs-go 3 and Dapr (both below "checkpoint").
func (s *Store) Legacy(ctx context.Context, group hubferry.ID, prefix string) (map[string]hubferry.Checkpoint, error) {
	const op = "list checkpoints of an older processor"
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	above := prefix
	if prefix == "" {
		above = legacyName(group.Namespace) + "/" + legacyName(group.Hub) + "/"
	}
	// They write the consumer group as it is configured, and the service ignores its case.
	folders, err := s.folders(ctx, s.container, above)
	if err != nil {
		return nil, s.explain(op, err, false)
	}
	folders = slices.DeleteFunc(folders, func(folder string) bool {
		return !strings.EqualFold(strings.TrimPrefix(folder, above), group.ConsumerGroup+"/")
	})
	if prefix != "" {
		folders = append(folders, prefix)
	}
	for _, folder := range folders {
		names, err := s.legacyBlobs(ctx, folder)
		if err != nil {
			return nil, s.explain(op, err, false)
		}
		found := map[string]hubferry.Checkpoint{}
		for _, name := range names {
			c, err := s.legacyBlob(ctx, name)
			if err != nil {
				return nil, s.explain(op, err, false)
			}
			if c != nil {
				found[strings.TrimPrefix(name, folder)] = *c
			}
		}
		if len(found) > 0 {
			return found, nil
		}
	}
	return nil, nil
}

// legacyBlobs returns the names right below a folder.
func (s *Store) legacyBlobs(ctx context.Context, folder string) ([]string, error) {
	var names []string
	err := s.pages(ctx, s.container, &container.ListBlobsFlatOptions{Prefix: &folder}, allPages, func(b *container.BlobItem) {
		if _, ok := partitionOf(*b.Name, folder); ok {
			names = append(names, *b.Name)
		}
	})
	return names, err
}

// legacyBlob reads one blob; nil means that it is no checkpoint.
func (s *Store) legacyBlob(ctx context.Context, name string) (*hubferry.Checkpoint, error) {
	resp, err := s.container.NewBlobClient(name).DownloadStream(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return nil, err
	}
	p, err := parseLegacy(text)
	switch {
	case errors.Is(err, errNoCheckpoint):
		return nil, nil //nolint:nilnil // most containers hold other things, too
	case err != nil:
		return &hubferry.Checkpoint{Err: fmt.Errorf("blob %s: %w", name, err)}, nil
	}
	c := &hubferry.Checkpoint{Position: p}
	if resp.LastModified != nil {
		c.Time = resp.LastModified.UTC()
	}
	return c, nil
}

// parseLegacy reads a position, or returns errNoCheckpoint. A lease without an offset never
// had one: its sequence number is 0 and means nothing.
func parseLegacy(text []byte) (hubferry.Position, error) {
	var lease map[string]json.RawMessage
	if err := json.Unmarshal(text, &lease); err != nil {
		return hubferry.Position{}, errNoCheckpoint
	}
	if nested, ok := foldedValue(lease, "checkpoint"); ok {
		lease = nil
		if err := json.Unmarshal(nested, &lease); err != nil {
			return hubferry.Position{}, errNoCheckpoint
		}
	}
	offset, _ := foldedValue(lease, "offset")
	at := strings.Trim(string(offset), `"`)
	if at == "" || at == "null" || at == "-1" {
		return hubferry.Position{}, errNoCheckpoint
	}
	sequence, ok := foldedValue(lease, "sequencenumber")
	if !ok {
		return hubferry.Position{}, fmt.Errorf("it has the offset %q and no sequence number", at)
	}
	n, err := strconv.ParseInt(strings.Trim(string(sequence), `"`), 10, 64)
	if err != nil {
		return hubferry.Position{}, fmt.Errorf("its sequence number %s is no number", sequence)
	}
	return hubferry.Position{Sequence: n, Offset: at}, nil
}

// foldedValue finds a value by its key, whatever the case and underscores of that are.
func foldedValue(object map[string]json.RawMessage, key string) (json.RawMessage, bool) {
	for k, v := range object {
		if strings.EqualFold(strings.ReplaceAll(k, "_", ""), key) {
			return v, true
		}
	}
	return nil, false
}

// legacyName writes a name as the Functions extension 3 and 4 did: lower-case letters,
// digits and "-_." as they are, other characters of UTF-16 as ":" with two or "::" with
// four hexadecimal digits.
func legacyName(name string) string {
	var b strings.Builder
	for _, c := range utf16.Encode([]rune(name)) {
		switch {
		case c >= 'A' && c <= 'Z':
			b.WriteByte(byte(c) + 'a' - 'A')
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.':
			b.WriteByte(byte(c))
		case c <= 0xff:
			fmt.Fprintf(&b, ":%02X", c)
		default:
			fmt.Fprintf(&b, "::%04X", c)
		}
	}
	return b.String()
}
