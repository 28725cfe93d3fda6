package blob

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// store holds the containers and blobs of an account. Changes happen one after
// the other: each looks at what is there, is written to the journal, and only
// then shown to readers, who never wait for a disk.
type store struct {
	now     func() time.Time
	room    int64    // bytes that may be held
	journal *journal // nil in memory

	turn   chan struct{} // held by the change under way, for good once closed
	closed chan struct{}

	// mu is held while the state is changed and while readers look at it. Who
	// has the turn reads without it: nobody else changes anything.
	mu         sync.RWMutex
	containers []*container // by name
	used       int64
	lastTag    uint64
}

// stamp is what every change gives to what it has changed.
type stamp struct {
	tag      uint64
	modified time.Time
}

// etag is the stamp as clients see it, with the quotes.
func (s stamp) etag() string { return fmt.Sprintf("\"0x%X\"", s.tag) }

// container is a container with its blobs.
type container struct {
	name string
	stamp
	meta  metadata
	blobs []*blob // by name
}

// blob is never changed once it is stored: a change replaces it.
type blob struct {
	name string
	stamp
	created time.Time
	content content
	meta    metadata
	body    []byte
}

// content are the properties of a body, by the names of the headers that carry
// them.
type content struct {
	Type        string `json:"type,omitempty"`
	Encoding    string `json:"encoding,omitempty"`
	Language    string `json:"language,omitempty"`
	MD5         string `json:"md5,omitempty"` // base64
	Cache       string `json:"cache,omitempty"`
	Disposition string `json:"disposition,omitempty"`
}

// overhead is what an entry costs beside its texts, roughly.
const overhead = 200

func (b *blob) size() int64 {
	return int64(overhead + len(b.name) + b.meta.size() + len(b.body))
}

func (c *container) size() int64 { return int64(overhead + len(c.name) + c.meta.size()) }

func newStore(now func() time.Time, room int64) *store {
	return &store{now: now, room: room, turn: make(chan struct{}, 1), closed: make(chan struct{})}
}

// record is one step of a change: a container or a blob that is put in place
// or, when put is nil, removed.
type record struct {
	container string
	blob      string // empty for the container itself
	put       any    // *container without blobs, *blob, or nil
}

// errClosed is returned for changes after close.
var errClosed = errors.New("the account is closed")

// change makes one change, all of its records or nothing. plan looks at the
// state and says what to do; its error is returned as it is.
func (s *store) change(ctx context.Context, plan func() ([]record, error)) error {
	select {
	case s.turn <- struct{}{}:
	case <-s.closed:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	records, err := plan()
	if err == nil {
		err = s.fits(records)
	}
	if err == nil && s.journal != nil {
		// Whether the client still waits does not matter any more.
		err = s.journal.write(context.WithoutCancel(ctx), records)
	}
	if err == nil {
		s.mu.Lock()
		for _, r := range records {
			s.apply(r)
		}
		s.mu.Unlock()
	}
	<-s.turn
	return err
}

// fits checks that a change leaves the account within its room.
func (s *store) fits(records []record) error {
	grows := int64(0)
	for _, r := range records {
		switch put := r.put.(type) {
		case *blob:
			grows += put.size()
			if old, err := s.blob(r.container, r.blob); err == nil {
				grows -= old.size()
			}
		case *container:
			grows += put.size()
		}
	}
	if grows > 0 && s.used+grows > s.room {
		return refuse(requestBodyTooLarge, "Reason", fmt.Sprintf("the account may hold %d bytes and has %d", s.room, s.used))
	}
	return nil
}

// apply puts one record into the state. A record about what is not there has
// no effect.
func (s *store) apply(r record) {
	i, there := s.search(r.container)
	if put, ok := r.put.(*container); ok {
		s.lastTag = max(s.lastTag, put.tag)
		s.used += put.size()
		if there {
			s.used -= s.containers[i].size()
			put.blobs = s.containers[i].blobs
			s.containers[i] = put
			return
		}
		s.containers = slices.Insert(s.containers, i, put)
		return
	}
	if !there {
		return
	}
	c := s.containers[i]
	if r.blob == "" {
		for _, b := range c.blobs {
			s.used -= b.size()
		}
		s.used -= c.size()
		s.containers = slices.Delete(s.containers, i, i+1)
		return
	}
	j, there := c.search(r.blob)
	if there {
		s.used -= c.blobs[j].size()
	}
	put, isBlob := r.put.(*blob)
	switch {
	case isBlob:
		s.used += put.size()
		s.lastTag = max(s.lastTag, put.tag)
		if there {
			c.blobs[j] = put
		} else {
			c.blobs = slices.Insert(c.blobs, j, put)
		}
	case there:
		c.blobs = slices.Delete(c.blobs, j, j+1)
	}
}

func (s *store) search(name string) (int, bool) {
	return slices.BinarySearchFunc(s.containers, name, func(c *container, n string) int { return strings.Compare(c.name, n) })
}

func (c *container) search(name string) (int, bool) {
	return slices.BinarySearchFunc(c.blobs, name, func(b *blob, n string) int { return strings.Compare(b.name, n) })
}

// container finds a container, or answers ContainerNotFound.
func (s *store) container(name string) (*container, error) {
	i, ok := s.search(name)
	if !ok {
		return nil, refuse(containerNotFound)
	}
	return s.containers[i], nil
}

// blob finds a blob, or answers ContainerNotFound or BlobNotFound.
func (s *store) blob(containerName, name string) (*blob, error) {
	c, err := s.container(containerName)
	if err != nil {
		return nil, err
	}
	i, ok := c.search(name)
	if !ok {
		return nil, refuse(blobNotFound)
	}
	return c.blobs[i], nil
}

// next is the stamp of the change under way. Tags are the time in ticks of
// .NET, as those of the service seem to be, but never the same twice.
func (s *store) next() stamp {
	const dotNetEpoch = 621355968000000000 // ticks of 100 ns from year 1 to 1970
	now := s.now()
	s.lastTag = max(s.lastTag+1, uint64(now.UnixNano()/100)+dotNetEpoch)
	return stamp{s.lastTag, now.UTC()}
}

// createContainer creates a container that must not be there.
func (s *store) createContainer(ctx context.Context, name string, meta metadata) (stamp, error) {
	var put *container
	err := s.change(ctx, func() ([]record, error) {
		if _, there := s.search(name); there {
			return nil, refuse(containerAlreadyExists)
		}
		put = &container{name: name, stamp: s.next(), meta: meta}
		return []record{{container: name, put: put}}, nil
	})
	if err != nil {
		return stamp{}, err
	}
	return put.stamp, nil
}

// deleteContainer deletes a container with its blobs.
func (s *store) deleteContainer(ctx context.Context, name string, on conditions) error {
	return s.change(ctx, func() ([]record, error) {
		c, err := s.container(name)
		if err != nil {
			return nil, err
		}
		if err := on.write(&c.stamp); err != nil {
			return nil, err
		}
		var records []record
		for _, b := range c.blobs {
			records = append(records, record{container: name, blob: b.name})
		}
		return append(records, record{container: name}), nil
	})
}

// putBlob stores a blob: b with a stamp. A blob that is there is replaced, if
// overwrite allows it.
func (s *store) putBlob(ctx context.Context, containerName string, b blob, on conditions, overwrite bool) (stamp, error) {
	err := s.change(ctx, func() ([]record, error) {
		old, err := s.blob(containerName, b.name)
		var e *serviceError
		switch {
		case errors.As(err, &e) && e.code == blobNotFound:
			if err := on.write(nil); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, err
		case on.noneMatch == "*":
			return nil, refuse(blobAlreadyExists)
		case !overwrite:
			return nil, refuse(unauthorizedOverwrite)
		default:
			if err := on.write(&old.stamp); err != nil {
				return nil, err
			}
		}
		b.stamp = s.next()
		b.created = b.modified
		return []record{{containerName, b.name, &b}}, nil
	})
	return b.stamp, err
}

// setMetadata replaces the metadata of a blob that must be there.
func (s *store) setMetadata(ctx context.Context, containerName, name string, meta metadata, on conditions) (stamp, error) {
	var b blob
	err := s.change(ctx, func() ([]record, error) {
		old, err := s.blob(containerName, name)
		if err != nil {
			return nil, err
		}
		if err := on.write(&old.stamp); err != nil {
			return nil, err
		}
		b = *old
		b.stamp, b.meta = s.next(), meta
		return []record{{containerName, name, &b}}, nil
	})
	return b.stamp, err
}

// deleteBlob deletes a blob that must be there.
func (s *store) deleteBlob(ctx context.Context, containerName, name string, on conditions) error {
	return s.change(ctx, func() ([]record, error) {
		old, err := s.blob(containerName, name)
		if err != nil {
			return nil, err
		}
		if err := on.write(&old.stamp); err != nil {
			return nil, err
		}
		return []record{{container: containerName, blob: name}}, nil
	})
}

// getBlob returns a blob as it is now.
func (s *store) getBlob(containerName, name string) (*blob, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.blob(containerName, name)
}

// getContainer returns a container as it is now, without its blobs.
func (s *store) getContainer(name string) (container, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, err := s.container(name)
	if err != nil {
		return container{}, err
	}
	return container{name: c.name, stamp: c.stamp, meta: c.meta}, nil
}

// close waits for the change under way and refuses all others. It is called
// once.
func (s *store) close() error {
	close(s.closed)
	s.turn <- struct{}{}
	if s.journal == nil {
		return nil
	}
	return s.journal.close()
}
