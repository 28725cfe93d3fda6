package hub_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"time"
)

// signature makes a shared access signature for a resource.
func signature(resource, rule, key string, valid time.Duration) string {
	r := url.QueryEscape(resource)
	expires := fmt.Sprint(time.Now().Add(valid).Unix())
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(r + "\n" + expires))
	sig := url.QueryEscape(base64.StdEncoding.EncodeToString(h.Sum(nil)))
	return fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%s&skn=%s", r, sig, expires, rule)
}
