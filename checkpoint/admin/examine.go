package admin

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/hubferry/hubferry"
)

// Severity says how much a finding matters.
type Severity uint8

// The severities.
const (
	// Notice is worth knowing and may be meant so.
	Notice Severity = iota
	// Warning is probably not meant so: work may be repeated or stand still.
	Warning
	// Trouble means that a partition does not move, or that events are missed or repeated.
	Trouble
)

// String returns the severity in lower case.
func (s Severity) String() string {
	return [...]string{"notice", "warning", "trouble"}[min(s, Trouble)]
}

// MarshalText returns the severity in lower case, for JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is one thing that is, or may be, wrong with the records of a store.
type Finding struct {
	Severity Severity    `json:"severity"`
	ID       hubferry.ID `json:"-"` // what it is about: a partition, or a group
	Text     string      `json:"text"`
	Hint     string      `json:"hint,omitempty"` // what to do about it
}

// ExamineNames finds groups that are one and the same under several names, so that the
// programs that use them share nothing although they read the same hub.
func ExamineNames(groups []hubferry.ID) []Finding {
	var found []Finding
	byFolded, byHub := map[string][]hubferry.ID{}, map[string][]hubferry.ID{}
	for _, g := range groups {
		folded := strings.ToLower(g.String())
		byFolded[folded] = append(byFolded[folded], g)
		hub := strings.ToLower(hubferry.ID{Namespace: host(g.Namespace), Hub: g.Hub, ConsumerGroup: g.ConsumerGroup}.String())
		byHub[hub] = append(byHub[hub], g)
		if host(g.Namespace) != g.Namespace && !isLocal(host(g.Namespace)) {
			found = append(found, Finding{
				Severity: Warning, ID: g,
				Text: fmt.Sprintf("the namespace %q has a port in its name", g.Namespace),
				Hint: "some SDKs keep the port of the endpoint and others drop it: leave the port out of the endpoint, so that all use one name",
			})
		}
	}
	for _, same := range byFolded {
		if len(same) > 1 {
			found = append(found, Finding{
				Severity: Trouble, ID: same[0],
				Text: "one group has records in several casings: " + names(same),
				Hint: "give every program the namespace, hub and group in lower case (the SDKs for Go and Java keep the case they are given), then move the progress with \"checkpoints copy\"",
			})
		}
	}
	for _, same := range byHub {
		if namespaces := distinct(same); len(namespaces) > 1 {
			found = append(found, Finding{
				Severity: Warning, ID: same[0],
				Text: "one hub and group has records under several namespaces: " + strings.Join(namespaces, ", "),
				Hint: "if these are one namespace, its programs share nothing: give all of them the same endpoint",
			})
		}
	}
	sortFindings(found)
	return found
}

// host returns a namespace without its port.
func host(namespace string) string {
	if h, _, err := net.SplitHostPort(namespace); err == nil {
		return h
	}
	return namespace
}

// isLocal reports whether a host is this machine, where several namespaces are told apart
// by their ports (G-1).
func isLocal(h string) bool {
	ip := net.ParseIP(h)
	return h == "localhost" || ip != nil && ip.IsLoopback()
}

func names(groups []hubferry.ID) string {
	var list []string
	for _, g := range groups {
		list = append(list, g.String())
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// distinct returns the namespaces of groups that differ in more than case. Local ones
// count once: their ports are their names.
func distinct(groups []hubferry.ID) []string {
	var list []string
	for _, g := range groups {
		n := strings.ToLower(g.Namespace)
		if !isLocal(host(n)) && !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list
}

// Examine finds what is wrong with the records of one group. Without the hub's answer in
// them it finds less.
func Examine(records []Record, now time.Time) []Finding {
	var found []Finding
	asked := slices.ContainsFunc(records, func(r Record) bool { return r.Info != nil })
	with := 0
	for i := range records {
		r := &records[i]
		found = append(found, examineOwner(r, asked, now)...)
		if r.Checkpoint == nil {
			continue
		}
		with++
		if f := examineCheckpoint(r, asked); f != nil {
			found = append(found, *f)
		}
	}
	if asked && with > 0 {
		for i := range records {
			if r := &records[i]; r.Info != nil && r.Checkpoint == nil {
				found = append(found, Finding{
					Severity: Notice, ID: r.ID, Text: "has no checkpoint, while other partitions of the group have one",
					Hint: "its reader begins at its configured start; \"checkpoints init\" chooses another place",
				})
			}
		}
	}
	sortFindings(found)
	return found
}

// examineCheckpoint judges one checkpoint.
func examineCheckpoint(r *Record, asked bool) *Finding {
	c, f := r.Checkpoint, &Finding{Severity: Trouble, ID: r.ID}
	switch {
	case c.Err != nil:
		f.Text = fmt.Sprintf("its checkpoint cannot be read: %v", c.Err)
		f.Hint = "this partition stands still; write the checkpoint anew with \"checkpoints set --overwrite\", or remove it by the store's own means"
	case r.Info == nil && asked:
		f.Severity = Warning
		f.Text = "has a checkpoint, but the hub has no such partition"
		f.Hint = "the hub was made anew with fewer partitions, or the name is wrong"
	case r.Info == nil:
		return nil
	case c.Incarnation != "" && r.Info.Place.Incarnation != "" && c.Incarnation != r.Info.Place.Incarnation:
		f.Text = "its checkpoint belongs to a hub that was deleted; the hub of this name was created later"
		f.Hint = "a task stops at it as at a gap; \"checkpoints init --at earliest --overwrite\" begins with the new hub"
	case c.Position.Sequence > r.Info.End.Sequence:
		f.Text = fmt.Sprintf("its checkpoint is at %d, beyond the hub's last event %d", c.Position.Sequence, r.Info.End.Sequence)
		f.Hint = "the hub was made anew, or the checkpoint is another hub's; events up to there would be skipped"
	case c.Position.Sequence < r.Info.Begin.Sequence:
		f.Severity = Warning
		f.Text = fmt.Sprintf("its checkpoint is at %d, but events up to %d are gone: %d will be missing", c.Position.Sequence, r.Info.Begin.Sequence,
			r.Info.Begin.Sequence-c.Position.Sequence)
		f.Hint = "retention has overtaken the reader; nobody has read this partition for long"
		if c.Position.Sequence < 0 {
			return nil // the start of the stream, wherever that is by now
		}
	default:
		return nil
	}
	return f
}

// examineOwner judges one ownership record.
func examineOwner(r *Record, asked bool, now time.Time) []Finding {
	if r.Owner == "" {
		return nil
	}
	switch {
	case asked && r.Info == nil && r.Checkpoint == nil:
		return []Finding{{
			Severity: Warning, ID: r.ID, Text: fmt.Sprintf("is owned by %q, but the hub has no such partition", r.Owner),
			Hint: "a program reads another hub, or another namespace, under this name",
		}}
	case !r.Active:
		return []Finding{{
			Severity: Notice, ID: r.ID,
			Text: fmt.Sprintf("its owner %q last renewed %s ago and did not give it back", r.Owner, now.Sub(r.Renewed).Round(time.Second)),
			Hint: "it died, or was cut off; whoever runs takes the partition over",
		}}
	default:
		return nil
	}
}
