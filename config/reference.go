package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/hubferry/hubferry"
)

// Reference returns a description of every key of the configuration file for a program
// with this registry, as Markdown. Like Schema it is made of the types that Load decodes
// into. The headings are of level 2 and 3.
func Reference(reg *Registry) string {
	w := referenceWriter{reg: reg}
	w.heading(2, "The top of the file")
	w.table(reflect.TypeFor[topKeys]())
	w.heading(2, "Connections")
	w.say("`connections` holds namespaces and clusters by name. A connection has exactly one key, its driver.")
	for _, d := range reg.Drivers {
		w.heading(3, "Connection: `"+d.Name+"`")
		w.options(d.Connection)
	}
	w.heading(2, "Tasks")
	w.table(reflect.TypeFor[taskKeys]())
	w.heading(2, "Sources and targets")
	w.say("Both are an address, or a map with exactly one of `hub`, `topic`, `queue` and `table`, which are words for the same thing, and with options. The driver of the connection adds its own.")
	w.heading(3, "Source: all drivers")
	w.table(reflect.TypeFor[sourceKeys]())
	w.ends("Source", sourceRole)
	w.heading(3, "Target: all drivers")
	w.table(reflect.TypeFor[targetKeys]())
	w.ends("Target", targetRole)
	w.heading(2, "Checkpoint stores")
	w.say("`checkpoints` has exactly one key, the kind of store. Without it the store is an SQLite database beside the file, except in a Kubernetes pod, where its path must be named.")
	for _, s := range reg.Stores {
		w.heading(3, "Store: `"+s.Name+"`")
		w.options(s.Options)
	}
	if len(reg.Editors) > 0 {
		w.heading(2, "Editors")
		w.say("`edit` is a list. Each item is the name of an editor, alone or as a key with its options.")
	}
	for _, e := range reg.Editors {
		w.heading(3, "Editor: `"+e.Name+"`")
		w.options(e.Options)
	}
	for _, s := range reg.Sections {
		w.heading(2, "The section `"+s.Name+"`")
		w.say(s.Description)
		w.table(reflect.TypeOf(s.Options()).Elem())
	}
	return strings.TrimSpace(w.String()) + "\n"
}

// Undocumented returns the paths of keys that have no description, for a test of a
// program's registry.
func Undocumented(reg *Registry) []string {
	var missing []string
	look := func(what string, t reflect.Type) {
		for _, r := range rows(t, "") {
			if r.description == "" {
				missing = append(missing, what+": "+r.path)
			}
		}
	}
	for _, d := range reg.Drivers {
		look("connection "+d.Name, reflect.TypeOf(d.Connection()).Elem())
		for _, r := range []role{sourceRole, targetRole} {
			if o := r.options(d); o != nil {
				look(r.name+" "+d.Name, reflect.TypeOf(o()).Elem())
			}
		}
	}
	for _, s := range reg.Stores {
		look("store "+s.Name, reflect.TypeOf(s.Options()).Elem())
	}
	for _, e := range reg.Editors {
		look("editor "+e.Name, reflect.TypeOf(e.Options()).Elem())
	}
	for _, s := range reg.Sections {
		look("section "+s.Name, reflect.TypeOf(s.Options()).Elem())
	}
	for _, t := range []reflect.Type{
		reflect.TypeFor[topKeys](), reflect.TypeFor[taskKeys](), reflect.TypeFor[sourceKeys](), reflect.TypeFor[targetKeys](),
	} {
		look("file", t)
	}
	return missing
}

// referenceWriter writes Markdown.
type referenceWriter struct {
	strings.Builder
	reg *Registry
}

func (w *referenceWriter) heading(level int, text string) {
	fmt.Fprintf(w, "\n%s %s\n", strings.Repeat("#", level), text)
}

func (w *referenceWriter) say(text string) { fmt.Fprintf(w, "\n%s\n", text) }

func (w *referenceWriter) options(o func() hubferry.Options) { w.table(reflect.TypeOf(o()).Elem()) }

func (w *referenceWriter) ends(title string, r role) {
	for _, d := range w.reg.Drivers {
		if o := r.options(d); o != nil {
			w.heading(3, title+": `"+d.Name+"`")
			w.options(o)
		}
	}
}

// table writes the keys of a struct.
func (w *referenceWriter) table(t reflect.Type) {
	list := rows(t, "")
	for i := range list {
		list[i].description += w.reg.note(&field{name: list[i].path})
	}
	if len(list) == 0 {
		w.say("There are no options.")
		return
	}
	w.say("| key | value | default | meaning |\n|---|---|---|---|")
	cell := strings.NewReplacer("|", `\|`, "\n", " ")
	for _, r := range list {
		fallback := ""
		switch {
		case r.required:
			fallback = "required"
		case r.fallback != "" && strings.Contains(r.fallback, " "):
			fallback = r.fallback
		case r.fallback != "":
			fallback = "`" + r.fallback + "`"
		}
		fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", r.path, cell.Replace(r.value), cell.Replace(fallback), cell.Replace(r.description))
	}
}

// row is a key in a table.
type row struct {
	path, value, fallback, description string
	required                           bool
}

// rows lists the keys of a struct and of the structs in it.
func rows(t reflect.Type, prefix string) []row {
	var list []row
	for _, f := range fieldsOf(t) {
		r := row{
			path: prefix + f.name, value: valueText(f.typ, &f), fallback: f.fallback,
			description: f.description, required: f.required,
		}
		if f.example != "" {
			r.value += ", such as `" + f.example + "`"
		}
		list = append(list, r)
		inner, path := f.typ, r.path
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice || inner.Kind() == reflect.Map {
			switch inner.Kind() {
			case reflect.Slice:
				path += "[]"
			case reflect.Map:
				path += ".*"
			}
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && !isScalar(inner) && !reflect.PointerTo(inner).Implements(decoderType) {
			list = append(list, rows(inner, path+".")...)
		}
	}
	return list
}

// valueText says what a key takes.
func valueText(t reflect.Type, f *field) string {
	if f != nil && len(f.enum) > 0 {
		return "`" + strings.Join(f.enum, "`, `") + "`"
	}
	switch t {
	case durationType:
		return "duration"
	case timeType:
		return "time"
	case secretType:
		return "secret"
	case reflect.TypeFor[Size]():
		return "bytes, such as `64MiB`"
	case reflect.TypeFor[addressKey]():
		return "address"
	case reflect.TypeFor[topicsKey]():
		return "list of addresses, or a regular expression behind a connection"
	case reflect.TypeFor[Start]():
		return "`earliest`, `latest`, a time, or `{sequence: {\"0\": 17}}`"
	case reflect.TypeFor[section]():
		return sectionText(f)
	}
	if reflect.PointerTo(t).Implements(unmarshalerType) {
		return "text"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return valueText(t.Elem(), nil)
	case reflect.Slice:
		return "list of " + valueText(t.Elem(), nil)
	case reflect.Map:
		return "map of " + valueText(t.Elem(), nil)
	case reflect.Struct:
		return "map"
	case reflect.Interface:
		return "anything"
	case reflect.Bool:
		return "`true` or `false`"
	case reflect.String:
		return "text"
	case reflect.Float32, reflect.Float64:
		return "number" + bounds(f)
	}
	return "whole number" + bounds(f)
}

// sectionText says what the parts take that no type describes.
func sectionText(f *field) string {
	switch f.name {
	case "source", "target", "deadLetters":
		return "address or map"
	case "targets":
		return "list of addresses or maps"
	case "edit":
		return "list of editors"
	case "forEach":
		return "map of lists"
	}
	return "map"
}
