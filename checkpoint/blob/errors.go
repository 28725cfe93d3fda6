package blob

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/entra"
)

const roles = "Storage Blob Data Contributor"

// lostRace reports that a conditional write found another version than it named: what is
// there was changed, was made before, or has gone.
func lostRace(err error) bool {
	return bloberror.HasCode(err, bloberror.ConditionNotMet, bloberror.BlobAlreadyExists, bloberror.TargetConditionNotMet, bloberror.BlobNotFound)
}

// refused reports an answer that will be the same next time.
func refused(err error) bool {
	e, ok := errors.AsType[*azcore.ResponseError](err)
	return ok && e.StatusCode < http.StatusInternalServerError && e.StatusCode != http.StatusTooManyRequests && e.StatusCode != http.StatusRequestTimeout
}

// explain classifies an error and says what can be done about it. A write may have been
// done although it failed.
func (s *Store) explain(op string, err error, write bool) error {
	if err == nil || errors.Is(err, hubferry.ErrClosed) || errors.Is(err, context.Canceled) {
		return err
	}
	if _, ok := errors.AsType[*hubferry.Error](err); ok {
		return err
	}
	if busy, ok := errors.AsType[*busyError](err); ok {
		return &hubferry.Error{Kind: hubferry.Throttled, Op: op, After: busy.left, Err: fmt.Errorf("%s: %w", s.host, busy)}
	}
	if answer, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return s.refusal(op, answer, write)
	}
	if entra.Failed(err) {
		e := entra.Explain(err, roles)
		e.Op = op + ": sign in"
		return e
	}
	return &hubferry.Error{
		Kind: hubferry.Transient, Op: op, Unsure: write, Err: fmt.Errorf("%s: %w", s.host, cause(err)),
		Hint: "is the account reachable?",
	}
}

// cause strips the address from a network error: it may hold a signature (INV-8).
func cause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// refusal classifies an answer of the service.
func (s *Store) refusal(op string, answer *azcore.ResponseError, write bool) error {
	e := &hubferry.Error{Kind: hubferry.Transient, Op: op, Err: fmt.Errorf("%s answered %d %s", s.host, answer.StatusCode, orStatus(answer))}
	switch bloberror.Code(answer.ErrorCode) {
	case bloberror.ContainerNotFound:
		e.Kind, e.Hint = hubferry.NotFound, fmt.Sprintf("the container %q does not exist: create it, or set createContainer: true", s.name)
		return e
	case bloberror.ContainerBeingDeleted, bloberror.AccountBeingCreated:
		e.Hint = "it passes within a minute or so"
		return e
	case bloberror.AccountIsDisabled, bloberror.ContainerDisabled:
		e.Kind, e.Hint = hubferry.Unauthorized, "the account or the container is disabled"
		return e
	case bloberror.InvalidHeaderValue, bloberror.UnsupportedHeader:
		e.Kind, e.Hint = hubferry.Fatal, "an older service or an emulator may want another apiVersion"
		return e
	case bloberror.LeaseIDMissing, bloberror.LeaseIDMismatchWithBlobOperation, bloberror.BlobImmutableDueToPolicy, bloberror.SnapshotsPresent:
		e.Kind, e.Hint = hubferry.Refused, "something protects the blob: a lease, or a policy of the container"
		return e
	default: // the status says enough
	}
	switch status := answer.StatusCode; {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		e.Kind = hubferry.Unauthorized
		e.Hint = "check key, signature or credential, and the clock of this machine: reading, writing and listing are needed, with Entra ID the role " + roles
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		e.Kind, e.Unsure = hubferry.Throttled, write && !notDone(answer)
		e.Hint = "the account has more requests than it takes"
		if answer.RawResponse != nil {
			e.After = retryAfter(answer.RawResponse.Header)
		}
	case status >= http.StatusInternalServerError || status == http.StatusRequestTimeout:
		e.Unsure = write
	case status == http.StatusBadRequest || status == http.StatusNotImplemented:
		e.Kind = hubferry.Fatal
	}
	return e
}

func orStatus(e *azcore.ResponseError) string {
	if e.ErrorCode != "" {
		return e.ErrorCode
	}
	return http.StatusText(e.StatusCode)
}

// notDone reports an answer that says that nothing was done: the service was too busy.
func notDone(err error) bool {
	e, ok := errors.AsType[*azcore.ResponseError](err)
	return ok && (bloberror.HasCode(err, bloberror.ServerBusy) || e.StatusCode == http.StatusTooManyRequests)
}

// incomplete refuses an ID that names no partition.
func incomplete(op string, id hubferry.ID) error {
	if id.Namespace != "" && id.Hub != "" && id.ConsumerGroup != "" && id.Partition != "" {
		return nil
	}
	return &hubferry.Error{
		Kind: hubferry.Fatal, Op: op,
		Err: fmt.Errorf("%s names no partition of a consumer group", id),
	}
}

// lost says that a partition is not, or no longer, the caller's to save.
func lost(why error) error {
	return &hubferry.Error{Kind: hubferry.Lost, Op: opSave, Err: why}
}
