package blob

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// This file checks shared access signatures, by Microsoft's "Create an account
// SAS" and "Create a service SAS". A signature that names an access policy of
// a container, a user delegation key or a directory is refused: there are none
// of these.

// grant is what a request may do.
type grant struct {
	// any is set for who has a key of the account.
	any bool
	// account is set for an account SAS, which says in types on which kinds
	// of resources its permissions hold: s, c, o.
	account bool
	types   string
	// permissions are the letters of the signature.
	permissions string
}

// allows checks that a grant covers an operation.
func (g grant) allows(op *operation) *serviceError {
	switch {
	case g.any:
		return nil
	case g.account && !strings.ContainsRune(g.types, op.scope.letter()):
		return refuse(resourceTypeMismatch)
	case !g.account && op.scope != objectScope && op.permissions != "l":
		return refuse(permissionMismatch) // a service SAS never covers a container itself
	case !strings.ContainsAny(g.permissions, op.permissions):
		return refuse(permissionMismatch)
	}
	return nil
}

// overwrites reports whether a blob that is there may be replaced: the
// permission to create is not enough.
func (g grant) overwrites() bool { return g.any || strings.Contains(g.permissions, "w") }

// sas checks the signature in the query of a request.
func (c *call) sas() (grant, *serviceError) {
	q := c.query
	sp, se, sv := q.Get("sp"), q.Get("se"), q.Get("sv")
	switch {
	case q.Get("si") != "" || q.Get("skoid") != "" || q.Get("sdd") != "":
		return grant{}, unauthenticated("Signatures by an access policy (si), a user delegation key (skoid) or for a directory (sdd) are not known here.")
	case !isVersion(sv) || sv < "2015-04-05":
		return grant{}, unauthenticated("sv is mandatory, and signatures before the version 2015-04-05 are not known here.")
	case sp == "" || se == "":
		return grant{}, unauthenticated("Signature fields not well formed: sp and se are mandatory.")
	}
	signature := strings.ReplaceAll(q.Get("sig"), " ", "+") // of a '+' that was not encoded
	g := grant{permissions: sp}
	var text string
	switch resource := q.Get("sr"); {
	case q.Has("ss"):
		g.account, g.types = true, q.Get("srt")
		text = accountText(c.account.o.Name, q)
	case resource == "c" && c.target.container != "", resource == "b" && c.target.blob != "":
		text = serviceText(c.account.o.Name, c.target, q)
	case resource == "c" || resource == "b":
		return grant{}, refuse(permissionMismatch) // a resource above the one that is signed
	default:
		return grant{}, unauthenticated("Signature fields not well formed: neither ss nor a known sr.")
	}
	if !c.account.signed(signature, text) {
		return grant{}, unauthenticated("Signature did not match. String to sign used was " + text)
	}
	if g.account && !strings.Contains(q.Get("ss"), "b") {
		return grant{}, refuse(serviceMismatch)
	}
	if err := c.timely(q.Get("st"), se); err != nil {
		return grant{}, err
	}
	return g, c.from(q.Get("spr"), q.Get("sip"))
}

// timely checks the time of a signature.
func (c *call) timely(start, expiry string) *serviceError {
	now := c.account.now().UTC()
	to, ok := sasTime(expiry)
	if !ok {
		return unauthenticated("Signature fields not well formed: se is no time.")
	}
	from, ok := sasTime(cmp.Or(start, "2000-01-01"))
	if !ok {
		return unauthenticated("Signature fields not well formed: st is no time.")
	}
	if now.Before(from) || !now.Before(to) {
		return unauthenticated("Signature not valid in the specified time frame: Start [" + httpDate(from) +
			"] - Expiry [" + httpDate(to) + "] - Current [" + httpDate(now) + "]")
	}
	return nil
}

// from checks the protocol and the address that a signature is bound to.
func (c *call) from(protocol, addresses string) *serviceError {
	switch protocol {
	case "", "https,http":
	case "https":
		if !c.secure() {
			return refuse(protocolMismatch)
		}
	default:
		return unauthenticated("Signature fields not well formed: spr is '" + protocol + "'.")
	}
	if addresses == "" {
		return nil
	}
	first, last, isRange := strings.Cut(addresses, "-")
	if !isRange {
		last = first
	}
	low, err1 := netip.ParseAddr(first)
	high, err2 := netip.ParseAddr(last)
	if err1 != nil || err2 != nil {
		return unauthenticated("Signature fields not well formed: sip is '" + addresses + "'.")
	}
	host, _, err := net.SplitHostPort(c.r.RemoteAddr)
	if err != nil {
		host = c.r.RemoteAddr
	}
	if ip, err := netip.ParseAddr(host); err != nil || ip.Unmap().Less(low) || high.Less(ip.Unmap()) {
		return refuse(sourceIPMismatch, "SourceIP", host)
	}
	return nil
}

// sasTime reads one of the forms of ISO 8601 that a signature may have.
func sasTime(text string) (time.Time, bool) {
	for _, form := range []string{"2006-01-02T15:04:05.9999999Z", "2006-01-02T15:04Z", time.DateOnly} {
		if t, err := time.Parse(form, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// accountText is what an account SAS signs.
func accountText(account string, q url.Values) string {
	fields := []string{account}
	for _, name := range []string{"sp", "ss", "srt", "st", "se", "sip", "spr", "sv"} {
		fields = append(fields, q.Get(name))
	}
	if q.Get("sv") >= "2020-12-06" {
		fields = append(fields, q.Get("ses"))
	}
	return strings.Join(fields, "\n") + "\n"
}

// serviceText is what a service SAS signs.
func serviceText(account string, on target, q url.Values) string {
	resource := "/blob/" + account + "/" + on.container
	if q.Get("sr") == "b" {
		resource += "/" + on.blob
	}
	fields := []string{q.Get("sp"), q.Get("st"), q.Get("se"), resource}
	for _, name := range []string{"si", "sip", "spr", "sv"} {
		fields = append(fields, q.Get(name))
	}
	version := q.Get("sv")
	if version >= "2018-11-09" {
		fields = append(fields, q.Get("sr"), "") // no snapshots
	}
	if version >= "2020-12-06" {
		fields = append(fields, q.Get("ses"))
	}
	for _, name := range []string{"rscc", "rscd", "rsce", "rscl", "rsct"} {
		fields = append(fields, q.Get(name))
	}
	return strings.Join(fields, "\n")
}
