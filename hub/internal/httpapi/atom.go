package httpapi

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/hubferry/hubferry/hub/internal/entity"
)

const atomNamespace = "http://www.w3.org/2005/Atom"

type feed struct {
	XMLName xml.Name  `xml:"feed"`
	XMLNS   string    `xml:"xmlns,attr"`
	Title   typedText `xml:"title"`
	ID      string    `xml:"id"`
	Updated string    `xml:"updated"`
	Link    link      `xml:"link"`
	Entries []*entry  `xml:"entry"`
}

type entry struct {
	XMLName   xml.Name  `xml:"entry"`
	XMLNS     string    `xml:"xmlns,attr,omitempty"`
	Base      string    `xml:"xml:base,attr,omitempty"`
	ID        string    `xml:"id"`
	Title     typedText `xml:"title"`
	Published string    `xml:"published"`
	Updated   string    `xml:"updated"`
	Author    author    `xml:"author"`
	Link      link      `xml:"link"`
	Content   content   `xml:"content"`
}

type typedText struct {
	Type string `xml:"type,attr"`
	Text string `xml:",chardata"`
}

func text(s string) typedText { return typedText{"text", s} }

type author struct {
	Name string `xml:"name"`
}

type link struct {
	Rel  string `xml:"rel,attr"`
	Href string `xml:"href,attr"`
}

type content struct {
	Type      string                `xml:"type,attr"`
	Hub       *hubDescription       `xml:"EventHubDescription"`
	Group     *groupDescription     `xml:"ConsumerGroupDescription"`
	Partition *partitionDescription `xml:"PartitionDescription"`
}

// reply is what is sent after success: an entry, a feed, or nothing.
type reply struct {
	status int
	entry  *entry
	feed   *feed
}

// entry begins the entry of a thing.
func (h *handler) entry(r *http.Request, title, path string, created, updated time.Time) *entry {
	id := address(r, path)
	if v := r.URL.Query().Get("api-version"); v != "" {
		id += "?api-version=" + url.QueryEscape(v)
	}
	return &entry{
		ID: id, Title: text(title), Published: stamp(created), Updated: stamp(updated),
		Author: author{h.ns.Name()}, Link: link{"self", id}, Content: content{Type: "application/xml"},
	}
}

// address is the URL of a path on this server, as the client reached it.
func address(r *http.Request, path string) string {
	u := url.URL{Scheme: "http", Host: r.Host, Path: "/" + path}
	if r.TLS != nil {
		u.Scheme = "https"
	}
	return u.String()
}

// write sends the reply.
func (p reply) write(w http.ResponseWriter, r *http.Request) {
	var body any
	var kind string
	switch {
	case p.entry != nil:
		p.entry.XMLNS = atomNamespace
		body, kind = p.entry, "application/atom+xml;type=entry;charset=utf-8"
	case p.feed != nil:
		self := address(r, r.URL.Path[1:])
		if r.URL.RawQuery != "" {
			self += "?" + r.URL.RawQuery
		}
		p.feed.XMLNS, p.feed.ID, p.feed.Link = atomNamespace, self, link{"self", self}
		p.feed.Updated = stamp(time.Now())
		for _, e := range p.feed.Entries {
			e.Base = self
		}
		body, kind = p.feed, "application/atom+xml;type=feed;charset=utf-8"
	default:
		w.WriteHeader(p.status)
		return
	}
	writeXML(w, p.status, kind, body)
}

// fault is how the service tells errors.
type fault struct {
	XMLName xml.Name `xml:"Error"`
	Code    int      `xml:"Code"`
	Detail  string   `xml:"Detail"`
}

// fail sends an error.
func fail(w http.ResponseWriter, err error) {
	e := entity.AsError(err)
	detail := e.Text
	if e.Status == http.StatusConflict {
		detail = "SubCode=40900. Conflict. " + detail
	}
	writeXML(w, e.Status, "application/xml; charset=utf-8", fault{Code: e.Status, Detail: detail})
}

func writeXML(w http.ResponseWriter, status int, kind string, body any) {
	b, err := xml.Marshal(body)
	if err != nil { // our own types: a fault of this package
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	b = append([]byte(xml.Header), b...)
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
