package kafka

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/entra"
)

// bearer returns the mechanism that signs in with a token. A token is asked for with every
// connection, and by the client again before a broker's session ends.
func (o *SASLOptions) bearer(env hubferry.Env, host string) (sasl.Mechanism, error) {
	var get func(ctx context.Context) (string, error)
	switch {
	case !o.Token.IsZero():
		return oauth.Auth{Token: o.Token.Reveal()}.AsMechanism(), nil
	case o.TokenEndpoint != "":
		get = newTokenClient(o).token
	default:
		credential, err := entra.New(o.signIn(), env)
		if err != nil {
			return nil, &hubferry.Error{Kind: hubferry.Fatal, Op: "prepare to sign in", Err: err}
		}
		scope := cmp.Or(o.Scope, "https://"+host+"/.default")
		get = func(ctx context.Context) (string, error) {
			t, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
			if err != nil {
				return "", entra.Explain(err, "Azure Event Hubs Data Receiver (sources) or Data Sender (targets)")
			}
			return t.Token, nil
		}
	}
	return oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
		token, err := get(ctx)
		return oauth.Auth{Token: token}, err
	}), nil
}

// tokenClient asks for tokens with a client's own credentials (RFC 6749, section 4.4),
// and keeps one until a tenth of its life is left.
type tokenClient struct {
	options *SASLOptions
	client  *http.Client
	turn    chan struct{} // one token: who asks holds it
	text    string
	until   time.Time
}

func newTokenClient(o *SASLOptions) *tokenClient {
	return &tokenClient{options: o, client: &http.Client{Timeout: 30 * time.Second}, turn: make(chan struct{}, 1)}
}

func (t *tokenClient) token(ctx context.Context) (string, error) {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if t.text != "" && time.Now().Before(t.until) {
		return t.text, nil
	}
	text, life, err := t.ask(ctx)
	if err != nil {
		return "", err
	}
	t.text, t.until = text, time.Now().Add(life*9/10)
	return text, nil
}

// ask returns a token and how long it is good for.
func (t *tokenClient) ask(ctx context.Context) (string, time.Duration, error) {
	fail := func(kind hubferry.ErrorKind, err error, hint string) error {
		return &hubferry.Error{Kind: kind, Op: "ask " + t.options.TokenEndpoint + " for a token", Err: err, Hint: hint}
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if t.options.Scope != "" {
		form.Set("scope", t.options.Scope)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.options.TokenEndpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, fail(hubferry.Fatal, err, "")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(t.options.ClientID), url.QueryEscape(t.options.ClientSecret.Reveal()))
	resp, err := t.client.Do(req)
	if err != nil {
		return "", 0, fail(hubferry.Transient, err, "")
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", 0, fail(hubferry.Transient, err, "")
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
		Error       string `json:"error"`
	}
	_ = json.Unmarshal(body, &answer) // what is not there is told below
	switch {
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		return "", 0, fail(hubferry.Transient, errors.New(resp.Status), "")
	case resp.StatusCode != http.StatusOK:
		return "", 0, fail(hubferry.Unauthorized, fmt.Errorf("%s %s", resp.Status, answer.Error), "check the connection's sasl.clientId, sasl.clientSecret and sasl.scope")
	case answer.AccessToken == "":
		return "", 0, fail(hubferry.Fatal, errors.New("the answer has no access_token"), "is that the URL of a token endpoint?")
	}
	return answer.AccessToken, time.Duration(answer.ExpiresIn) * time.Second, nil
}
