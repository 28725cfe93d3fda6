package eventhubs

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/entra"
)

// token is what proves to the service who we are. It is never printed.
type token struct {
	text    string
	kind    string // the put-token type
	expires time.Time
}

// The token types of put-token.
const (
	tokenSAS = "servicebus.windows.net:sastoken"
	tokenJWT = "jwt"
)

// tokens makes tokens for an audience. It may be used by several goroutines.
type tokens interface {
	token(ctx context.Context, audience string) (token, error)
}

// sasLife is how long a token lives that we sign ourselves.
const sasLife = time.Hour

// sasKey signs tokens with a shared access key.
type sasKey struct{ name, key string }

func (k sasKey) token(_ context.Context, audience string) (token, error) {
	expires := time.Now().Add(sasLife)
	return token{text: k.sign(audience, expires), kind: tokenSAS, expires: expires}, nil
}

// sign makes a shared access signature: the MAC, under the text of the key, of the
// encoded audience and the expiry.
func (k sasKey) sign(audience string, expires time.Time) string {
	resource := strings.ToLower(url.QueryEscape(audience))
	until := strconv.FormatInt(expires.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(k.key))
	mac.Write([]byte(resource + "\n" + until))
	sig := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return "SharedAccessSignature sr=" + resource + "&sig=" + url.QueryEscape(sig) +
		"&se=" + until + "&skn=" + url.QueryEscape(k.name)
}

// sasFixed is a signature that somebody else made. It cannot be renewed.
type sasFixed struct {
	text    string
	expires time.Time // zero if it does not say
}

func newSASFixed(text string) sasFixed {
	s := sasFixed{text: text}
	_, fields, _ := strings.Cut(text, " ")
	for field := range strings.SplitSeq(fields, "&") {
		if v, ok := strings.CutPrefix(field, "se="); ok {
			if sec, err := strconv.ParseInt(v, 10, 64); err == nil {
				s.expires = time.Unix(sec, 0)
			}
		}
	}
	return s
}

func (s sasFixed) token(context.Context, string) (token, error) {
	if !s.expires.IsZero() && !time.Now().Before(s.expires) {
		return token{}, &hubferry.Error{
			Kind: hubferry.Unauthorized, Op: "sign in",
			Err:  fmt.Errorf("the SharedAccessSignature of the connection string expired at %s", s.expires.UTC().Format(time.RFC3339)),
			Hint: "make a new one, or use a connection string with a key",
		}
	}
	return token{text: s.text, kind: tokenSAS, expires: s.expires}, nil
}

// entraScope is what a token of Microsoft Entra ID for Event Hubs is good for.
const entraScope = "https://eventhubs.azure.net//.default"

// roles are what an identity needs in Microsoft Entra ID.
const roles = "Azure Event Hubs Data Receiver (sources) or Data Sender (targets)"

// entraTokens asks Microsoft Entra ID. The credential keeps a token until it is nearly
// over.
type entraTokens struct{ credential azcore.TokenCredential }

func (e entraTokens) token(ctx context.Context, _ string) (token, error) {
	t, err := e.credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{entraScope}})
	if err != nil {
		return token{}, entra.Explain(err, roles)
	}
	return token{text: t.Token, kind: tokenJWT, expires: t.ExpiresOn}, nil
}

// newTokens prepares the tokens that the options ask for.
func newTokens(o *ConnectionOptions, c connString, env hubferry.Env) (tokens, error) {
	switch {
	case c.signature != "":
		return newSASFixed(c.signature), nil
	case c.key != "":
		return sasKey{name: c.keyName, key: c.key}, nil
	}
	credential, err := entra.New(o.signIn(), env)
	if err != nil {
		return nil, err
	}
	return entraTokens{credential}, nil
}
