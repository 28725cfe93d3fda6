package blob

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hubferry/hubferry/hub/internal/seglog"
)

// journal is the log of an account's changes: the newest record of each name
// is what is there, so the log is compacted. The name of a container or
// container/blob is the key, and a removal is a record without content.
type journal struct {
	lock *seglog.DirLock
	log  *seglog.Log
}

// Sizes of the journal's files.
const (
	journalSegment = 8 << 20
	// slack is how much may be superseded before the journal is compacted.
	slack = 1 << 20
)

// stored is what a record says beside the body, which follows it.
type stored struct {
	Version  int       `json:"version"`
	Tag      uint64    `json:"tag"`
	Modified time.Time `json:"modified"`
	Created  time.Time `json:"created,omitzero"`
	Content  content   `json:"content,omitzero"`
	Metadata metadata  `json:"metadata,omitempty"`
}

const storedVersion = 1

// openJournal opens the journal in a folder and puts what it holds into the
// store. The error is a *seglog.LockedError if another process has the folder,
// and has a *seglog.DamageError in its chain if what was confirmed is not
// there.
func openJournal(o Options, s *store) (*journal, error) {
	j := &journal{}
	var err error
	if j.lock, err = seglog.LockDir(o.Dir); err != nil {
		return nil, err
	}
	j.log, err = seglog.Open(seglog.Options{
		Dir: o.Dir, Fsync: o.Fsync, SegmentBytes: journalSegment, MaxBatchBytes: int(o.Limits.AccountBytes) + slack,
		Now: o.Now, Log: o.Log, OpenFile: o.OpenFile,
	})
	if err == nil {
		err = j.load(s)
	}
	if err != nil {
		return nil, errors.Join(err, j.close())
	}
	return j, nil
}

// load replays the journal.
func (j *journal) load(s *store) error {
	var b seglog.Batch
	for from := int64(0); ; from = b.Next {
		if err := j.log.Read(from, journalSegment, 1000, &b); err != nil {
			return err
		}
		if len(b.Records) == 0 {
			return nil
		}
		for i := range b.Records {
			r, err := decodeRecord(&b.Records[i].Entry)
			if err != nil {
				return fmt.Errorf("record %d of the journal: %w", b.Records[i].Sequence, err)
			}
			s.apply(r)
		}
	}
}

// write stores records, all of them or nothing.
func (j *journal) write(ctx context.Context, records []record) error {
	entries := make([]seglog.Entry, len(records))
	for i, r := range records {
		var err error
		if entries[i], err = encodeRecord(r); err != nil {
			return err
		}
	}
	_, err := j.log.Append(ctx, entries)
	return err
}

func encodeRecord(r record) (seglog.Entry, error) {
	e := seglog.Entry{Key: []byte(r.container), Flags: seglog.FlagKey}
	if r.blob != "" {
		e.Key = []byte(r.container + "/" + r.blob)
	}
	var head stored
	var body []byte
	switch put := r.put.(type) {
	case nil:
		e.Flags |= seglog.FlagTombstone
		return e, nil
	case *container:
		head = stored{Tag: put.tag, Modified: put.modified, Metadata: put.meta}
	case *blob:
		head = stored{Tag: put.tag, Modified: put.modified, Created: put.created, Content: put.content, Metadata: put.meta}
		body = put.body
	}
	head.Version = storedVersion
	text, err := json.Marshal(head)
	if err != nil {
		return e, err
	}
	e.Message = binary.AppendUvarint(make([]byte, 0, len(text)+len(body)+binary.MaxVarintLen64), uint64(len(text)))
	e.Message = append(append(e.Message, text...), body...)
	return e, nil
}

func decodeRecord(e *seglog.Entry) (record, error) {
	var r record
	r.container, r.blob, _ = strings.Cut(string(e.Key), "/")
	if e.Flags&seglog.FlagTombstone != 0 {
		return r, nil
	}
	length, n := binary.Uvarint(e.Message)
	if n <= 0 || length > uint64(len(e.Message)-n) {
		return r, errors.New("it has no head")
	}
	text, body := e.Message[n:n+int(length)], e.Message[n+int(length):]
	var head stored
	if err := json.Unmarshal(text, &head); err != nil {
		return r, err
	}
	if head.Version != storedVersion {
		return r, fmt.Errorf("it has version %d, this program knows %d", head.Version, storedVersion)
	}
	at := stamp{head.Tag, head.Modified}
	if r.blob == "" {
		r.put = &container{name: r.container, stamp: at, meta: head.Metadata}
		return r, nil
	}
	r.put = &blob{
		name: r.blob, stamp: at, created: head.Created, content: head.Content, meta: head.Metadata,
		body: append([]byte(nil), body...), // the batch is used again
	}
	return r, nil
}

// compact drops what later records have superseded, if it is worth while:
// live is the size of what counts.
func (j *journal) compact(ctx context.Context, live int64, now time.Time) error {
	if j.log.Info().Bytes < 2*live+slack {
		return nil
	}
	// A removal is of no use once the records before it are gone, and these go
	// first.
	return j.log.Compact(ctx, seglog.Compaction{TombstonesBefore: now.UnixMilli()})
}

func (j *journal) close() error {
	var err error
	if j.log != nil {
		err = j.log.Close()
	}
	return errors.Join(err, j.lock.Close())
}
