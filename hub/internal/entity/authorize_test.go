package entity

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The ways in which the SDKs write the resource of a token.
var encoders = map[string]func(uri string) string{
	"go":         func(uri string) string { return strings.ToLower(url.QueryEscape(uri)) },
	"javascript": componentEscape,
	"python":     url.QueryEscape, // quote_plus
	"plain":      func(uri string) string { return uri },
}

// componentEscape is JavaScript's encodeURIComponent.
func componentEscape(s string) string {
	s = url.QueryEscape(s)
	for from, to := range map[string]string{"+": "%20", "%21": "!", "%27": "'", "%28": "(", "%29": ")", "%2A": "*", "%7E": "~"} {
		s = strings.ReplaceAll(s, from, to)
	}
	return s
}

func token(encoded, rule, key string, expires time.Time) string {
	se := strconv.FormatInt(expires.Unix(), 10)
	return "SharedAccessSignature sr=" + encoded + "&sig=" + url.QueryEscape(sign(key, encoded, se)) + "&se=" + se + "&skn=" + rule
}

func authNS(t testing.TB) (*Namespace, *clock) {
	c := newClock()
	o := testOptions()
	o.Now = c.now
	o.Rules = []Rule{
		{Name: DefaultRule, Key: "cm9vdA==", SecondaryKey: "second", Rights: AllRights},
		{Name: "listen", Key: "bGlzdGVu", Rights: Listen},
		{Name: "both", Key: "namespace key", Rights: Listen},
	}
	n := openNS(t, o)
	create(t, n, HubSpec{Name: "Hub", Partitions: 2, Rules: []Rule{
		{Name: "hub-send", Key: "hub key", Rights: Send},
		{Name: "both", Key: "hub's own key", Rights: Send},
	}})
	create(t, n, HubSpec{Name: "Hub2", Partitions: 2})
	create(t, n, HubSpec{Name: "a/b", Partitions: 2})
	return n, c
}

// The key vector was computed with OpenSSL: it does not come from this code.
func TestSignature(t *testing.T) {
	const resource, expiry = "sb%3a%2f%2flocalhost%2fhub", "1800003600"
	if got, want := sign("SAS_KEY_VALUE", resource, expiry), "ZMd/5gi3TmEm1YfQy+0QCy4Jdbj5ODpQr5oQF8JdhdM="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func TestAuthorize(t *testing.T) {
	n, c := authNS(t)
	later := c.now().Add(time.Hour)
	for _, audience := range []string{
		"sb://localhost/Hub", "amqp://localhost:5672/hub/", "amqps://ns.servicebus.windows.net/HUB/Partitions/1",
		"sb://x/hub/ConsumerGroups/$Default/Partitions/0", "amqp://[::1]:5672/hub/$management", "sb://x/hub/Publishers/p-1",
		"http://x/a/b/Partitions/1",
	} {
		for name, encode := range encoders {
			claim, err := n.Authorize(token(encode(audience), DefaultRule, "cm9vdA==", later), audience)
			if err != nil || claim.Rights != AllRights || !claim.Expires.Equal(later) || claim.Path != ParseAddress(audience).Path() || claim.Rule != DefaultRule {
				t.Errorf("%s as %s writes it: %+v, %v", audience, name, claim, err)
			}
		}
	}
	for name, test := range map[string]struct {
		token, audience string
		rights          Rights
	}{
		"secondary key":            {token("sb%3a%2f%2fx%2fhub", DefaultRule, "second", later), "sb://x/hub", AllRights},
		"bare host":                {token("localhost", DefaultRule, "cm9vdA==", later), "sb://x/hub/Partitions/0", AllRights},
		"bare host, port":          {token("localhost%3a5672%2f", "listen", "bGlzdGVu", later), "sb://x/hub", Listen},
		"host and path":            {token("ns.servicebus.windows.net%2fhub", "listen", "bGlzdGVu", later), "sb://x/hub/Partitions/0", Listen},
		"hub rule":                 {token("sb%3a%2f%2fx%2fHub", "hub-send", "hub key", later), "sb://x/hub/Partitions/0", Send},
		"hub rule, deeper":         {token("sb%3a%2f%2fx%2fHub%2fPartitions%2f0", "hub-send", "hub key", later), "sb://x/hub/Partitions/0", Send},
		"one name, hub's key":      {token("sb%3a%2f%2fx%2fhub", "both", "hub's own key", later), "sb://x/hub", Send},
		"one name, namespace key":  {token("sb%3a%2f%2fx%2fhub", "both", "namespace key", later), "sb://x/hub", Listen},
		"rule in another case":     {token("sb%3a%2f%2fx%2fhub", "LISTEN", "bGlzdGVu", later), "sb://x/hub", Listen},
		"audience without scheme":  {token("x", "listen", "bGlzdGVu", later), "hub/Partitions/1", Listen},
		"audience with host alone": {token("x", "listen", "bGlzdGVu", later), "localhost/hub", Listen},
		"the namespace":            {token("x", "listen", "bGlzdGVu", later), "sb://x/", Listen},
		"fields in another order":  {shuffle(token("x", "listen", "bGlzdGVu", later)), "sb://x/hub", Listen},
		"prefix in another case":   {strings.Replace(token("x", "listen", "bGlzdGVu", later), "SharedAccess", "sharedaccess", 1), "sb://x/hub", Listen},
	} {
		claim, err := n.Authorize(test.token, test.audience)
		if err != nil || claim.Rights != test.rights {
			t.Errorf("%s: %+v, %v", name, claim, err)
		}
	}
}

func shuffle(token string) string {
	fields := strings.Split(strings.TrimPrefix(token, sasPrefix), "&")
	return sasPrefix + fields[3] + "&" + fields[2] + "&unknown=1&" + fields[1] + "&" + fields[0]
}

func TestAuthorizeRefuses(t *testing.T) {
	n, c := authNS(t)
	later := c.now().Add(time.Hour)
	good := token("sb%3a%2f%2fx%2fhub", "listen", "bGlzdGVu", later)
	for name, test := range map[string]struct {
		token, audience string
		c               Condition
		status          int
		text            string
	}{
		"wrong key":                  {token("sb%3a%2f%2fx%2fhub", "listen", "xxx", later), "sb://x/hub", UnauthorizedAccess, 401, "InvalidSignature: The token has an invalid signature."},
		"decoded key":                {token("sb%3a%2f%2fx%2fhub", "listen", "listen", later), "sb://x/hub", UnauthorizedAccess, 401, "InvalidSignature"},
		"unknown rule":               {token("sb%3a%2f%2fx%2fhub", "nobody", "bGlzdGVu", later), "sb://x/hub", UnauthorizedAccess, 401, "InvalidSignature: The token has an invalid signature."},
		"resource changed":           {strings.Replace(good, "fhub", "fhu", 1), "sb://x/hub", UnauthorizedAccess, 401, "InvalidSignature"},
		"resource encoded otherwise": {strings.Replace(good, "%3a", "%3A", 1), "sb://x/hub", UnauthorizedAccess, 401, "InvalidSignature"},
		"expiry changed":             {strings.Replace(good, "se=18", "se=19", 1), "sb://x/hub", UnauthorizedAccess, 401, "InvalidSignature"},
		"expired":                    {token("sb%3a%2f%2fx%2fhub", "listen", "bGlzdGVu", c.now()), "sb://x/hub", UnauthorizedAccess, 401, "ExpiredToken: The token is expired. Expiration time: 2027-01-15T08:00:00.000Z"},
		"expired, wrong key":         {token("sb%3a%2f%2fx%2fhub", "listen", "xxx", c.now()), "sb://x/hub", UnauthorizedAccess, 401, "InvalidSignature"},
		"for another hub":            {good, "sb://x/hub2", UnauthorizedAccess, 401, "does not cover"},
		"for a partition":            {token("sb%3a%2f%2fx%2fhub%2fPartitions%2f1", "listen", "bGlzdGVu", later), "sb://x/hub", UnauthorizedAccess, 401, "does not cover"},
		"for another partition":      {token("sb%3a%2f%2fx%2fhub%2fPartitions%2f1", "listen", "bGlzdGVu", later), "sb://x/hub/Partitions/11", UnauthorizedAccess, 401, "does not cover"},
		"hub rule for namespace":     {token("sb%3a%2f%2fx", "hub-send", "hub key", later), "sb://x/hub", UnauthorizedAccess, 401, "InvalidSignature"},
		"hub rule for other hub":     {token("sb%3a%2f%2fx%2fhub2", "hub-send", "hub key", later), "sb://x/hub2", UnauthorizedAccess, 401, "InvalidSignature"},
		"empty secondary key":        {token("sb%3a%2f%2fx%2fhub", "listen", "", later), "sb://x/hub", UnauthorizedAccess, 401, "InvalidSignature"},
		"unknown hub":                {good, "sb://x/nobody/Partitions/0", NotFound, 404, "The messaging entity 'sb://ns/nobody' could not be found."},
		"no signature":               {"SharedAccessSignature sr=x&se=1&skn=listen", "sb://x/hub", ArgumentError, 400, "'sig' is missing"},
		"no rule":                    {"SharedAccessSignature sr=x&se=1&sig=a", "sb://x/hub", ArgumentError, 400, "'skn' is missing"},
		"no fields":                  {"SharedAccessSignature x", "sb://x/hub", ArgumentError, 400, "'sr' is missing"},
		"expiry no number":           {"SharedAccessSignature sr=x&se=soon&sig=a&skn=b", "sb://x/hub", ArgumentError, 400, "'se' is not a number"},
		"expiry negative":            {"SharedAccessSignature sr=x&se=-1&sig=a&skn=b", "sb://x/hub", ArgumentError, 400, "'se' is not a number"},
		"bad escapes":                {"SharedAccessSignature sr=%zz&se=1&sig=a&skn=b", "sb://x/hub", ArgumentError, 400, "'sr' is not percent-encoded"},
		"bad escapes in signature":   {"SharedAccessSignature sr=x&se=1&sig=%&skn=b", "sb://x/hub", ArgumentError, 400, "'sig' is not percent-encoded"},
		"too long":                   {"SharedAccessSignature sr=" + strings.Repeat("x", maxToken), "sb://x/hub", ArgumentError, 400, "too long"},
		"empty":                      {"", "sb://x/hub", ArgumentError, 400, "it is empty"},
		"web token":                  {"eyJ.e30.sig", "sb://x/hub", UnauthorizedAccess, 401, "switched off"},
		"prefix only":                {"SharedAccessSignature ", "sb://x/hub", UnauthorizedAccess, 401, ""},
	} {
		_, err := n.Authorize(test.token, test.audience)
		t.Run(name, func(t *testing.T) { wantError(t, err, test.c, test.status, test.text) })
		for _, secret := range []string{"bGlzdGVu", "cm9vdA==", "hub key", "sig="} {
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error holds %q", name, secret)
			}
		}
	}
}

// A '+' in a signature may come as it is or as %2b.
func TestPlusInSignature(t *testing.T) {
	n, c := authNS(t)
	found := 0
	for i := range 200 {
		tok := token("x", "listen", "bGlzdGVu", c.now().Add(time.Duration(i+1)*time.Minute))
		if !strings.Contains(tok, "%2B") {
			continue
		}
		found++
		for _, as := range []string{"%2B", "%2b", "+"} {
			if _, err := n.Authorize(strings.ReplaceAll(tok, "%2B", as), "sb://x/hub"); err != nil {
				t.Errorf("%s: %v", as, err)
			}
		}
	}
	if found == 0 {
		t.Error("no signature with a plus")
	}
}

func TestWebTokens(t *testing.T) {
	c := newClock()
	o := testOptions()
	o.Now, o.AcceptJWT = c.now, true
	n := openNS(t, o)
	create(t, n, HubSpec{Name: "hub"})
	jwt := func(payload string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".sig"
	}
	later := c.now().Add(time.Hour)
	claim, err := n.Authorize(jwt(fmt.Sprintf(`{"exp":%d}`, later.Unix())), "sb://x/hub")
	if err != nil || !claim.Expires.Equal(later) || !claim.Rights.Has(Manage) {
		t.Errorf("%+v, %v", claim, err)
	}
	for _, tok := range []string{"opaque", jwt(`{}`), jwt(`nonsense`), "a.%.c"} {
		if claim, err := n.Authorize(tok, "sb://x/hub"); err != nil || !claim.Expires.IsZero() {
			t.Errorf("%s: %+v, %v", tok, claim, err)
		}
	}
	_, err = n.Authorize(jwt(fmt.Sprintf(`{"exp":%d}`, c.now().Unix())), "sb://x/hub")
	wantError(t, err, UnauthorizedAccess, 401, "ExpiredToken")
	_, err = n.Authorize("", "sb://x/hub")
	wantError(t, err, ArgumentError, 400, "empty")
	// A shared access signature is checked all the same.
	_, err = n.Authorize("SharedAccessSignature sr=x&se=1900000000&sig=a&skn=b", "sb://x/hub")
	wantError(t, err, UnauthorizedAccess, 401, "InvalidSignature")
}

func TestAuthorizePlain(t *testing.T) {
	n, _ := authNS(t)
	for _, test := range []struct {
		name, key string
		want      Claim
	}{
		{"listen", "bGlzdGVu", Claim{Rights: Listen, Rule: "listen"}},
		{DefaultRule, "second", Claim{Rights: AllRights, Rule: DefaultRule}},
		{"hub-send", "hub key", Claim{Path: "hub", Rights: Send, Rule: "hub-send"}},
	} {
		if got, err := n.AuthorizePlain(test.name, test.key); got != test.want || err != nil {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
	}
	for _, pair := range [][2]string{{"listen", ""}, {"listen", "x"}, {"nobody", "bGlzdGVu"}, {"", ""}} {
		_, err := n.AuthorizePlain(pair[0], pair[1])
		wantError(t, err, UnauthorizedAccess, 401, "InvalidSignature")
	}
}

func TestAllow(t *testing.T) {
	n, c := authNS(t)
	later := c.now().Add(time.Hour)
	for _, test := range []struct {
		claims  []Claim
		address string
		want    Rights
		ok      bool
	}{
		{nil, "hub", Send, false},
		{[]Claim{{Path: "", Rights: Listen, Expires: later}}, "hub/ConsumerGroups/g/Partitions/0", Listen, true},
		{[]Claim{{Path: "", Rights: Listen, Expires: later}}, "hub", Send, false},
		{[]Claim{{Path: "", Rights: Manage, Expires: later}}, "hub", Send, true},
		{[]Claim{{Path: "hub", Rights: Send, Expires: later}}, "HUB/Partitions/0", Send, true},
		{[]Claim{{Path: "hub", Rights: Send, Expires: later}}, "hub2", Send, false},
		{[]Claim{{Path: "hub/partitions/0", Rights: Send, Expires: later}}, "hub", Send, false},
		{[]Claim{{Path: "hub/partitions/0", Rights: Send}}, "hub/Partitions/0", Send, true},
		{[]Claim{{Path: "hub", Rights: Send, Expires: c.now().Add(-30 * time.Second)}}, "hub", Send, true},
		{[]Claim{{Path: "hub", Rights: Send, Expires: c.now().Add(-2 * time.Minute)}}, "hub", Send, false},
		{[]Claim{{Path: "hub", Rights: Send, Expires: c.now().Add(-2 * time.Minute)}, {Path: "", Rights: Send, Expires: later}}, "hub", Send, true},
		{[]Claim{{Path: "hub", Rights: Listen, Expires: later}, {Path: "hub", Rights: Send, Expires: later}}, "hub", Listen, false},
		{[]Claim{{Path: "hub", Rights: Listen, Expires: later}, {Path: "", Rights: Send, Expires: later}}, "hub", Send, true},
	} {
		var claims Claims
		for _, cl := range test.claims {
			claims.Put(cl)
		}
		err := n.Allow(&claims, ParseAddress(test.address), test.want)
		if (err == nil) != test.ok {
			t.Errorf("%+v on %s: %v", test.claims, test.address, err)
		}
		if err != nil {
			wantError(t, err, UnauthorizedAccess, 401, fmt.Sprintf("Unauthorized access. '%s' claim(s) are required to perform this operation. Resource: 'sb://ns/%s'.", test.want, strings.ToLower(test.address)))
		}
	}
}

func TestClaimsAreBounded(t *testing.T) {
	var claims Claims
	for i := range maxClaims + 50 {
		claims.Put(Claim{Path: fmt.Sprint(i), Rights: Send, Expires: time.Unix(int64(i), 0)})
	}
	if len(claims.byPath) != maxClaims {
		t.Errorf("%d claims", len(claims.byPath))
	}
	if _, ok := claims.byPath[fmt.Sprint(maxClaims+49)]; !ok {
		t.Error("the newest claim is not there")
	}
}

func TestRights(t *testing.T) {
	for text, want := range map[string]Rights{"listen": Listen, "Send": Send, "manage": Manage, "listen, SEND": Listen | Send} {
		var r Rights
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want {
			t.Errorf("%s: %v, %v", text, r, err)
		}
		var again Rights
		if b, err := r.MarshalText(); err != nil || again.UnmarshalText(b) != nil || again != r {
			t.Errorf("%s became %s, %v", text, b, err)
		}
	}
	for _, text := range []string{"", "read", "listen,", "listen+send"} {
		var r Rights
		if err := r.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
	if s := fmt.Sprintf("%v %+v %#v %s", Rule{Key: "kkk"}, Rule{Key: "kkk"}, Rule{Key: "kkk"}, &Rule{Key: "kkk"}); strings.Contains(s, "kkk") {
		t.Errorf("a printed rule shows its key: %s", s)
	}
}

func FuzzAuthorize(f *testing.F) {
	n, c := authNS(f)
	f.Add(token("sb%3a%2f%2fx%2fhub", "listen", "bGlzdGVu", c.now().Add(time.Hour)), "sb://x/hub")
	f.Add("SharedAccessSignature sr=&sig=&se=&skn=", "hub/Partitions/1")
	f.Add("a.b.c", "$cbs")
	f.Fuzz(func(t *testing.T, tok, audience string) {
		claim, err := n.Authorize(tok, audience)
		if err == nil && (claim.Rights == 0 || claim.Expires.IsZero()) {
			t.Fatalf("%+v", claim)
		}
	})
}
