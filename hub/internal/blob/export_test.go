package blob

import "context"

// Compact does now what an account does every now and then.
func (a *Account) Compact(ctx context.Context) error { return a.compact(ctx) }
