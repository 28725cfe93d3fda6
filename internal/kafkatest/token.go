package kafkatest

import (
	"encoding/base64"
	"fmt"
	"time"
)

// Token returns an unsigned JSON Web Token of a user, which the brokers here accept as an
// OAUTHBEARER token (KIP-255). With a negative lifetime it has expired.
func Token(user string, lifetime time.Duration) string {
	now := time.Now()
	part := base64.RawURLEncoding.EncodeToString
	claims := fmt.Sprintf(`{"sub":%q,"iat":%d,"exp":%d}`, user, min(now.Unix(), now.Add(lifetime).Unix()-1), now.Add(lifetime).Unix())
	return part([]byte(`{"alg":"none"}`)) + "." + part([]byte(claims)) + "."
}
