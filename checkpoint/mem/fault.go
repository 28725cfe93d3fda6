package mem

import (
	"context"
	"errors"
	"time"

	"github.com/hubferry/hubferry"
)

// Op is an operation of the store.
type Op string

// The operations that a fault switch sees.
const (
	ListCheckpoints Op = "ListCheckpoints"
	SaveCheckpoint  Op = "SaveCheckpoint"
	ListOwnership   Op = "ListOwnership"
	ClaimOwnership  Op = "ClaimOwnership"
)

// Call is one operation that is about to begin.
type Call struct {
	Op  Op
	IDs []hubferry.ID // of the group that is listed, or the records that are written
}

// Fault is what goes wrong with one operation. The zero Fault is that nothing does.
type Fault struct {
	// Before passes before the operation is done, After between that and the answer. A
	// context that ends meanwhile ends the call.
	Before, After time.Duration
	// Err is the answer. The operation is not done, unless Stored says so.
	Err error
	// Stored says that the operation is done although Err is the answer: the response
	// was lost.
	Stored bool
	// Linger says that the operation is done at the end of Before even if its context
	// has ended meanwhile: the request was on its way.
	Linger bool
	// Part, if not 0, is how many records of a claim are written before Err; they are
	// returned beside it.
	Part int
}

// SetFault sets the fault switch of this handle, or removes it with nil. It is called at
// the beginning of each operation, perhaps by several goroutines at once.
func (s *Store) SetFault(f func(Call) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// partError marks an error that comes beside results.
type partError struct{ err error }

func (e *partError) Error() string { return e.err.Error() }

// do runs an operation under the data's lock, with the faults of the handle around it.
func (s *Store) do(ctx context.Context, call Call, op func(d *data, part int) error) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	hook := s.fault
	s.mu.Unlock()
	var f Fault
	if hook != nil {
		f = hook(call)
	}
	locked := func() error {
		s.data.mu.Lock()
		defer s.data.mu.Unlock()
		return op(s.data, f.Part)
	}
	if f.Linger && f.Before > 0 {
		done := make(chan error, 1)
		time.AfterFunc(f.Before, func() { done <- locked() })
		select {
		case err := <-done:
			return answer(ctx, f, err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := wait(ctx, f.Before); err != nil {
		return err
	}
	if f.Err != nil && !f.Stored && f.Part == 0 {
		return f.Err
	}
	return answer(ctx, f, locked())
}

// answer delays and replaces the result of an operation.
func answer(ctx context.Context, f Fault, err error) error {
	if waited := wait(ctx, f.After); waited != nil {
		return waited
	}
	if f.Err == nil || err != nil {
		return err
	}
	if f.Part > 0 {
		return &partError{f.Err}
	}
	return f.Err
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Break replaces the checkpoint of a partition by a record that cannot be read.
func (s *Store) Break(id hubferry.ID) {
	s.data.mu.Lock()
	defer s.data.mu.Unlock()
	s.data.checkpoints[id] = hubferry.Checkpoint{Err: errBroken}
}

var errBroken = errors.New("the record cannot be read")
