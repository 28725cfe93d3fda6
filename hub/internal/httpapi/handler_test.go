package httpapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/hubferry/hubferry/hub/internal/entity"
	"github.com/hubferry/hubferry/internal/keyhash"
	"github.com/hubferry/hubferry/internal/leaktest"
)

// api is a handler behind a real HTTP server.
type api struct {
	t  *testing.T
	ns *entity.Namespace
	s  *httptest.Server
}

func start(t *testing.T) *api {
	t.Helper()
	ns, err := entity.Open(t.Context(), entity.Options{
		Name: "ns", Hash: keyhash.EventHubs,
		Rules: []entity.Rule{
			{Name: "root", Key: "root key", Rights: entity.Manage},
			{Name: "send", Key: "send key", Rights: entity.Send | entity.Listen},
		},
		Now:     func() time.Time { return time.UnixMilli(1_800_000_000_123) },
		Storage: entity.Storage{MaintainEvery: time.Hour},
	})
	if err != nil {
		t.Fatal(err)
	}
	a := &api{t, ns, httptest.NewServer(New(Options{Namespace: ns, Retention: entity.Retention{For: 24 * time.Hour}}))}
	t.Cleanup(func() {
		a.s.Close()
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func TestMain(m *testing.M) {
	http.DefaultTransport.(*http.Transport).DisableKeepAlives = true // they would look like leaks
	os.Exit(leaktest.Main(m, func() error { return goleak.Find() }))
}

// token signs as the REST samples do: the resource is the URL, encoded.
func token(resource, rule, key string) string {
	sr := url.QueryEscape(resource)
	const se = "1800003600"
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(sr + "\n" + se))
	return "SharedAccessSignature sr=" + sr + "&sig=" + url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil))) + "&se=" + se + "&skn=" + rule
}

// do sends a request with the root rule's token for exactly this path, as
// Azure's Go client signs.
func (a *api) do(method, path, body string, header ...string) (int, string, http.Header) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.s.URL+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Authorization", token("https://ns.servicebus.windows.net"+strings.SplitN(path, "?", 2)[0], "root", "root key"))
	if strings.Contains(path, "$") && strings.HasPrefix(path, "/$") {
		req.Header.Set("Authorization", token("https://ns.servicebus.windows.net/", "root", "root key"))
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			req.Header.Del(header[i])
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header
}

func (a *api) want(status int, part string, method, path, body string, header ...string) string {
	a.t.Helper()
	got, text, _ := a.do(method, path, body, header...)
	if got != status || !strings.Contains(text, part) && !strings.Contains(html.UnescapeString(text), part) {
		a.t.Errorf("%s %s: %d %s, want %d with %q", method, path, got, text, status, part)
	}
	return text
}

// The types with which azure-event-hubs-go reads and writes descriptions.
type (
	clientFeed struct {
		Title   string        `xml:"title"`
		Entries []clientEntry `xml:"entry"`
	}
	clientEntry struct {
		XMLName xml.Name       `xml:"entry"`
		Title   string         `xml:"title"`
		Content *clientContent `xml:"content"`
	}
	clientContent struct {
		XMLName        xml.Name   `xml:"content"`
		Type           string     `xml:"type,attr"`
		HubDescription *clientHub `xml:"EventHubDescription"`
	}
	clientHub struct {
		XMLName                xml.Name   `xml:"EventHubDescription"`
		MessageRetentionInDays *int32     `xml:"MessageRetentionInDays,omitempty"`
		Status                 *string    `xml:"Status,omitempty"`
		CreatedAt              *time.Time `xml:"CreatedAt,omitempty"`
		UpdatedAt              *time.Time `xml:"UpdatedAt,omitempty"`
		PartitionCount         *int32     `xml:"PartitionCount,omitempty"`
		PartitionIDs           *[]string  `xml:"PartitionIds>string,omitempty"`
	}
)

const putFour = `<?xml version="1.0"?><entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml">` +
	`<EventHubDescription xmlns:i="http://www.w3.org/2001/XMLSchema-instance" xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect">` +
	`<MessageRetentionInDays>3</MessageRetentionInDays><PartitionCount>4</PartitionCount></EventHubDescription></content></entry>`

func TestHubLifecycle(t *testing.T) {
	a := start(t)
	status, text, header := a.do("PUT", "/Orders?api-version=2014-01&timeout=60", putFour)
	if status != 201 || header.Get("Content-Type") != "application/atom+xml;type=entry;charset=utf-8" {
		t.Fatalf("%d %s %v", status, text, header)
	}
	h, err := a.ns.Hub("orders")
	if err != nil || h.PartitionCount() != 4 || h.Spec().Retention.For != 72*time.Hour {
		t.Fatalf("%+v, %v", h, err)
	}
	for _, path := range []string{"/Orders?api-version=2014-01", "/orders", "/ORDERS/"} {
		var e clientEntry
		if err := xml.Unmarshal([]byte(a.want(200, "", "GET", path, "")), &e); err != nil {
			t.Fatal(err)
		}
		d := e.Content.HubDescription
		if e.Title != "Orders" || e.Content.Type != "application/xml" || *d.PartitionCount != 4 || *d.MessageRetentionInDays != 3 ||
			*d.Status != "Active" || strings.Join(*d.PartitionIDs, " ") != "0 1 2 3" || !d.CreatedAt.Equal(h.CreatedAt()) {
			t.Errorf("%+v %+v", e, d)
		}
	}
	conflict := a.want(409, "<Error><Code>409</Code><Detail>SubCode=40900. Conflict.", "PUT", "/orders", putFour)
	if !strings.HasPrefix(conflict, "<?xml") {
		t.Error(conflict)
	}
	a.want(200, "<PartitionCount>6</PartitionCount>", "PUT", "/orders", strings.ReplaceAll(putFour, ">4<", ">6<"), "If-Match", "*")
	a.want(400, "cannot be lowered", "PUT", "/orders", putFour, "If-Match", "*")
	a.want(404, "could not be found", "PUT", "/nobody", putFour, "If-Match", "*")
	a.want(200, "", "DELETE", "/orders", "")
	select {
	case <-h.Deleted():
	default:
		t.Error("the hub is not deleted")
	}
	a.want(404, "<Error><Code>404</Code><Detail>The messaging entity 'sb://ns/orders' could not be found.", "GET", "/orders", "")
	a.want(404, "", "DELETE", "/orders", "")
	a.want(201, "", "PUT", "/a/b", "")
	if h, err := a.ns.Hub("a/b"); err != nil || h.Spec().Retention.For != 24*time.Hour {
		t.Errorf("defaults: %+v, %v", h, err)
	}
}

// The whole entry, so that no element, order or name space changes unnoticed.
func TestHubEntry(t *testing.T) {
	a := start(t)
	a.want(201, "", "PUT", "/hub", `<entry xmlns='http://www.w3.org/2005/Atom'><content type='application/xml'><EventHubDescription>
		<AuthorizationRules><AuthorizationRule i:type="SharedAccessAuthorizationRule" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">
		<ClaimType>SharedAccessKey</ClaimType><ClaimValue>None</ClaimValue><Rights><AccessRights>Send</AccessRights><AccessRights>Listen</AccessRights></Rights>
		<KeyName>mine</KeyName><PrimaryKey>k&amp;1</PrimaryKey><SecondaryKey>k2</SecondaryKey></AuthorizationRule></AuthorizationRules>
		<Status>SendDisabled</Status><UserMetadata>a &lt; b</UserMetadata><PartitionCount>1</PartitionCount></EventHubDescription></content></entry>`)
	text := strings.ReplaceAll(a.want(200, "", "GET", "/hub?api-version=2014-01", ""), a.s.URL, "http://server")
	want := `<?xml version="1.0" encoding="UTF-8"?>
<entry xmlns="http://www.w3.org/2005/Atom"><id>http://server/hub?api-version=2014-01</id><title type="text">hub</title>` +
		`<published>2027-01-15T08:00:00.123Z</published><updated>2027-01-15T08:00:00.123Z</updated><author><name>ns</name></author>` +
		`<link rel="self" href="http://server/hub?api-version=2014-01"></link><content type="application/xml">` +
		`<EventHubDescription xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">` +
		`<MessageRetentionInDays>1</MessageRetentionInDays><AuthorizationRules><AuthorizationRule i:type="SharedAccessAuthorizationRule">` +
		`<ClaimType>SharedAccessKey</ClaimType><ClaimValue>None</ClaimValue><Rights><AccessRights>Send</AccessRights><AccessRights>Listen</AccessRights></Rights>` +
		`<CreatedTime>2027-01-15T08:00:00.123Z</CreatedTime><ModifiedTime>2027-01-15T08:00:00.123Z</ModifiedTime>` +
		`<KeyName>mine</KeyName><PrimaryKey>k&amp;1</PrimaryKey><SecondaryKey>k2</SecondaryKey></AuthorizationRule></AuthorizationRules>` +
		`<Status>SendDisabled</Status><UserMetadata>a &lt; b</UserMetadata><CreatedAt>2027-01-15T08:00:00.123Z</CreatedAt><UpdatedAt>2027-01-15T08:00:00.123Z</UpdatedAt>` +
		`<PartitionCount>1</PartitionCount><PartitionIds xmlns:d2p1="http://schemas.microsoft.com/2003/10/Serialization/Arrays"><d2p1:string>0</d2p1:string></PartitionIds>` +
		`</EventHubDescription></content></entry>`
	if diff := cmp.Diff(want, text); diff != "" {
		t.Error(diff)
	}
	// What was read can be written back.
	a.want(200, "<KeyName>mine</KeyName>", "PUT", "/hub", text, "If-Match", "*")
	// The hub's own rule can be used at once.
	if _, err := a.ns.Authorize(token("sb://x/hub", "mine", "k&1"), "sb://x/hub"); err != nil {
		t.Error(err)
	}
}

func TestCompactedHub(t *testing.T) {
	a := start(t)
	put := func(retention string) string {
		return `<entry><content><EventHubDescription>` + retention + `</EventHubDescription></content></entry>`
	}
	a.want(201, "<RetentionDescription><CleanupPolicy>Compact</CleanupPolicy><TombstoneRetentionTimeInHours>5</TombstoneRetentionTimeInHours></RetentionDescription>", "PUT", "/c",
		put(`<RetentionDescription><CleanupPolicy>Compact</CleanupPolicy><TombstoneRetentionTimeInHours>5</TombstoneRetentionTimeInHours></RetentionDescription>`))
	h, _ := a.ns.Hub("c")
	if diff := cmp.Diff(entity.Retention{Compact: true, Tombstones: 5 * time.Hour}, h.Spec().Retention); diff != "" {
		t.Error(diff)
	}
	a.want(200, "DeleteOrCompact", "PUT", "/c", put(`<RetentionDescription><CleanupPolicy>DeleteOrCompact</CleanupPolicy><RetentionTimeInHours>7</RetentionTimeInHours></RetentionDescription>`), "If-Match", "*")
	if diff := cmp.Diff(entity.Retention{Compact: true, For: 7 * time.Hour}, h.Spec().Retention); diff != "" {
		t.Error(diff)
	}
	a.want(200, "", "PUT", "/c", put(`<RetentionDescription><CleanupPolicy>Delete</CleanupPolicy><RetentionTimeInHours>9</RetentionTimeInHours></RetentionDescription>`), "If-Match", "*")
	if diff := cmp.Diff(entity.Retention{For: 9 * time.Hour}, h.Spec().Retention); diff != "" {
		t.Error(diff)
	}
}

func TestBadDescriptions(t *testing.T) {
	a := start(t)
	in := func(description string) string {
		return `<entry><content><EventHubDescription>` + description + `</EventHubDescription></content></entry>`
	}
	for body, part := range map[string]string{
		"<entry>":                                 "not a valid ATOM entry",
		"nonsense":                                "not a valid ATOM entry",
		"<feed></feed>":                           "not a valid ATOM entry",
		in("") + "<x/>":                           "goes on behind",
		in("<PartitionCount>x</PartitionCount>"):  "not a valid ATOM entry",
		in("<PartitionCount>0</PartitionCount>"):  "PartitionCount: 0",
		in("<PartitionCount>33</PartitionCount>"): "33 is not between 1 and 32",
		in("<MessageRetentionInDays>-2</MessageRetentionInDays>"):                                                                                                    "MessageRetentionInDays: -2",
		in("<MessageRetentionInDays>999999999999</MessageRetentionInDays>"):                                                                                          "MessageRetentionInDays: 999999999999",
		in("<Status>Sleeping</Status>"):                                                                                                                              "Status: 'Sleeping'",
		in("<RetentionDescription><CleanupPolicy>x</CleanupPolicy></RetentionDescription>"):                                                                          "CleanupPolicy: 'x'",
		in("<RetentionDescription><RetentionTimeInHours>-1</RetentionTimeInHours></RetentionDescription>"):                                                           "out of range",
		in("<AuthorizationRules><AuthorizationRule><KeyName>r</KeyName><PrimaryKey>s3cret</PrimaryKey></AuthorizationRule></AuthorizationRules>"):                    "AuthorizationRule 'r'",
		in("<AuthorizationRules><AuthorizationRule><KeyName>r</KeyName><Rights><AccessRights>Send</AccessRights></Rights></AuthorizationRule></AuthorizationRules>"): "'r' has no key",
	} {
		if text := a.want(400, part, "PUT", "/hub", body); strings.Contains(text, "s3cret") {
			t.Errorf("a secret in %s", text)
		}
	}
	a.want(413, "too large", "PUT", "/hub", strings.Repeat("x", maxBody+1))
	a.want(400, "is not allowed", "PUT", "/b%20d", "")
	if hubs := a.ns.Hubs(); len(hubs) != 0 {
		t.Errorf("hubs: %v", hubs)
	}
}

func TestLists(t *testing.T) {
	a := start(t)
	for i := range 5 {
		a.want(201, "", "PUT", fmt.Sprintf("/hub%d", i), putFour)
	}
	list := func(query string) string {
		t.Helper()
		var f clientFeed
		text := a.want(200, "", "GET", "/$Resources/eventhubs"+query, "")
		if err := xml.Unmarshal([]byte(text), &f); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range f.Entries {
			names = append(names, fmt.Sprint(e.Title, ":", *e.Content.HubDescription.PartitionCount))
		}
		return f.Title + " " + strings.Join(names, " ")
	}
	for query, want := range map[string]string{
		"": "EventHubs hub0:4 hub1:4 hub2:4 hub3:4 hub4:4", "?api-version=2017-04&$skip=1&$top=2": "EventHubs hub1:4 hub2:4",
		"?$skip=9": "EventHubs ", "?$top=0": "EventHubs ",
	} {
		if got := list(query); got != want {
			t.Errorf("%s: %s", query, got)
		}
	}
	a.want(400, "$top", "GET", "/$Resources/EventHubs?$top=many", "")
	_, _, header := a.do("GET", "/$Resources/EventHubs", "")
	if header.Get("Content-Type") != "application/atom+xml;type=feed;charset=utf-8" {
		t.Error(header)
	}
}

func TestConsumerGroups(t *testing.T) {
	a := start(t)
	a.want(201, "", "PUT", "/hub", putFour)
	text := a.want(201, "<ConsumerGroupDescription", "PUT", "/hub/consumergroups/Mine", `<entry><content><ConsumerGroupDescription><UserMetadata>m</UserMetadata></ConsumerGroupDescription></content></entry>`)
	for _, part := range []string{`<title type="text">Mine</title>`, "<CreatedAt>2027-01-15T08:00:00.123Z</CreatedAt>", "<UserMetadata>m</UserMetadata>"} {
		if !strings.Contains(text, part) {
			t.Errorf("%s is not in %s", part, text)
		}
	}
	a.want(409, "SubCode=40900", "PUT", "/hub/ConsumerGroups/mine", "")
	a.want(200, "Mine", "GET", "/hub/consumergroups/mine", "")
	list := a.want(200, "$Default", "GET", "/hub/consumergroups", "")
	if strings.Count(list, "<entry") != 2 {
		t.Error(list)
	}
	a.want(404, "could not be found", "GET", "/hub/consumergroups/nobody", "")
	a.want(404, "could not be found", "GET", "/nobody/consumergroups/mine", "")
	a.want(404, "could not be found", "GET", "/nobody/consumergroups", "")
	a.want(400, "cannot be deleted", "DELETE", "/hub/consumergroups/$Default", "")
	a.want(400, "cannot be changed", "PUT", "/hub/consumergroups/mine", "", "If-Match", "*")
	a.want(200, "", "DELETE", "/hub/consumergroups/MINE", "")
	a.want(404, "", "DELETE", "/hub/consumergroups/mine", "")
}

func TestPartitions(t *testing.T) {
	a := start(t)
	a.want(201, "", "PUT", "/hub", putFour)
	h, _ := a.ns.Hub("hub")
	for range 3 {
		if _, err := h.Partitions()[1].Append(t.Context(), []entity.Entry{{Message: []byte("x")}}); err != nil {
			t.Fatal(err)
		}
	}
	text := a.want(200, "<PartitionDescription", "GET", "/hub/consumergroups/$Default/partitions/1", "")
	for _, part := range []string{"<BeginSequenceNumber>0</BeginSequenceNumber>", "<EndSequenceNumber>2</EndSequenceNumber>", "<LastEnqueuedOffset>50</LastEnqueuedOffset>", "<LastEnqueuedTimeUtc>2027-01-15T08:00:00.123Z<"} {
		if !strings.Contains(text, part) {
			t.Errorf("%s is not in %s", part, text)
		}
	}
	a.want(200, "<EndSequenceNumber>-1</EndSequenceNumber>", "GET", "/hub/consumergroups/$Default/partitions/0", "")
	if list := a.want(200, "", "GET", "/hub/consumergroups/$Default/partitions", ""); strings.Count(list, "<PartitionDescription") != 4 {
		t.Error(list)
	}
	a.want(400, "between 0 and 4-1", "GET", "/hub/consumergroups/$Default/partitions/4", "")
	a.want(404, "", "GET", "/hub/consumergroups/nobody/partitions/1", "")
	a.want(501, "AMQP", "POST", "/hub/messages", "x")
}

func TestAuthorization(t *testing.T) {
	a := start(t)
	a.want(201, "", "PUT", "/hub", putFour)
	for name, test := range map[string]struct{ header, part string }{
		"none":           {"", "MissingToken"},
		"no manage":      {token("https://x/hub", "send", "send key"), "Manage claims required for this operation."},
		"wrong key":      {token("https://x/hub", "root", "send key"), "InvalidSignature"},
		"other hub":      {token("https://x/hub2", "root", "root key"), "does not cover"},
		"malformed":      {"SharedAccessSignature sr=x", "MalformedToken"},
		"basic":          {"Basic cm9vdDpyb290", "switched off"},
		"bearer":         {"Bearer a.b.c", "switched off"},
		"another's path": {token("https://x/hub/consumergroups/a", "root", "root key"), "does not cover"},
	} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			// Unauthorised requests learn nothing of what is there.
			for _, path := range []string{"/hub", "/nobody"} {
				if path == "/nobody" && name == "no manage" {
					continue
				}
				status, text, _ := a.do(method, path, putFour, "Authorization", test.header)
				if status != 401 || path == "/hub" && !strings.Contains(text, test.part) || !strings.Contains(text, "<Code>401</Code>") {
					t.Errorf("%s %s %s: %d %s", name, method, path, status, text)
				}
			}
		}
	}
	if _, err := a.ns.Hub("hub"); err != nil {
		t.Error(err)
	}
	for _, resource := range []string{"https://x/", "x", "sb://x/hub", "https://x:1/HUB"} {
		a.want(200, "", "GET", "/hub", "", "Authorization", token(resource, "root", "root key"))
	}
	a.want(401, "", "GET", "/$Resources/EventHubs", "", "Authorization", token("https://x/hub", "root", "root key"))
}

func TestElsewhere(t *testing.T) {
	a := start(t)
	for _, path := range []string{"/", "/$other", "/$Resources/Queues", "/$cbs"} {
		a.want(404, "<Code>404</Code>", "GET", path, "")
	}
	for path, methods := range map[string]string{"/hub": "POST PATCH", "/$Resources/EventHubs": "PUT", "/hub/consumergroups": "DELETE", "/hub/consumergroups/g/partitions": "PUT", "/health": "POST"} {
		for method := range strings.FieldsSeq(methods) {
			a.want(405, "<Code>405</Code>", method, path, "")
		}
	}
}

func TestHealth(t *testing.T) {
	a := start(t)
	status, text, header := a.do("GET", "/health", "", "Authorization", "")
	if status != 200 || text != `{"status":"healthy","message":"Service is healthy."}` || !strings.HasPrefix(header.Get("Content-Type"), "application/json") {
		t.Errorf("%d %s %v", status, text, header)
	}
	if err := a.ns.Close(); err != nil {
		t.Fatal(err)
	}
	status, text, _ = a.do("GET", "/health", "")
	if status != 503 || text != `{"status":"unhealthy","message":"Service not available. Please try after some time."}` {
		t.Errorf("%d %s", status, text)
	}
}

func FuzzInput(f *testing.F) {
	f.Add(putFour)
	f.Add(`<entry><content><EventHubDescription><Status>Active</Status></EventHubDescription></content></entry>`)
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest(http.MethodPut, "/hub", strings.NewReader(body))
		in, err := readInput(r)
		if err != nil {
			return
		}
		var spec entity.HubSpec
		if in.Hub.apply(&spec) == nil && (spec.Partitions < 0 || spec.Retention.For < 0 || spec.Retention.Tombstones < 0) {
			t.Fatalf("%+v", spec)
		}
	})
}
