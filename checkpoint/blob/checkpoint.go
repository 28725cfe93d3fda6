package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/hubferry/hubferry"
)

// ListCheckpoints implements hubferry.Checkpoints. A checkpoint that somebody cleared is
// no checkpoint, and logged.
func (s *Store) ListCheckpoints(ctx context.Context, group hubferry.ID) (map[hubferry.ID]hubferry.Checkpoint, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	var found map[hubferry.ID]hubferry.Checkpoint
	err := s.read(ctx, opList, func(c *container.Client) error {
		found = map[hubferry.ID]hubferry.Checkpoint{}
		if err := s.listInto(ctx, c, group.Group(), groupPrefix(group), found); err != nil {
			return err
		}
		for _, prefix := range s.spellings(ctx, c, group.Group()) {
			if err := s.listInto(ctx, c, group.Group(), prefix, found); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// listInto adds the checkpoints below a prefix that are not there yet.
func (s *Store) listInto(ctx context.Context, c *container.Client, group hubferry.ID, prefix string, found map[hubferry.ID]hubferry.Checkpoint) error {
	// The records beside the checkpoints come first: one that was written meanwhile would
	// look as if somebody had moved its checkpoint back.
	extras, err := s.list(ctx, c, prefix+folderExtra+"/")
	if err != nil {
		return err
	}
	checkpoints, err := s.list(ctx, c, prefix+folderCheckpoint+"/")
	if err != nil {
		return err
	}
	bodies, err := s.bodies(ctx, c, prefix, extras, checkpoints)
	if err != nil {
		return err
	}
	own := c == s.container && prefix == groupPrefix(group)
	for partition, at := range checkpoints {
		id := group
		id.Partition = partition
		if _, ok := found[id]; ok {
			continue
		}
		beside, ok := extras[partition]
		e, err := bodies[partition].extra, bodies[partition].err
		if ok && e == nil && err == nil {
			e, err = parseExtra([]byte(beside.meta[keyExtra]))
		}
		if own {
			s.lane(id).seen(at, beside, e)
		}
		checkpoint, ok := s.read1(id, at, e, err)
		if ok {
			found[id] = checkpoint
		}
	}
	if own { // after the lanes were made: what they see first is nobody's change
		s.mu.Lock()
		s.listed[group] = true
		s.mu.Unlock()
	}
	return nil
}

// read1 makes a checkpoint of its blobs, and reports whether there is one.
func (s *Store) read1(id hubferry.ID, at item, e *extra, err error) (hubferry.Checkpoint, bool) {
	position, wrong := parseCheckpoint(at.meta)
	if errors.Is(wrong, errNoCheckpoint) {
		s.report("cleared "+id.String()+at.etag, "a checkpoint is empty and counts as none", "partition", id.String())
		return hubferry.Checkpoint{}, false
	}
	if err := errors.Join(wrong, err); err != nil {
		return hubferry.Checkpoint{Err: fmt.Errorf("read checkpoint of %s: %w", id, err)}, true
	}
	return join(position, e, at.modified), true
}

// body is a record that did not fit into its metadata.
type body struct {
	extra *extra
	err   error
}

// bodies reads the records that have their content in the body.
func (s *Store) bodies(ctx context.Context, c *container.Client, prefix string, extras, wanted map[string]item) (map[string]body, error) {
	var large []string
	for partition, i := range extras {
		e, err := parseExtra([]byte(i.meta[keyExtra]))
		if _, ok := wanted[partition]; ok && err == nil && e.Body {
			large = append(large, partition)
		}
	}
	found := make(map[string]body, len(large))
	errs := make([]error, len(large))
	var mu sync.Mutex
	var wg sync.WaitGroup
	turns := make(chan struct{}, claimers)
	for i, partition := range large {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			e, parsed, err := s.download(ctx, c, prefix+folderExtra+"/"+escape(partition))
			if refused(err) {
				parsed, err = err, nil // this one alone
			}
			mu.Lock()
			defer mu.Unlock()
			found[partition], errs[i] = body{e, parsed}, err
		})
	}
	wg.Wait()
	return found, errors.Join(errs...)
}

// maxBody bounds what is read of a record.
const maxBody = 64 << 20

// download reads a whole record. What the content is worth is the second result.
func (s *Store) download(ctx context.Context, c *container.Client, name string) (e *extra, parsed, err error) {
	resp, err := c.NewBlobClient(name).DownloadStream(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return nil, nil, err
	}
	e, parsed = parseExtra(text)
	return e, parsed, nil
}

// SaveCheckpoint implements hubferry.Checkpoints. As in the SDKs it asks for no version.
// Of several calls for one partition that wait at one time only the last is written.
func (s *Store) SaveCheckpoint(ctx context.Context, id hubferry.ID, c hubferry.Checkpoint) error {
	return s.save(ctx, id, c, func(ctx context.Context, l *lane, _ *extra) error {
		var v stamp
		m := checkpointMetadata(c.Position, l.beside)
		err := s.busy(func() error {
			return s.withContainer(ctx, func() (err error) {
				if v, err = s.setMetadata(ctx, blobName(id, folderCheckpoint), m, nil); bloberror.HasCode(err, bloberror.BlobNotFound) {
					v, err = s.upload(ctx, blobName(id, folderCheckpoint), m, nil, nil)
				}
				return err
			})
		})
		if err == nil {
			l.wrote(v, c)
		} else {
			l.known = false
		}
		return err
	})
}

// SaveForward stores a checkpoint of o.ID if the stored one is not further on, by
// compare-and-set on the version that this handle has seen or written last. If somebody
// else has written it since, the ownership record is asked as well. A refusal is an error
// of kind Lost. It implements checkpoint.Forward.
func (s *Store) SaveForward(ctx context.Context, o hubferry.Ownership, c hubferry.Checkpoint) error {
	return s.save(ctx, o.ID, c, func(ctx context.Context, l *lane, e *extra) error {
		for range conflicts {
			if err := s.mayForward(ctx, l, o, c); err != nil {
				return err
			}
			if ahead, over := l.ahead(e, &c); ahead != nil {
				err := s.withContainer(ctx, func() error { return s.saveExtra(ctx, l, o.ID, ahead, over) })
				if errors.Is(err, errOtherRecord) {
					if err := pause(ctx); err != nil {
						return err
					}
					continue // who owns it is asked again
				}
				if err != nil {
					return err
				}
			}
			v, err := s.replace(ctx, l, blobName(o.ID, folderCheckpoint), checkpointMetadata(c.Position, l.beside))
			switch {
			case err == nil:
				l.wrote(v, c)
				return nil
			case !lostRace(err):
				l.known = false // it may have been done
				return err
			}
			l.known = false
			if err := pause(ctx); err != nil {
				return err
			}
		}
		return &hubferry.Error{
			Kind: hubferry.Transient, Op: opSave, Err: fmt.Errorf("the checkpoint of %s keeps changing", o.ID),
			Hint: "does another program write checkpoints of this consumer group?",
		}
	})
}

// ahead returns what the record beside the checkpoint has to say before the checkpoint c is
// written, nil if that is nothing, and whether it may be written over one that somebody else
// has put there meanwhile. A first checkpoint must not be found without the task that made
// it, or who starts in between, or after a crash in between, takes it for another program's
// (G-10); one that has gone back not without its beginning, which tells what it can be
// compared with, nor an old one with the new incarnation; and none with the epoch of an
// earlier one, after whose end the log would look as if it had been cut back. A later epoch
// than its own does no harm: what came before it ended where it did.
func (l *lane) ahead(e *extra, c *hubferry.Checkpoint) (ahead *extra, over bool) {
	switch {
	case l.last == nil || c.Beginning != l.last.Beginning:
		if l.stored == nil {
			return e, true
		}
		marked := *e
		marked.Before = l.stored
		return &marked, true
	case l.extra == nil || l.extra.Epoch == e.Epoch: // without a record there is no epoch either
		return nil, false
	}
	raised := *l.extra
	raised.Epoch, raised.Clean = e.Epoch, false
	return &raised, false
}

// conflicts is how often a save begins again because somebody else was faster.
const conflicts = 6

// mayForward refreshes what is known of a checkpoint, if need be, and judges whether the
// next one may take its place.
func (s *Store) mayForward(ctx context.Context, l *lane, o hubferry.Ownership, c hubferry.Checkpoint) error {
	if !l.known {
		before := l.etag
		if err := s.refresh(ctx, l, o.ID); err != nil {
			return err
		}
		l.foreign = before == "" || l.etag != before
	}
	if l.foreign {
		owner, err := s.ownerNow(ctx, o.ID)
		if err != nil {
			return err
		}
		if owner != o.Owner {
			return lost(fmt.Errorf("%s is owned by %q", o.ID, owner))
		}
		l.foreign = false
	}
	if l.last != nil && c.Behind(l.last) {
		return lost(fmt.Errorf("the checkpoint of %s is already at %d", o.ID, l.last.Position.Sequence))
	}
	return nil
}

// refresh looks at the stored checkpoint of one partition.
func (s *Store) refresh(ctx context.Context, l *lane, id hubferry.ID) error {
	at, err := s.one(ctx, id, folderCheckpoint)
	if err != nil {
		return err
	}
	beside, err := s.one(ctx, id, folderExtra)
	if err != nil {
		return err
	}
	var e *extra
	if beside.etag != "" {
		e, _ = parseExtra([]byte(beside.meta[keyExtra])) // without it the sequence number decides alone
	}
	if e != nil && e.Body {
		whole, parsed, err := s.download(ctx, s.container, blobName(id, folderExtra))
		switch {
		case err != nil && !refused(err):
			return err
		case err == nil && parsed == nil:
			e = whole
		}
	}
	l.note(at, beside, e)
	return nil
}

// one lists a single blob; without an ETag it does not exist. Listing needs no other
// right than what the store needs anyway.
func (s *Store) one(ctx context.Context, id hubferry.ID, folder string) (item, error) {
	name := blobName(id, folder)
	var found item
	err := s.pages(ctx, s.container, &container.ListBlobsFlatOptions{
		Prefix: &name, Include: container.ListBlobsInclude{Metadata: true},
	}, allPages, func(b *container.BlobItem) {
		if *b.Name == name {
			found = toItem(b)
		}
	})
	return found, err
}

// ownerNow returns who owns a partition.
func (s *Store) ownerNow(ctx context.Context, id hubferry.ID) (string, error) {
	i, err := s.one(ctx, id, folderOwnership)
	return ownerOf(i.meta), err
}

// replace writes the metadata of a checkpoint over the version that the lane knows.
func (s *Store) replace(ctx context.Context, l *lane, name string, m metadata) (stamp, error) {
	var v stamp
	err := s.busy(func() error {
		return s.withContainer(ctx, func() (err error) {
			if l.etag == "" {
				v, err = s.upload(ctx, name, m, nil, ifMatch(""))
			} else {
				v, err = s.setMetadata(ctx, name, m, ifMatch(l.etag))
			}
			return err
		})
	})
	return v, err
}

// save has a checkpoint written by a function, and then the record beside it, unless a
// newer call for the partition came while it waited.
func (s *Store) save(ctx context.Context, id hubferry.ID, c hubferry.Checkpoint, write func(ctx context.Context, l *lane, e *extra) error) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	if err := incomplete(opSave, id); err != nil {
		return err
	}
	e, err := newExtra(&c)
	if err != nil {
		return &hubferry.Error{Kind: hubferry.Fatal, Op: opSave, Err: err}
	}
	l := s.lane(id)
	return s.explain(opSave, l.do(ctx, func() error {
		err := write(ctx, l, e)
		if err == nil {
			err = s.saveExtra(ctx, l, id, e, true)
		}
		return s.explain(opSave, err, true)
	}), true)
}

// marksEvery is how long the marks of a record may stay what they are while the checkpoint
// moves on. They are lower bounds (G-7): after a crash a target is read from where it ended
// that much earlier. Checkpoints of a busy partition would cost two requests otherwise.
const marksEvery = time.Minute

// errOtherRecord says that somebody else has written the record beside a checkpoint.
var errOtherRecord = errors.New("the record beside the checkpoint has changed")

// saveExtra writes the record beside a checkpoint, unless the one that is there says the
// same, or nearly so. Over another one that somebody has put there meanwhile it goes only if
// it may, and if that is not of a later checkpoint.
func (s *Store) saveExtra(ctx context.Context, l *lane, id hubferry.ID, e *extra, over bool) (err error) {
	if l.extra == e {
		return nil // it went ahead
	}
	if l.extra != nil && l.extra.sameBut(e) {
		if maps.Equal(l.extra.Marks, e.Marks) || l.extra.marksAll(e) && time.Since(l.extraAt) < marksEvery {
			return nil
		}
	}
	value, body, err := e.encode()
	if err != nil {
		return &hubferry.Error{Kind: hubferry.Fatal, Op: opSave, Err: err}
	}
	name, m := blobName(id, folderExtra), metadata{keyExtra: value}
	l.extra = nil // unknown until it is confirmed
	defer func() {
		if err != nil {
			l.known = false
		}
	}()
	for range conflicts {
		var v stamp
		err := s.busy(func() (err error) {
			if body == nil && l.extraTag != "" {
				v, err = s.setMetadata(ctx, name, m, ifMatch(l.extraTag))
			} else {
				v, err = s.upload(ctx, name, m, body, ifMatch(l.extraTag))
			}
			return err
		})
		if err == nil {
			l.extraTag, l.extra, l.extraAt = v.etag, e, time.Now()
			return nil
		}
		if !lostRace(err) {
			return err
		}
		if !over {
			return errOtherRecord
		}
		now, err := s.one(ctx, id, folderExtra)
		if err != nil {
			return err
		}
		l.extraTag = now.etag
		if other, err := parseExtra([]byte(now.meta[keyExtra])); err == nil && e.behind(other) {
			return nil // of a later checkpoint, which a successor has saved
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
	return &hubferry.Error{Kind: hubferry.Transient, Op: opSave, Err: fmt.Errorf("the record beside the checkpoint of %s keeps changing", id)}
}

// pause waits for a moment, so that two that write the same blob do not keep step.
func pause(ctx context.Context) error {
	t := time.NewTimer(jitter())
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
