package blob

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxSkew is how far the date of a signed request may be from ours.
const maxSkew = 15 * time.Minute

// sign is the signature of a text with a key of the account.
func sign(key []byte, text string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// signed reports whether a signature is one of the text by any of the keys.
func (a *Account) signed(signature, text string) bool {
	ok := false
	for _, key := range a.o.Keys {
		if hmac.Equal([]byte(sign(key, text)), []byte(signature)) {
			ok = true
		}
	}
	return ok
}

// sharedKey checks the signature of a request, by Microsoft's "Authorize with
// Shared Key". scheme is SharedKey or SharedKeyLite.
func (c *call) sharedKey(scheme, credential string) *serviceError {
	name, signature, ok := strings.Cut(credential, ":")
	if !ok {
		return refuse(invalidAuthentication)
	}
	if name != c.account.o.Name {
		return unauthenticated("The account '" + name + "' is not the one of this endpoint, '" + c.account.o.Name + "'.")
	}
	if err := c.fresh(); err != nil {
		return err
	}
	var first string
	for i, text := range stringsToSign(scheme, c.r, c.account.o.Name, c.query) {
		if c.account.signed(signature, text) {
			return nil
		}
		if i == 0 {
			first = text
		}
	}
	return unauthenticated("The MAC signature found in the HTTP request '" + signature +
		"' is not the same as any computed signature. Server used following string to sign: '" + first + "'.")
}

// fresh checks the date of a signed request.
func (c *call) fresh() *serviceError {
	text := cmp.Or(c.r.Header.Get("x-ms-date"), c.r.Header.Get("Date"))
	if text == "" {
		return unauthenticated("The request has neither the header x-ms-date nor Date.")
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return refuse(invalidHeaderValue, "HeaderName", "x-ms-date", "HeaderValue", text)
	}
	if d := c.account.now().Sub(at); d > maxSkew || d < -maxSkew {
		return unauthenticated("Request date header too old: '" + text + "'.")
	}
	return nil
}

// unauthenticated is AuthenticationFailed with the reason.
func unauthenticated(why string) *serviceError {
	return refuse(authenticationFailed, "AuthenticationErrorDetail", why)
}

// stringsToSign are the texts that a client may have signed: they differ in
// the order of headers, which the service has by the rules of a language, and
// most SDKs so too, while others have it by bytes; and before 2015 an empty
// body was signed as "0".
func stringsToSign(scheme string, r *http.Request, account string, query url.Values) []string {
	var texts []string
	for _, compare := range []func(a, b string) int{compareHeaders, strings.Compare} {
		for _, empty := range []string{"", "0"} {
			text := stringToSign(scheme, r, account, query, compare, empty)
			if !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
		}
	}
	return texts
}

// stringToSign is the text that a scheme signs.
func stringToSign(scheme string, r *http.Request, account string, query url.Values, compare func(a, b string) int, empty string) string {
	date := r.Header.Get("Date")
	if r.Header.Get("x-ms-date") != "" {
		date = ""
	}
	var b strings.Builder
	line := func(s string) { b.WriteString(s + "\n") }
	line(r.Method)
	if scheme == liteScheme {
		line(r.Header.Get("Content-Md5"))
		line(r.Header.Get("Content-Type"))
		line(date)
	} else {
		line(r.Header.Get("Content-Encoding"))
		line(r.Header.Get("Content-Language"))
		if r.ContentLength > 0 {
			empty = strconv.FormatInt(r.ContentLength, 10)
		}
		line(empty)
		line(r.Header.Get("Content-Md5"))
		line(r.Header.Get("Content-Type"))
		line(date)
		for _, name := range []string{"If-Modified-Since", "If-Match", "If-None-Match", "If-Unmodified-Since", "Range"} {
			line(r.Header.Get(name))
		}
	}
	canonicalHeaders(&b, r.Header, compare)
	b.WriteString("/" + account + cmp.Or(r.URL.EscapedPath(), "/"))
	if scheme == liteScheme {
		if comp := query.Get("comp"); comp != "" {
			b.WriteString("?comp=" + comp)
		}
		return b.String()
	}
	canonicalQuery(&b, query)
	return b.String()
}

// canonicalHeaders writes the headers of the service, one a line.
func canonicalHeaders(b *strings.Builder, h http.Header, compare func(a, b string) int) {
	values := map[string]string{}
	var names []string
	for name, v := range h {
		if low := strings.ToLower(name); strings.HasPrefix(low, "x-ms-") {
			names = append(names, low)
			values[low] = strings.Join(v, ",")
		}
	}
	slices.SortFunc(names, compare)
	for _, name := range names {
		b.WriteString(name + ":" + values[name] + "\n")
	}
}

// compareHeaders orders names of headers as the service does, by the rules of
// a language: hyphens count only where all else is the same, and '_' comes
// before digits, digits before letters.
func compareHeaders(a, b string) int {
	plain := func(s string) string {
		return strings.Map(func(r rune) rune {
			switch r {
			case '-':
				return -1
			case '_':
				return '!'
			}
			return r
		}, s)
	}
	return cmp.Or(strings.Compare(plain(a), plain(b)), strings.Compare(a, b))
}

// canonicalQuery writes the parameters of a query, decoded, one a line.
func canonicalQuery(b *strings.Builder, query url.Values) {
	names := make([]string, 0, len(query))
	for name := range query {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		values := slices.Sorted(slices.Values(query[name]))
		b.WriteString("\n" + name + ":" + strings.Join(values, ","))
	}
}
