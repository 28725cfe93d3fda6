package blob

import (
	"net/http"
	"strings"
	"time"
)

// conditions are those of a request, by Microsoft's "Specifying conditional
// headers for Blob service operations". The zero value is always met.
type conditions struct {
	match, noneMatch            string // without quotes
	modifiedSince, unmodifiedBy time.Time
}

// readConditions takes them out of the headers of a request.
func readConditions(h http.Header) (on conditions, err error) {
	for name, v := range map[string]*string{"If-Match": &on.match, "If-None-Match": &on.noneMatch} {
		tag := strings.TrimSpace(strings.Join(h.Values(name), ","))
		if strings.Contains(tag, ",") { // HTTP allows several, the service does not
			return on, refuse(multipleConditions)
		}
		*v = strings.Trim(tag, `"`) // quoted or not, both are usual
	}
	for name, v := range map[string]*time.Time{"If-Modified-Since": &on.modifiedSince, "If-Unmodified-Since": &on.unmodifiedBy} {
		text := h.Get(name)
		if text == "" {
			continue
		}
		if *v, err = http.ParseTime(text); err != nil {
			return on, refuse(invalidHeaderValue, "HeaderName", name, "HeaderValue", text)
		}
	}
	return on, nil
}

// tags reports whether an ETag is compared.
func (on conditions) tags() bool { return on.match != "" || on.noneMatch != "" }

// combined reports whether the conditions may stand together before a write.
func (on conditions) combined() bool {
	positive := on.match != "" || !on.unmodifiedBy.IsZero()
	negative := on.noneMatch != "" || !on.modifiedSince.IsZero()
	return !(positive && negative)
}

// same reports whether an ETag stands for what is there.
func (s stamp) same(tag string) bool {
	return tag == "*" || tag == strings.Trim(s.etag(), `"`)
}

// since reports whether the resource was modified after t. Clients know the
// time of a modification to the second.
func (s stamp) since(t time.Time) bool { return s.modified.Truncate(time.Second).After(t) }

// write checks the conditions before a write to what is there, or to nothing.
func (on conditions) write(there *stamp) error {
	switch {
	case !on.combined():
		return refuse(multipleConditions)
	case there == nil:
		if on.match != "" {
			return refuse(conditionNotMet)
		}
		return nil
	case on.noneMatch != "": // decides alone, also beside If-Modified-Since
		if there.same(on.noneMatch) {
			return refuse(conditionNotMet)
		}
	case on.match != "":
		if !there.same(on.match) {
			return refuse(conditionNotMet)
		}
	case !on.modifiedSince.IsZero() && !there.since(on.modifiedSince),
		!on.unmodifiedBy.IsZero() && there.since(on.unmodifiedBy):
		return refuse(conditionNotMet)
	}
	return nil
}

// read checks the conditions before a read of what is there: If-Match and
// If-Unmodified-Since, and one of If-None-Match and If-Modified-Since.
func (on conditions) read(there *stamp) error {
	switch {
	case on.noneMatch == "*":
		return refuse(unsatisfiableCondition)
	case on.match != "" && !there.same(on.match),
		!on.unmodifiedBy.IsZero() && there.since(on.unmodifiedBy):
		return refuse(conditionNotMet)
	}
	var unchanged []bool
	if on.noneMatch != "" {
		unchanged = append(unchanged, there.same(on.noneMatch))
	}
	if !on.modifiedSince.IsZero() {
		unchanged = append(unchanged, !there.since(on.modifiedSince))
	}
	for _, same := range unchanged {
		if !same {
			return nil
		}
	}
	if len(unchanged) > 0 {
		return notModified()
	}
	return nil
}
