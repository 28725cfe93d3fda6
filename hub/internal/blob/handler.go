package blob

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// serverName is what the header Server says.
const serverName = "Hubferry-Blob"

// oldestVersion stands for requests that name no version, as in the service.
const oldestVersion = "2009-09-19"

const (
	keyScheme  = "SharedKey"
	liteScheme = "SharedKeyLite"
)

// call is one request on its way to an answer.
type call struct {
	account *Account
	w       http.ResponseWriter
	r       *http.Request
	id      string
	query   url.Values // by lower-case names
	target  target
	grant   grant
}

// ServeHTTP serves one request. It looks at the whole path.
func (a *Account) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{account: a, w: w, r: r, id: requestID()}
	began := a.now()
	h := w.Header()
	h.Set("Server", serverName)
	h.Set("x-ms-request-id", c.id)
	if id := r.Header.Get("x-ms-client-request-id"); len(id) <= 1024 && printable(id) && id != "" {
		h.Set("x-ms-client-request-id", id)
	}
	op, err := c.serve()
	answer := "ok"
	if err != nil {
		e := c.translate(err)
		answer = string(e.code)
		c.fail(e)
	}
	// The query is left out: it may hold a signature.
	a.o.Log.Debug("blob request", "account", a.o.Name, "operation", op, "method", r.Method, "path", r.URL.Path,
		"answer", answer, "request", c.id, "took", a.now().Sub(began))
}

// serve carries a request out, up to the answer unless it fails, and says
// which operation it was.
func (c *call) serve() (name string, err error) {
	if err := c.parse(); err != nil {
		return "", err
	}
	if err := c.authorize(); err != nil {
		return "", err
	}
	op, e := c.route()
	if e != nil {
		return "", e
	}
	if e := c.target.check(); e != nil {
		return op.name, e
	}
	if e := c.grant.allows(op); e != nil {
		return op.name, e
	}
	if e := c.unsupported(op); e != nil {
		return op.name, e
	}
	return op.name, op.serve(c)
}

// parse reads version, query and path.
func (c *call) parse() error {
	version := c.r.Header.Get("x-ms-version")
	if version != "" && !isVersion(version) {
		return refuse(invalidHeaderValue, "HeaderName", "x-ms-version", "HeaderValue", version)
	}
	query, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return refuse(invalidURI)
	}
	c.query = url.Values{}
	for name, values := range query {
		low := strings.ToLower(name)
		c.query[low] = append(c.query[low], values...)
	}
	if sv := c.query.Get("sv"); version == "" && isVersion(sv) {
		version = sv
	}
	if version == "" {
		version = oldestVersion
	}
	c.w.Header().Set("x-ms-version", version)
	scheme := "http"
	if c.secure() {
		scheme = "https"
	}
	c.target, err = parseTarget(c.r, c.account.o.Name, scheme)
	if errors.Is(err, errOtherAccount) {
		return refuse(resourceNotFound, "Reason", "The path does not begin with the account of this endpoint, '"+c.account.o.Name+"'.")
	}
	if err != nil {
		return refuse(invalidURI)
	}
	return nil
}

// isVersion reports whether a text looks like a version of the service. All of
// them are taken: what this endpoint does has been the same in all that are
// still in use.
func isVersion(text string) bool {
	_, err := time.Parse(time.DateOnly, text)
	return err == nil
}

// authorize finds out what the request may do.
func (c *call) authorize() error {
	header := c.r.Header.Get("Authorization")
	scheme, credential, _ := strings.Cut(header, " ")
	var e *serviceError
	switch {
	case header == "" && c.query.Has("sig"):
		c.grant, e = c.sas()
	case header == "":
		e = refuse(noAuthentication).with("WWW-Authenticate", keyScheme)
	case scheme == keyScheme, scheme == liteScheme:
		c.grant.any = true
		e = c.sharedKey(scheme, credential)
	case strings.EqualFold(scheme, "Bearer"):
		c.grant.any = true
		e = c.bearer(credential)
	default:
		e = refuse(invalidAuthentication)
	}
	if e != nil {
		return e
	}
	return nil
}

// bearer checks a JSON web token.
func (c *call) bearer(token string) *serviceError {
	if c.account.o.Bearer == nil {
		return unauthenticated("JSON web tokens are switched off here: sign with a key of the account, or use a SAS.")
	}
	if err := c.account.o.Bearer(token); err != nil {
		return unauthenticated(err.Error())
	}
	return nil
}

// translate makes an answer of an error.
func (c *call) translate(err error) *serviceError {
	if e, ok := errors.AsType[*serviceError](err); ok {
		return e
	}
	switch {
	case errors.Is(err, errClosed), errors.Is(err, context.Canceled): // of the latter nobody is left to read it
		return refuse(serverBusy)
	}
	c.account.o.Log.Error("a change of blobs could not be stored; the client is told to try again", "account", c.account.o.Name, "error", err)
	return refuse(internalError)
}

// requestID is a fresh id in the form of a GUID.
func requestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
