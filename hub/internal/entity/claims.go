package entity

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// Claim is what one accepted token gives to one connection.
type Claim struct {
	// Path is the normalised audience (Address.Path); empty is the whole
	// namespace.
	Path string
	// Rights are those of the rule that signed the token.
	Rights Rights
	// Expires is when the token ends; the zero time is never.
	Expires time.Time
	// Rule is the name of the rule.
	Rule string
}

// grace is how long a claim holds after its token has expired, so that a
// client whose refresh is a little late keeps its links.
const grace = time.Minute

// maxClaims bounds the claims of one connection. The oldest expiry goes first.
const maxClaims = 4096

// Claims are the claims of one connection. The zero value has none. They may
// be used concurrently.
type Claims struct {
	mu     sync.Mutex
	byPath map[string]Claim
}

// Put stores a claim, replacing an earlier one for the same path.
func (c *Claims) Put(claim Claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byPath == nil {
		c.byPath = map[string]Claim{}
	}
	if _, known := c.byPath[claim.Path]; !known && len(c.byPath) >= maxClaims {
		oldest := ""
		for path, have := range c.byPath {
			if o, ok := c.byPath[oldest]; !ok || !have.Expires.IsZero() && (o.Expires.IsZero() || have.Expires.Before(o.Expires)) {
				oldest = path
			}
		}
		delete(c.byPath, oldest)
	}
	c.byPath[claim.Path] = claim
}

// allow reports whether a claim on the path or a part of it from the left has
// the right.
func (c *Claims) allow(path string, want Rights, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		claim, ok := c.byPath[path]
		if ok && claim.Rights.Has(want) && (claim.Expires.IsZero() || now.Before(claim.Expires.Add(grace))) {
			return true
		}
		if path == "" {
			return false
		}
		path = path[:max(0, strings.LastIndexByte(path, '/'))]
	}
}

// Allow returns nil if a claim of c covers the address with the wanted right
// now, else an UnauthorizedAccess error with the service's text.
func (n *Namespace) Allow(c *Claims, a Address, want Rights) error {
	if c.allow(a.Path(), want, n.o.Now()) {
		return nil
	}
	return unauthorized(fmt.Sprintf("Unauthorized access. '%s' claim(s) are required to perform this operation. Resource: 'sb://%s/%s'.",
		want, n.o.Name, a.Path()))
}
