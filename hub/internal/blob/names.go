package blob

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Characters of names.
const (
	lowerDigits = "abcdefghijklmnopqrstuvwxyz0123456789"
	digits      = "0123456789"
)

// CheckAccountName says what is wrong with the name of an account.
func CheckAccountName(name string) error {
	if len(name) < 3 || len(name) > 24 || strings.Trim(name, lowerDigits) != "" {
		return fmt.Errorf("%q is not the name of an account: it has 3 to 24 lower-case letters and digits", name)
	}
	return nil
}

// CheckContainerName says what is wrong with the name of a container.
func CheckContainerName(name string) error {
	switch name {
	case "$root", "$web", "$logs":
		return nil
	}
	outside := strings.ContainsFunc(name, func(r rune) bool { return r != '-' && !strings.ContainsRune(lowerDigits, r) })
	if len(name) < 3 || len(name) > 63 || outside || strings.HasPrefix(name, "-") || strings.HasSuffix(name, "-") || strings.Contains(name, "--") {
		return fmt.Errorf("%q is not the name of a container: it has 3 to 63 lower-case letters, digits and single hyphens between them", name)
	}
	return nil
}

// maxBlobName is how many characters the name of a blob may have.
const maxBlobName = 1024

// target is what the path of a request names.
type target struct {
	container, blob string
	// base is the address of the account, with a slash at the end.
	base string
}

// errOtherAccount is returned for a path that names another account.
var errOtherAccount = errors.New("another account")

// parseTarget reads the path of a request, decoded. The account is its first
// segment, as in Azurite, unless the host's name begins with it, as in the
// service.
func parseTarget(r *http.Request, account, scheme string) (t target, err error) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/")
	t.base = scheme + "://" + r.Host + "/"
	if !hostStyle(r.Host, account) {
		first, rest, _ := strings.Cut(path, "/")
		if first != account {
			return t, errOtherAccount
		}
		path = rest
		t.base += account + "/"
	}
	containerName, blobName, _ := strings.Cut(path, "/")
	if t.container, err = url.PathUnescape(containerName); err != nil {
		return t, err
	}
	if t.blob, err = url.PathUnescape(blobName); err != nil {
		return t, err
	}
	return t, nil
}

// hostStyle reports whether the name of a host begins with the account.
func hostStyle(host, account string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	first, rest, more := strings.Cut(host, ".")
	return more && first == account && strings.Trim(rest, digits+".") != ""
}

// check says what is wrong with the names, in the words of the service.
func (t target) check() *serviceError {
	if t.container == "" {
		return nil
	}
	switch n := utf8.RuneCountInString(t.blob); {
	case len(t.container) < 3 || len(t.container) > 63:
		return nameLength()
	case CheckContainerName(t.container) != nil:
		return refuse(invalidResourceName)
	case n > maxBlobName:
		return nameLength()
	case !utf8.ValidString(t.blob) || strings.ContainsRune(t.blob, 0):
		return refuse(invalidURI)
	}
	return nil
}
