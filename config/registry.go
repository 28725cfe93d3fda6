package config

import (
	"github.com/hubferry/hubferry"
)

// Registry is what the program was built with. It brings the keys of a configuration
// that this package does not know.
type Registry struct {
	Drivers []hubferry.Driver
	Stores  []hubferry.StoreKind
	Editors []hubferry.EditorKind
	// Condition compiles the expression of a target's "when"; nil means that the
	// program has no expressions, and a "when" is refused.
	Condition func(expression string) (hubferry.Condition, error)
	// Sections are further top-level keys.
	Sections []Section
}

// Section is a top-level key of the file that belongs to another part of the program,
// such as "hub". Load checks that it can be decoded; LoadInto decodes it for its owner.
type Section struct {
	Name        string
	Description string
	// Options returns a pointer to a fresh struct with the tags of hubferry.Options. If
	// it has a method Validate() []hubferry.Problem or Validate() error, that is called.
	Options func() any
}

// note adds to the description of a key of a task what this program cannot do.
func (r *Registry) note(f *field) string {
	if f.name == "when" && r.Condition == nil {
		return " This program has no expressions yet: the key is refused."
	}
	return ""
}

func (r *Registry) driver(name string) (hubferry.Driver, bool) {
	for _, d := range r.Drivers {
		if d.Name == name {
			return d, true
		}
	}
	return hubferry.Driver{}, false
}

func (r *Registry) store(name string) (hubferry.StoreKind, bool) {
	for _, s := range r.Stores {
		if s.Name == name {
			return s, true
		}
	}
	return hubferry.StoreKind{}, false
}

func (r *Registry) editor(name string) (hubferry.EditorKind, bool) {
	for _, e := range r.Editors {
		if e.Name == name {
			return e, true
		}
	}
	return hubferry.EditorKind{}, false
}

func (r *Registry) driverNames() []string {
	names := make([]string, len(r.Drivers))
	for i, d := range r.Drivers {
		names[i] = d.Name
	}
	return names
}

func (r *Registry) storeNames() []string {
	names := make([]string, len(r.Stores))
	for i, s := range r.Stores {
		names[i] = s.Name
	}
	return names
}

func (r *Registry) editorNames() []string {
	names := make([]string, len(r.Editors))
	for i, e := range r.Editors {
		names[i] = e.Name
	}
	return names
}
