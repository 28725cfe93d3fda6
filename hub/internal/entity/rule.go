package entity

import (
	"fmt"
	"strings"
)

// Rights are what a rule or a claim allows.
type Rights uint8

// The three rights. Manage stands for all three, as at the service.
const (
	Listen Rights = 1 << iota
	Send
	Manage

	// AllRights is what Manage gives.
	AllRights = Listen | Send | Manage
)

// Has reports whether r includes all of want.
func (r Rights) Has(want Rights) bool {
	if r&Manage != 0 {
		r = AllRights
	}
	return r&want == want
}

var rightNames = []struct {
	bit  Rights
	name string
}{{Listen, "Listen"}, {Send, "Send"}, {Manage, "Manage"}}

// String returns the rights as the service writes them, with commas between.
func (r Rights) String() string {
	var names []string
	for _, w := range rightNames {
		if r&w.bit != 0 {
			names = append(names, w.name)
		}
	}
	return strings.Join(names, ",")
}

// UnmarshalText reads rights by their names in any case, with commas between.
func (r *Rights) UnmarshalText(text []byte) error {
	*r = 0
	for name := range strings.SplitSeq(string(text), ",") {
		name = strings.TrimSpace(name)
		known := false
		for _, w := range rightNames {
			if strings.EqualFold(w.name, name) {
				*r |= w.bit
				known = true
			}
		}
		if !known {
			return fmt.Errorf("the right %q is not known; expected listen, send, manage, or several with commas between", name)
		}
	}
	return nil
}

// MarshalText is what UnmarshalText reads.
func (r Rights) MarshalText() ([]byte, error) { return []byte(strings.ToLower(r.String())), nil }

// DefaultRule is the name of the rule that every namespace has when no rules
// are given.
const DefaultRule = "RootManageSharedAccessKey"

// Rule is a shared access rule of a namespace or of a hub.
type Rule struct {
	Name string `yaml:"name" jsonschema:"required" jsonschema_description:"Name of the rule: SharedAccessKeyName in a connection string."`
	// Key and SecondaryKey are the texts of the keys, used as they are (not
	// base64-decoded). SecondaryKey may be empty.
	Key          string `yaml:"key" jsonschema:"required" jsonschema_description:"Key of the rule: SharedAccessKey in a connection string. Any text."`
	SecondaryKey string `yaml:"secondaryKey" jsonschema_description:"A second key, for changing keys without an interruption."`
	// Rights are what the rule allows; at least one.
	Rights Rights `yaml:"rights" jsonschema:"required,example=listen" jsonschema_description:"What the rule allows: listen, send, manage, or several with commas between. Manage includes the others."`
}

// String names the rule without its keys, so that they reach no log.
func (r Rule) String() string { return r.Name + "(" + r.Rights.String() + ")" }

// GoString is String: %#v must not show keys either.
func (r Rule) GoString() string { return r.String() }
