package config

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// Address is a place as people write it everywhere:
//
//	connection/entity[/partition][@sequence]     west/telemetry/3@1841
//
// The entity is a hub, topic, queue or table. "%", "/", "@" and ";" inside a name are
// percent-encoded.
type Address struct {
	Connection string
	Entity     string
	Partition  string // "" means all
	// Sequence is the number of an event, if HasSequence is set.
	Sequence    int64
	HasSequence bool
}

// ParseAddress parses an address. The error says what an address looks like.
func ParseAddress(text string) (Address, error) {
	var a Address
	rest, sequence, has := strings.Cut(text, "@")
	parts := strings.Split(rest, "/")
	if text == "" {
		return a, errors.New("expected an address such as west/telemetry, found nothing")
	}
	if len(parts) < 2 || len(parts) > 3 {
		return a, fmt.Errorf("expected an address such as west/telemetry (connection/entity[/partition][@sequence]), found %s", quote(text))
	}
	for i, p := range parts {
		name, err := url.PathUnescape(p)
		if err != nil {
			return a, fmt.Errorf("%s holds a %% that is no escape; write %%25 for the character itself", quote(text))
		}
		if name == "" {
			return a, fmt.Errorf("a part of the address %s is empty", quote(text))
		}
		parts[i] = name
	}
	a.Connection, a.Entity = parts[0], parts[1]
	if len(parts) == 3 {
		a.Partition = parts[2]
	}
	if has {
		n, err := strconv.ParseInt(sequence, 10, 64)
		if err != nil || n < 0 {
			return a, fmt.Errorf("what follows @ in %s is a sequence number; write %%40 for the character itself", quote(text))
		}
		if a.Partition == "" {
			return a, fmt.Errorf("the sequence number in %s needs a partition before it, as in west/telemetry/3@1841", quote(text))
		}
		a.Sequence, a.HasSequence = n, true
	}
	return a, nil
}

// quote shows a text that may be a whole connection string in the wrong place.
func quote(text string) string {
	if len(text) > 80 || strings.ContainsAny(text, ";=\n") {
		return "text of another kind"
	}
	return strconv.Quote(text)
}

var addressEscaper = strings.NewReplacer("%", "%25", "/", "%2F", "@", "%40", ";", "%3B")

// String returns the address in the form that ParseAddress reads.
func (a Address) String() string {
	s := addressEscaper.Replace(a.Connection) + "/" + addressEscaper.Replace(a.Entity)
	if a.Partition != "" {
		s += "/" + addressEscaper.Replace(a.Partition)
	}
	if a.HasSequence {
		s += "@" + strconv.FormatInt(a.Sequence, 10)
	}
	return s
}

// nameRule is what connections and tasks may be called: their names appear in
// addresses, in provenance and in file names without being escaped.
var nameRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

const nameRuleText = `letters, digits, ".", "_" and "-", beginning with a letter or digit, at most 128`

// placeholderRule finds a {name} that no forEach replaced.
var placeholderRule = regexp.MustCompile(`\{([A-Za-z_][A-Za-z0-9_-]*)\}`)

// addressKey is an address in the file. It names a whole entity.
type addressKey struct {
	Address
	at *node
}

// decodeNode implements nodeDecoder.
func (k *addressKey) decodeNode(d *decoder, n *node) {
	k.at = n
	if n.broken {
		return
	}
	if n.kind != scalarNode {
		d.report.errorAt(n, "expected an address such as west/telemetry, found %s", n.describe())
		return
	}
	d.warnLiteral(n, nil)
	if m := placeholderRule.FindStringSubmatch(n.text); m != nil && !isSourceName(n.text) {
		d.report.errorAt(n, "{%s} needs a forEach in this task that gives it values", m[1])
		return
	}
	a, err := ParseAddress(n.text)
	switch {
	case err != nil:
		d.report.errorAt(n, "%s", hide(err.Error(), n.refs, 1))
	case a.HasSequence:
		d.report.errorAt(n, `an address with @ names one event; where reading begins is "start"`)
	case a.Partition != "":
		d.report.errorAt(n, "a task moves all partitions; leave the partition out of the address")
	default:
		k.Address = a
	}
}

// isSourceName reports whether every placeholder of an address stands for the name of the
// source hub.
func isSourceName(text string) bool {
	for _, m := range placeholderRule.FindAllStringSubmatch(text, -1) {
		if m[1] != "hub" && m[1] != "topic" {
			return false
		}
	}
	connection, _, _ := strings.Cut(text, "/")
	return !placeholderRule.MatchString(connection)
}

// placeholder returns the name of the first placeholder, or "".
func (k *addressKey) placeholder() string {
	if m := placeholderRule.FindStringSubmatch(k.Entity); m != nil {
		return m[1]
	}
	return ""
}

// isTemplate reports whether the entity depends on the source hub.
func (k *addressKey) isTemplate() bool { return k.placeholder() != "" }

// isSet reports whether there is a usable address.
func (k *addressKey) isSet() bool { return k.Connection != "" }
