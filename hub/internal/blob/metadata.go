package blob

import (
	"cmp"
	"encoding/xml"
	"net/http"
	"slices"
	"strings"
)

// metaPrefix begins the names of headers that carry metadata.
const metaPrefix = "x-ms-meta-"

// maxMetadata bounds names and values together, as in the service.
const maxMetadata = 8 << 10

// pair is one name with its value.
type pair struct {
	Name  string `json:"n"`
	Value string `json:"v"`
}

// metadata are pairs in the order of their names, which differ by more than
// case. They are never changed, only replaced.
type metadata []pair

func (m metadata) size() int {
	n := 0
	for _, p := range m {
		n += len(p.Name) + len(p.Value)
	}
	return n
}

// readMetadata takes the metadata out of the headers of a request. spelled
// gives names as the client wrote them, by their lower case.
func readMetadata(h http.Header, spelled map[string]string) (metadata, error) {
	var m metadata
	for header, values := range h {
		name, ok := strings.CutPrefix(strings.ToLower(header), metaPrefix)
		if !ok {
			continue
		}
		value := strings.Join(values, ",")
		switch {
		case name == "":
			return nil, refuse(emptyMetadataKey)
		case !identifier(name) || !printable(value):
			return nil, refuse(invalidMetadata)
		}
		m = append(m, pair{cmp.Or(spelled[name], name), value})
	}
	if m.size() > maxMetadata {
		return nil, refuse(metadataTooLarge)
	}
	slices.SortFunc(m, func(a, b pair) int { return cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	return m, nil
}

// identifier reports whether a name is one that C# would take, of ASCII: that
// is the rule of the service.
func identifier(name string) bool {
	for i, r := range []byte(name) {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// printable reports whether a value can travel in a header and in XML.
func printable(value string) bool {
	return !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r > '~' })
}

// write sets the headers that show the metadata. Their names are not brought
// into Go's spelling: clients compare them with the case in which they were
// set.
func (m metadata) write(h http.Header) {
	for _, p := range m {
		h[metaPrefix+p.Name] = []string{p.Value}
	}
}

// MarshalXML writes each pair as an element.
func (m metadata) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	if err := e.EncodeToken(start); err != nil {
		return err
	}
	for _, p := range m {
		if err := e.EncodeElement(p.Value, xml.StartElement{Name: xml.Name{Local: p.Name}}); err != nil {
			return err
		}
	}
	return e.EncodeToken(start.End())
}
