package entity

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// sasPrefix begins a shared access signature. What a request says about the
// type of its token is not reliable: this is.
const sasPrefix = "SharedAccessSignature "

// maxToken bounds the length of a token that is looked at.
const maxToken = 64 << 10

// Authorize checks a token (the body of a put-token or an Authorization
// header) for an audience. The error is UnauthorizedAccess (401), NotFound
// (404: the audience names a hub that does not exist) or ArgumentError (400:
// malformed). Rights are not compared with what the audience will be used
// for: that is done by Allow when a link attaches.
func (n *Namespace) Authorize(token, audience string) (Claim, error) {
	path := n.audiencePath(audience)
	if hub := ParseAddress(path).Hub; hub != "" {
		if _, err := n.Hub(hub); err != nil {
			return Claim{}, err
		}
	}
	return n.Verify(token, path)
}

// Verify is Authorize for a path (Address.Path), which may name a hub that
// does not exist.
func (n *Namespace) Verify(token, path string) (Claim, error) {
	if len(token) > maxToken {
		return Claim{}, malformedToken("it is too long")
	}
	if len(token) > len(sasPrefix) && strings.EqualFold(token[:len(sasPrefix)], sasPrefix) {
		return n.authorizeSAS(token[len(sasPrefix):], path)
	}
	return n.authorizeJWT(token, path)
}

// audiencePath is the normalised path of an audience. Clients write a URL; an
// audience without a scheme begins with a hub's name or with the host.
func (n *Namespace) audiencePath(audience string) string {
	a := ParseAddress(audience)
	if strings.Contains(audience, "://") {
		return a.Path()
	}
	if _, err := n.Hub(a.Hub); err == nil || strings.HasPrefix(a.Path(), "$") {
		return a.Path()
	}
	_, rest, _ := strings.Cut(a.Path(), "/")
	return rest
}

// sas is a parsed shared access signature.
type sas struct {
	resource  string // sr as it stands in the token: that is what is signed
	expiry    string // se, likewise
	signature string
	rule      string
}

func parseSAS(fields string) (s sas, err error) {
	var missing error
	for field := range strings.SplitSeq(strings.TrimSpace(fields), "&") {
		name, value, _ := strings.Cut(field, "=")
		switch strings.ToLower(name) {
		case "sr":
			s.resource = value
		case "se":
			s.expiry = value
		case "sig":
			// Not QueryUnescape: some clients leave '+' as it is.
			if s.signature, err = url.PathUnescape(value); err != nil {
				return s, malformedToken("'sig' is not percent-encoded")
			}
		case "skn":
			if s.rule, err = url.PathUnescape(value); err != nil {
				return s, malformedToken("'skn' is not percent-encoded")
			}
		}
	}
	for _, f := range []struct{ name, value string }{{"sr", s.resource}, {"se", s.expiry}, {"sig", s.signature}, {"skn", s.rule}} {
		if f.value == "" && missing == nil {
			missing = malformedToken("'" + f.name + "' is missing")
		}
	}
	return s, missing
}

// sign is the signature of a resource and an expiry: the key is the text of
// the key, and the resource is signed as it stands, percent-encoded.
func sign(key, resource, expiry string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(resource + "\n" + expiry))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func (s sas) signedWith(key string) bool {
	return key != "" && subtle.ConstantTimeCompare([]byte(sign(key, s.resource, s.expiry)), []byte(s.signature)) == 1
}

func (n *Namespace) authorizeSAS(fields, path string) (Claim, error) {
	s, err := parseSAS(fields)
	if err != nil {
		return Claim{}, err
	}
	seconds, err := strconv.ParseInt(s.expiry, 10, 64)
	if err != nil || seconds < 0 || seconds > 1<<40 {
		return Claim{}, malformedToken("'se' is not a number of seconds")
	}
	scope, err := resourcePath(s.resource)
	if err != nil {
		return Claim{}, err
	}
	rule, ok := n.signer(s, scope)
	if !ok {
		return Claim{}, unauthorized("InvalidSignature: The token has an invalid signature.")
	}
	expires := time.Unix(seconds, 0).UTC()
	if !n.o.Now().Before(expires) {
		return Claim{}, expiredToken(expires)
	}
	if !covers(scope, path) {
		return Claim{}, unauthorized(fmt.Sprintf("InvalidAudience: The token is signed for '%s' and does not cover '%s'.", scope, path))
	}
	return Claim{Path: path, Rights: rule.Rights, Expires: expires, Rule: rule.Name}, nil
}

// resourcePath is the path of a token's resource, which may be a bare host.
func resourcePath(resource string) (string, error) {
	r, err := url.PathUnescape(resource)
	if err != nil {
		return "", malformedToken("'sr' is not percent-encoded")
	}
	if !strings.Contains(r, "://") {
		r = "sb://" + r
	}
	return ParseAddress(r).Path(), nil
}

// covers reports whether a path is a resource or lies below it.
func covers(resource, path string) bool {
	return resource == "" || path == resource || strings.HasPrefix(path, resource+"/")
}

// signer finds the rule that signed: one of the hub on which the resource
// lies, or one of the namespace.
func (n *Namespace) signer(s sas, scope string) (Rule, bool) {
	for _, h := range n.Hubs() {
		if covers(strings.ToLower(h.name), scope) {
			if r, ok := s.signer(h.state.Load().spec.Rules); ok {
				return r, true
			}
		}
	}
	return s.signer(n.o.Rules)
}

func (s sas) signer(rules []Rule) (Rule, bool) {
	for _, r := range rules {
		if strings.EqualFold(r.Name, s.rule) && (s.signedWith(r.Key) || s.signedWith(r.SecondaryKey)) {
			return r, true
		}
	}
	return Rule{}, false
}

// authorizeJWT accepts a token of an identity provider, if that is allowed,
// looking at nothing but its expiry.
func (n *Namespace) authorizeJWT(token, path string) (Claim, error) {
	switch {
	case token == "":
		return Claim{}, malformedToken("it is empty")
	case !n.o.AcceptJWT:
		return Claim{}, unauthorized("InvalidToken: This server accepts shared access signatures only; JSON web tokens are switched off.")
	}
	claim := Claim{Path: path, Rights: AllRights, Rule: "jwt"}
	var err error
	claim.Expires, err = CheckJWT(token, n.o.Now())
	return claim, err
}

// CheckJWT returns when a JSON web token expires, zero if it does not say so,
// and an error if that is past. Nothing else of the token is looked at.
func CheckJWT(token string, now time.Time) (expires time.Time, err error) {
	if parts := strings.Split(token, "."); len(parts) == 3 {
		var payload struct {
			Exp float64 `json:"exp"`
		}
		b, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err == nil && json.Unmarshal(b, &payload) == nil && payload.Exp > 0 && payload.Exp < 1<<40 {
			expires = time.Unix(int64(payload.Exp), 0).UTC()
		}
	}
	if !expires.IsZero() && !now.Before(expires) {
		return expires, expiredToken(expires)
	}
	return expires, nil
}

// AuthorizePlain checks the name and key of a rule, as SASL PLAIN has them,
// and returns a claim for all that the rule covers.
func (n *Namespace) AuthorizePlain(name, key string) (Claim, error) {
	if r, ok := plain(n.o.Rules, name, key); ok {
		return Claim{Rights: r.Rights, Rule: r.Name}, nil
	}
	for _, h := range n.Hubs() {
		if r, ok := plain(h.state.Load().spec.Rules, name, key); ok {
			return Claim{Path: strings.ToLower(h.name), Rights: r.Rights, Rule: r.Name}, nil
		}
	}
	return Claim{}, unauthorized("InvalidSignature: The name or key of the rule is not valid.")
}

func plain(rules []Rule, name, key string) (Rule, bool) {
	same := func(k string) bool { return k != "" && subtle.ConstantTimeCompare([]byte(k), []byte(key)) == 1 }
	for _, r := range rules {
		if strings.EqualFold(r.Name, name) && (same(r.Key) || same(r.SecondaryKey)) {
			return r, true
		}
	}
	return Rule{}, false
}

func malformedToken(why string) *Error {
	return &Error{Condition: ArgumentError, Status: 400, Text: "MalformedToken: The token is malformed: " + why + "."}
}

func expiredToken(at time.Time) *Error {
	return unauthorized(fmt.Sprintf("ExpiredToken: The token is expired. Expiration time: %s.", at.Format("2006-01-02T15:04:05.000Z")))
}
