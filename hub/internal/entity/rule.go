package entity

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

func (r Rights) String() string {
	s := ""
	for _, w := range []struct {
		bit  Rights
		name string
	}{{Listen, "Listen"}, {Send, "Send"}, {Manage, "Manage"}} {
		if r&w.bit == 0 {
			continue
		}
		if s != "" {
			s += ","
		}
		s += w.name
	}
	return s
}

// DefaultRule is the name of the rule that every namespace has when no rules
// are given.
const DefaultRule = "RootManageSharedAccessKey"

// Rule is a shared access rule of a namespace or of a hub.
type Rule struct {
	Name string
	// Key and SecondaryKey are the texts of the keys, used as they are (not
	// base64-decoded). SecondaryKey may be empty.
	Key          string
	SecondaryKey string
	Rights       Rights
}

// String names the rule without its keys, so that they reach no log.
func (r Rule) String() string { return r.Name + "(" + r.Rights.String() + ")" }

// GoString is String: %#v must not show keys either.
func (r Rule) GoString() string { return r.String() }
