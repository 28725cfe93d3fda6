package blob

import (
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxResults is the largest page of a list, and the default.
const maxResults = 5000

// listing is what a list is asked for.
type listing struct {
	prefix, delimiter string
	from              string // the first name of the page
	most              int
	metadata          bool
}

// readListing reads the query of a list. what are the values that include may
// have.
func readListing(q url.Values, what string) (l listing, err error) {
	l = listing{prefix: q.Get("prefix"), delimiter: q.Get("delimiter"), most: maxResults}
	if text := q.Get("maxresults"); text != "" {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return l, refuse(invalidQueryValue, "QueryParameterName", "maxresults", "QueryParameterValue", text, "Reason", "Not a number.")
		}
		if n < 1 {
			return l, refuse(outOfRangeQuery, "QueryParameterName", "maxresults", "QueryParameterValue", text,
				"MinimumAllowed", "1", "MaximumAllowed", strconv.Itoa(maxResults))
		}
		l.most = int(min(n, maxResults))
	}
	for _, list := range q["include"] {
		for word := range strings.SplitSeq(list, ",") {
			switch low := strings.ToLower(word); {
			case low == "metadata":
				l.metadata = true
			case low != "" && !strings.Contains(what, " "+low+" "):
				return l, refuse(invalidQueryValue, "QueryParameterName", "include", "QueryParameterValue", word, "Reason", "Invalid query parameter value.")
			}
		}
	}
	for _, name := range []string{"startfrom", "showonly", "where"} {
		if q.Get(name) != "" {
			return l, refuse(unsupportedQuery, "QueryParameterName", name, "QueryParameterValue", q.Get(name))
		}
	}
	if marker := q.Get("marker"); marker != "" {
		b, err := base64.RawURLEncoding.DecodeString(marker)
		if err != nil || len(b) == 0 {
			return l, refuse(outOfRangeInput, "QueryParameterName", "marker", "QueryParameterValue", marker)
		}
		l.from = string(b)
	}
	return l, nil
}

// marker is how clients hand a name back to us.
func marker(name string) string { return base64.RawURLEncoding.EncodeToString([]byte(name)) }

// listed is one entry of a list: a blob, or a prefix that several share.
type listed struct {
	name string
	blob *blob // nil for a prefix
}

// list returns a page of the blobs of a container, in the order of their
// names, and the first name of the next page.
func (s *store) list(containerName string, l listing) (page []listed, next string, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, err := s.container(containerName)
	if err != nil {
		return nil, "", err
	}
	i, _ := c.search(max(l.prefix, l.from))
	for i < len(c.blobs) && strings.HasPrefix(c.blobs[i].name, l.prefix) {
		b := c.blobs[i]
		e := listed{b.name, b}
		if shared, ok := l.shared(b.name); ok {
			e = listed{name: shared}
		}
		if len(page) == l.most {
			return page, e.name, nil
		}
		page = append(page, e)
		i++
		if e.blob == nil { // past all that begins so
			for i < len(c.blobs) && strings.HasPrefix(c.blobs[i].name, e.name) {
				i++
			}
		}
	}
	return page, "", nil
}

// shared is the part of a name up to the first delimiter behind the prefix.
func (l listing) shared(name string) (string, bool) {
	if l.delimiter == "" {
		return "", false
	}
	i := strings.Index(name[len(l.prefix):], l.delimiter)
	if i < 0 {
		return "", false
	}
	return name[:len(l.prefix)+i+len(l.delimiter)], true
}

// enumeration is the answer to a list. The elements are in the order of the
// service.
type enumeration struct {
	XMLName    xml.Name      `xml:"EnumerationResults"`
	Endpoint   string        `xml:"ServiceEndpoint,attr"`
	Container  string        `xml:"ContainerName,attr,omitempty"`
	Prefix     string        `xml:"Prefix,omitempty"`
	Marker     string        `xml:"Marker,omitempty"`
	MaxResults int           `xml:"MaxResults,omitempty"`
	Delimiter  string        `xml:"Delimiter,omitempty"`
	Containers *containerSet `xml:"Containers"`
	Blobs      *blobSet      `xml:"Blobs"`
	NextMarker string        `xml:"NextMarker"`
}

type blobSet struct{ Entries []any }

type blobEntry struct {
	XMLName    xml.Name       `xml:"Blob"`
	Name       entryName      `xml:"Name"`
	Properties blobProperties `xml:"Properties"`
	Metadata   *metadata      `xml:"Metadata"`
	OrMetadata string         `xml:"OrMetadata"`
}

type prefixEntry struct {
	XMLName xml.Name  `xml:"BlobPrefix"`
	Name    entryName `xml:"Name"`
}

type blobProperties struct {
	CreationTime       string `xml:"Creation-Time"`
	LastModified       string `xml:"Last-Modified"`
	Etag               string `xml:"Etag"`
	ContentLength      int    `xml:"Content-Length"`
	ContentType        string `xml:"Content-Type"`
	ContentEncoding    string `xml:"Content-Encoding"`
	ContentLanguage    string `xml:"Content-Language"`
	ContentCRC64       string `xml:"Content-CRC64"`
	ContentMD5         string `xml:"Content-MD5"`
	CacheControl       string `xml:"Cache-Control"`
	ContentDisposition string `xml:"Content-Disposition"`
	BlobType           string `xml:"BlobType"`
	AccessTier         string `xml:"AccessTier"`
	AccessTierInferred bool   `xml:"AccessTierInferred"`
	LeaseStatus        string `xml:"LeaseStatus"`
	LeaseState         string `xml:"LeaseState"`
	ServerEncrypted    bool   `xml:"ServerEncrypted"`
}

type containerSet struct {
	Containers []containerEntry `xml:"Container"`
}

type containerEntry struct {
	Name       string              `xml:"Name"`
	Properties containerProperties `xml:"Properties"`
	Metadata   *metadata           `xml:"Metadata"`
}

type containerProperties struct {
	LastModified          string `xml:"Last-Modified"`
	Etag                  string `xml:"Etag"`
	LeaseStatus           string `xml:"LeaseStatus"`
	LeaseState            string `xml:"LeaseState"`
	DefaultScope          string `xml:"DefaultEncryptionScope"`
	DenyScopeOverride     bool   `xml:"DenyEncryptionScopeOverride"`
	HasImmutabilityPolicy bool   `xml:"HasImmutabilityPolicy"`
	HasLegalHold          bool   `xml:"HasLegalHold"`
	ImmutableVersioning   bool   `xml:"ImmutableStorageWithVersioningEnabled"`
}

// entryName is the name of a blob. One that XML cannot hold is percent-encoded,
// as in the service since 2021-02-12.
type entryName struct {
	Encoded bool   `xml:"Encoded,attr,omitempty"`
	Text    string `xml:",chardata"`
}

func nameOf(name string) entryName {
	if strings.ContainsFunc(name, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
	}) {
		return entryName{true, url.PathEscape(name)}
	}
	return entryName{Text: name}
}

// listBlobs serves List Blobs.
func (c *call) listBlobs() error {
	l, err := readListing(c.query, " snapshots uncommittedblobs copy deleted tags versions deletedwithversions immutabilitypolicy legalhold permissions ")
	if err != nil {
		return err
	}
	page, next, err := c.account.store.list(c.target.container, l)
	if err != nil {
		return err
	}
	set := &blobSet{Entries: []any{}}
	for _, e := range page {
		if e.blob == nil {
			set.Entries = append(set.Entries, prefixEntry{Name: nameOf(e.name)})
			continue
		}
		set.Entries = append(set.Entries, e.blob.entry(l.metadata))
	}
	return c.enumerate(l, enumeration{Container: c.target.container, Blobs: set}, next)
}

// entry describes a blob in a list. The ETag has no quotes there.
func (b *blob) entry(withMetadata bool) blobEntry {
	e := blobEntry{Name: nameOf(b.name), Properties: blobProperties{
		CreationTime: httpDate(b.created), LastModified: httpDate(b.modified), Etag: strings.Trim(b.etag(), `"`),
		ContentLength: len(b.body), ContentType: b.content.Type, ContentEncoding: b.content.Encoding,
		ContentLanguage: b.content.Language, ContentMD5: b.content.MD5, CacheControl: b.content.Cache,
		ContentDisposition: b.content.Disposition, BlobType: "BlockBlob", AccessTier: "Hot", AccessTierInferred: true,
		LeaseStatus: "unlocked", LeaseState: "available", ServerEncrypted: true,
	}}
	if withMetadata {
		e.Metadata = &b.meta
	}
	return e
}

// listContainers serves List Containers.
func (c *call) listContainers() error {
	l, err := readListing(c.query, " deleted system ")
	if err != nil {
		return err
	}
	page, next := c.account.store.listContainers(l)
	set := &containerSet{}
	for _, each := range page {
		e := containerEntry{Name: each.name, Properties: containerProperties{
			LastModified: httpDate(each.modified), Etag: each.etag(), LeaseStatus: "unlocked", LeaseState: "available",
			DefaultScope: encryptionScope,
		}}
		if l.metadata {
			e.Metadata = &each.meta
		}
		set.Containers = append(set.Containers, e)
	}
	return c.enumerate(l, enumeration{Containers: set}, next)
}

// listContainers returns a page of the containers, without their blobs, and
// the first name of the next page.
func (s *store) listContainers(l listing) (page []container, next string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, _ := s.search(max(l.prefix, l.from))
	for _, c := range slices.Clip(s.containers[i:]) {
		if !strings.HasPrefix(c.name, l.prefix) {
			break
		}
		if len(page) == l.most {
			return page, c.name
		}
		page = append(page, container{name: c.name, stamp: c.stamp, meta: c.meta})
	}
	return page, ""
}

// enumerate answers with a list.
func (c *call) enumerate(l listing, e enumeration, next string) error {
	e.Endpoint = c.target.base
	e.Prefix, e.Delimiter, e.Marker = l.prefix, l.delimiter, c.query.Get("marker")
	if c.query.Has("maxresults") {
		e.MaxResults = l.most
	}
	if next != "" {
		e.NextMarker = marker(next)
	}
	b, err := xml.Marshal(e)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/xml")
	c.w.WriteHeader(http.StatusOK)
	_, _ = c.w.Write([]byte(xml.Header[:len(xml.Header)-1]))
	_, _ = c.w.Write(b)
	return nil
}
