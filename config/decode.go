package config

import (
	"reflect"
	"strings"

	"github.com/hubferry/hubferry"
)

// decoder turns nodes into Go values, strictly, and reports everything that does not
// fit instead of stopping at it.
type decoder struct {
	report *report
}

// nodeDecoder is a type of this package that reads more than one form.
type nodeDecoder interface {
	decodeNode(d *decoder, n *node)
}

// options decodes a node into a driver's, store's or editor's options and asks them
// whether they make sense. Further structs may take
// keys of the same map, before the options.
func (d *decoder) options(n *node, o hubferry.Options, more ...any) {
	before := len(d.report.problems)
	var values []reflect.Value
	for _, m := range more {
		values = append(values, reflect.ValueOf(m).Elem())
	}
	values = append(values, reflect.ValueOf(o).Elem())
	d.structs(n, values)
	secrets := n.expansions()
	for _, p := range o.Validate() {
		at := n
		if p.Field != "" {
			at = n.find(p.Field)
		}
		if at.broken || d.reportedSince(before, at, p.Field) {
			continue // Validate saw a zero value because of what was reported already
		}
		if clean := len(d.report.problems) == before && !n.anyBroken(); !clean && at.kind != scalarNode {
			continue // what the struct lacks as a whole may be what was reported already
		}
		text := hide(p.Message, secrets, 3)
		if name := lastKey(p.Field); name != "" && !strings.Contains(text, name) {
			text = `"` + name + `": ` + text
		}
		if at == n || at.kind == mapNode {
			d.report.missingAt(at, "%s", text)
		} else {
			d.report.errorAt(at, "%s", text)
		}
	}
}

// reportedSince tells whether the field of a problem has one already: the decoder knows
// missing keys and wrong types better.
func (d *decoder) reportedSince(before int, at *node, fieldPath string) bool {
	for _, p := range d.report.problems[before:] {
		if p.Severity != Error {
			continue
		}
		if p.Path == at.path && (at.kind == scalarNode || at.kind == nullNode) {
			return true
		}
		if name := lastKey(fieldPath); name != "" && p.Path == at.path && strings.Contains(p.Message, `"`+name+`"`) {
			return true
		}
	}
	return false
}

func lastKey(path string) string {
	return path[strings.LastIndexByte(path, '.')+1:]
}

// value decodes a node into v, which is settable. The field, if there is one, brings
// what its tags know.
func (d *decoder) value(n *node, v reflect.Value, f *field) {
	if reflect.PointerTo(v.Type()).Implements(decoderType) {
		v.Addr().Interface().(nodeDecoder).decodeNode(d, n)
		return
	}
	if n.broken {
		return
	}
	t := v.Type()
	if isScalar(t) {
		d.scalar(n, v, f)
		return
	}
	switch t.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		d.value(n, v.Elem(), f)
	case reflect.Struct:
		d.structs(n, []reflect.Value{v})
	case reflect.Map:
		d.mapValue(n, v)
	case reflect.Slice:
		d.slice(n, v)
	case reflect.Interface:
		if x := n.plain(); x != nil {
			v.Set(reflect.ValueOf(x))
		}
	default:
		d.report.errorAt(n, "%s cannot be configured", t)
	}
}

// isScalar reports whether a type is written as one word or text.
func isScalar(t reflect.Type) bool {
	if t == durationType || t == timeType || t == secretType {
		return true
	}
	if t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(unmarshalerType) {
		return true
	}
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	}
	return false
}

// structs decodes one map into several structs, each taking the keys that it has.
func (d *decoder) structs(n *node, values []reflect.Value) {
	var fields []field
	owner := map[string]reflect.Value{}
	for _, v := range values {
		for _, f := range fieldsOf(v.Type()) {
			if _, taken := owner[f.name]; !taken {
				owner[f.name] = v
				fields = append(fields, f)
			}
		}
	}
	if n.kind != mapNode && n.kind != nullNode {
		for _, f := range fields {
			if f.short {
				d.value(n, owner[f.name].FieldByIndex(f.index), &f)
				return
			}
		}
		d.report.errorAt(n, "expected a map%s, found %s", keysHint(fields), n.describe())
		return
	}
	known := fieldNames(fields)
	misspelled := map[string]bool{}
	for i := range n.entries {
		e := &n.entries[i]
		at := indexOf(known, e.key)
		if at < 0 {
			d.report.errorAtKey(e, "unknown key %q%s", e.key, suggest(e.key, known))
			if meant, ok := nearest(e.key, known); ok {
				misspelled[meant] = true
			}
			continue
		}
		f := &fields[at]
		d.value(e.value, owner[f.name].FieldByIndex(f.index), f)
	}
	for i := range fields {
		if f := &fields[i]; f.required && n.get(f.name) == nil && !misspelled[f.name] {
			d.report.missingAt(n, "%q is missing%s", f.name, because(f.description))
		}
	}
}

// because appends the first sentence of a description to "x is missing".
func because(description string) string {
	first, _, _ := strings.Cut(description, ". ")
	if first = strings.TrimSuffix(first, "."); first == "" {
		return ""
	}
	return ": " + strings.ToLower(first[:1]) + first[1:]
}

// keysHint lists the keys of a small map.
func keysHint(fields []field) string {
	if len(fields) == 0 || len(fields) > 4 {
		return ""
	}
	return " of " + strings.Join(fieldNames(fields), ", ")
}

func indexOf(list []string, s string) int {
	for i := range list {
		if list[i] == s {
			return i
		}
	}
	return -1
}

// mismatch reports a value of the wrong kind.
func (d *decoder) mismatch(n *node, want string) {
	if name := lastKey(n.path); n.kind == nullNode && name != "" {
		d.report.missingAt(n, "%q has no value; expected %s", name, want)
		return
	}
	d.report.errorAt(n, "expected %s, found %s", want, n.describe())
}

func (d *decoder) mapValue(n *node, v reflect.Value) {
	if n.kind != mapNode {
		d.mismatch(n, "a map")
		return
	}
	t := v.Type()
	v.Set(reflect.MakeMapWithSize(t, len(n.entries)))
	for i := range n.entries {
		item := reflect.New(t.Elem()).Elem()
		d.value(n.entries[i].value, item, nil)
		v.SetMapIndex(reflect.ValueOf(n.entries[i].key).Convert(t.Key()), item)
	}
}

func (d *decoder) slice(n *node, v reflect.Value) {
	if n.kind != listNode {
		d.mismatch(n, "a list")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
	for i, item := range n.items {
		d.value(item, v.Index(i), nil)
	}
}
