package hubferry

import (
	"strconv"
	"strings"
	"time"
)

// The properties that tell where an event came from. Each is a text with one value per
// hop, separated by ";", the immediate source last; ReplID is of the immediate hop only.
// The first three names are those of Microsoft's guidance on Event Hubs federation.
const (
	ReplEnqueueTime = "repl-enqueue-time"
	ReplSequence    = "repl-sequence"
	ReplOffset      = "repl-offset"
	ReplSource      = "repl-source"
	ReplID          = "repl-id"

	// ReplEnqueuedTime is what the helper code beside the guidance writes instead of
	// ReplEnqueueTime. It is read as the same; Trail.HelperForm writes it.
	ReplEnqueuedTime = "repl-enqueued-time"
)

// TrailMode says how much provenance is added.
type TrailMode uint8

// The modes of a Trail.
const (
	TrailFull     TrailMode = iota // all five properties
	TrailStandard                  // the guidance's three
	TrailNone                      // nothing
)

// Trail is the provenance that a writer adds to each event: of which task and route it
// is, and how much.
type Trail struct {
	Mode TrailMode
	// Task and Route are configured names; with the part number they make the identity
	// of an output (G-3).
	Task, Route string
	// HelperForm writes repl-enqueued-time, in the form of Microsoft's helper code, in
	// the place of repl-enqueue-time.
	HelperForm bool
}

// Stamp is a rendered set of provenance properties. It reuses its buffer, so that
// rendering allocates nothing once it has grown.
type Stamp struct {
	names [5]string
	ends  [5]int
	n     int
	buf   []byte

	// The text of the last second, which events that come together share.
	second int64
	date   []byte

	// The escaped names of the trail that was rendered last.
	task, route string
	id          []byte
}

// Len returns the number of properties.
func (s *Stamp) Len() int { return s.n }

// At returns property i. The text is valid until the next Render.
func (s *Stamp) At(i int) (name string, text []byte) {
	from := 0
	if i > 0 {
		from = s.ends[i-1]
	}
	return s.names[i], s.buf[from:s.ends[i]]
}

// IsProvenance reports whether a property of that name is replaced by Render's, so that
// an encoder leaves the incoming one out.
func (t *Trail) IsProvenance(name string) bool {
	if t.Mode == TrailNone || len(name) < 7 || name[:5] != "repl-" {
		return false
	}
	switch name {
	case ReplEnqueueTime, ReplEnqueuedTime, ReplSequence, ReplOffset:
		return true
	case ReplSource, ReplID:
		return t.Mode == TrailFull
	}
	return false
}

// Render fills s with the provenance of an event that was read at e.Origin: the hops it
// already carries and one more. Lists of different length (another tool touched the
// event) are filled up with empty values, so that no hop shifts.
func (t *Trail) Render(e *Event, s *Stamp) {
	s.n, s.buf = 0, s.buf[:0]
	if t.Mode == TrailNone {
		return
	}
	prior, hops := priorTrail(e)
	timeName := ReplEnqueueTime
	if t.HelperForm {
		timeName = ReplEnqueuedTime
	}
	s.buf = t.appendTime(appendHops(s.buf, prior[0], hops), e.Time, s)
	s.end(timeName)
	s.buf = appendHops(s.buf, prior[1], hops)
	from := len(s.buf)
	s.buf = strconv.AppendInt(s.buf, e.Pos.Sequence, 10)
	to := len(s.buf)
	s.end(ReplSequence)
	s.buf = appendHops(s.buf, prior[2], hops)
	if e.Pos.Offset != "" {
		s.buf = append(s.buf, e.Pos.Offset...)
	} else {
		s.buf = append(s.buf, s.buf[from:to]...)
	}
	s.end(ReplOffset)
	if t.Mode != TrailFull {
		return
	}
	s.buf = append(appendHops(s.buf, prior[3], hops), e.Origin.Path()...)
	s.end(ReplSource)
	s.buf = t.appendID(s.buf, e.lineage, s)
	s.end(ReplID)
}

// priorTrail returns the four lists of hops that an event carries, and how many hops they tell
// of.
func priorTrail(e *Event) (prior [4]string, hops int) {
	if u, ok := e.form.(Untravelled); ok && e.content == nil && u.Untravelled() {
		return prior, 0
	}
	for i, name := range [...]string{ReplEnqueueTime, ReplSequence, ReplOffset, ReplSource} {
		prior[i] = priorHops(e, name)
		if prior[i] != "" {
			hops = max(hops, 1+strings.Count(prior[i], ";"))
		}
	}
	return prior, hops
}

func (s *Stamp) end(name string) {
	s.names[s.n], s.ends[s.n] = name, len(s.buf)
	s.n++
}

// appendTime writes ISO 8601 in UTC with the resolution that the time has, at least
// milliseconds; the helper's form is RFC 1123, as .NET's "R" format.
func (t *Trail) appendTime(dst []byte, at time.Time, s *Stamp) []byte {
	if t.HelperForm {
		return at.UTC().AppendFormat(dst, "Mon, 02 Jan 2006 15:04:05 GMT")
	}
	if second := at.Unix(); second != s.second || len(s.date) == 0 {
		s.second, s.date = second, at.UTC().AppendFormat(s.date[:0], "2006-01-02T15:04:05.")
	}
	dst = append(dst, s.date...)
	n := at.Nanosecond()
	if n%int(time.Millisecond) != 0 {
		return append(appendDigits(dst, n, 9), 'Z')
	}
	return append(appendDigits(dst, n/int(time.Millisecond), 3), 'Z')
}

// appendDigits writes a number with leading zeros.
func appendDigits(dst []byte, n, width int) []byte {
	from := len(dst)
	for range width {
		dst = append(dst, '0')
	}
	for i := len(dst) - 1; i >= from; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
	return dst
}

// appendID writes task/route/part; a "+" after the part says that more parts of the
// same input follow.
func (t *Trail) appendID(dst []byte, l *Lineage, s *Stamp) []byte {
	if s.task != t.Task || s.route != t.Route || len(s.id) == 0 {
		s.task, s.route = t.Task, t.Route
		s.id = append(append(s.id[:0], escapeName(t.Task)...), '/')
		s.id = append(append(s.id, escapeName(t.Route)...), '/')
	}
	dst = append(dst, s.id...)
	if l == nil {
		return append(dst, '0')
	}
	dst = strconv.AppendInt(dst, int64(l.Part), 10)
	if l.More {
		dst = append(dst, '+')
	}
	return dst
}

// priorHops returns the list that an event already carries under a name.
func priorHops(e *Event, name string) string {
	v, ok := e.Property(name)
	if !ok && name == ReplEnqueueTime {
		v, ok = e.Property(ReplEnqueuedTime)
	}
	if !ok {
		return ""
	}
	text, ok := v.AsText()
	if !ok {
		text = strings.ReplaceAll(v.String(), ";", "%3B")
	}
	return text
}

// appendHops writes the earlier hops of one list, filled up to n values, and the
// separator before the next.
func appendHops(dst []byte, list string, n int) []byte {
	if n == 0 {
		return dst
	}
	dst = append(dst, list...)
	have := 1 + strings.Count(list, ";")
	for range n - have + 1 {
		dst = append(dst, ';')
	}
	return dst
}

// Hop is one step of an event's way, as its provenance tells.
type Hop struct {
	EnqueueTime string
	Sequence    string
	Offset      string
	Source      string // the place's path
}

// Hops returns the way of an event, the immediate source last, or nil if it carries no
// provenance.
func Hops(e *Event) []Hop {
	var lists [4][]string
	n := 0
	for i, name := range [...]string{ReplEnqueueTime, ReplSequence, ReplOffset, ReplSource} {
		if text := priorHops(e, name); text != "" {
			lists[i] = strings.Split(text, ";")
			n = max(n, len(lists[i]))
		}
	}
	hops := make([]Hop, n)
	at := func(list []string, i int) string {
		if i < len(list) {
			return list[i]
		}
		return ""
	}
	for i := range hops {
		hops[i] = Hop{
			EnqueueTime: at(lists[0], i), Sequence: at(lists[1], i),
			Offset: at(lists[2], i), Source: at(lists[3], i),
		}
	}
	if n == 0 {
		return nil
	}
	return hops
}

// Identity identifies an output (G-3), as its provenance tells. It is comparable.
type Identity struct {
	Task, Route string // of the hop that wrote it
	Source      string // the path of the place that it was read from
	Sequence    int64  // its sequence number there
	Part        int    // the index of this part of a split input
}

// IdentityOf returns the identity of an event that a task wrote with its full trail. It is
// false for all other events.
func IdentityOf(e *Event) (id Identity, ok bool) {
	v, ok := e.Property(ReplID)
	if !ok {
		return id, false
	}
	text, _ := v.AsText()
	names := strings.Split(text, "/")
	if len(names) != 3 {
		return id, false
	}
	id.Task, id.Route = unescapeName(names[0]), unescapeName(names[1])
	var err error
	if id.Part, err = strconv.Atoi(strings.TrimSuffix(names[2], "+")); err != nil {
		return id, false
	}
	if id.Sequence, err = strconv.ParseInt(lastHop(e, ReplSequence), 10, 64); err != nil {
		return id, false
	}
	id.Source = lastHop(e, ReplSource)
	return id, id.Source != ""
}

// lastHop returns the last value of one of the lists.
func lastHop(e *Event, name string) string {
	list := priorHops(e, name)
	return list[strings.LastIndexByte(list, ';')+1:]
}

// EnqueueTime returns when an event was enqueued at its immediate source, or false if its
// provenance does not tell. A trail in the helper's form tells full seconds.
func EnqueueTime(e *Event) (time.Time, bool) {
	text := lastHop(e, ReplEnqueueTime)
	for _, layout := range [...]string{time.RFC3339Nano, time.RFC1123} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}
