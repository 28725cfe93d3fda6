package config

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/hubferry/hubferry"
)

// Schema returns a JSON Schema (draft 7, which editors know best) of the configuration
// file for a program with this registry. It is made of the same types and tags that Load
// decodes into, so it allows all that Load accepts; what depends on other places of the
// file, such as the options of a source on the driver of its connection, it allows for
// all of them.
func Schema(reg *Registry) []byte {
	g := generator{reg: reg}
	top := g.object([]reflect.Type{reflect.TypeFor[topKeys]()})
	properties := top["properties"].(object)
	for _, s := range reg.Sections {
		properties[s.Name] = describe(g.typ(reflect.TypeOf(s.Options()).Elem(), nil), s.Description)
	}
	top["required"] = []string{"version"}
	top["patternProperties"] = object{"^x-": object{"description": "Anything: a place for anchors."}}
	top["$schema"] = "http://json-schema.org/draft-07/schema#"
	top["title"] = "Hubferry configuration"
	top["definitions"] = object{
		"reference": object{
			"type": "string", "pattern": `\{`,
			"description": "${NAME}, ${NAME:-default} or ${file:PATH}; in a task with forEach also {name}.",
		},
		"address": object{
			"type": "string", "pattern": "^[^/]+/[^/]+$",
			"description": `connection/entity, such as west/telemetry. "%", "/", "@" and ";" inside a name are percent-encoded.`,
		},
		"source": g.end(sourceRole, reflect.TypeFor[sourceKeys]()),
		"target": g.end(targetRole, reflect.TypeFor[targetKeys]()),
		"edit":   g.edit(),
		"task":   g.task(),
	}
	data, err := json.MarshalIndent(top, "", "  ")
	if err != nil {
		panic(err) // maps, lists and texts only
	}
	return append(data, '\n')
}

// object is a JSON object.
type object = map[string]any

// generator makes schemas of Go types.
type generator struct{ reg *Registry }

func describe(s object, text string) object {
	if text != "" {
		s["description"] = text
	}
	return s
}

func ref(name string) object { return object{"$ref": "#/definitions/" + name} }

// orReference allows a reference in the place of a value that is no text.
func orReference(s object) object { return object{"anyOf": []object{s, ref("reference")}} }

// property is the schema of one key of a struct.
func (g *generator) property(f *field) object {
	var s object
	if f.typ == reflect.TypeFor[section]() {
		s = g.section(f.name)
	} else {
		s = g.typ(f.typ, f)
	}
	text := f.description + g.reg.note(f)
	if f.fallback != "" {
		text = strings.TrimSpace(text + " Default: " + f.fallback + ".")
		if d := defaultValue(f); d != nil {
			s["default"] = d
		}
	}
	if f.example != "" {
		s["examples"] = []any{f.example}
	}
	return describe(s, text)
}

// defaultValue returns a default that an editor can insert, or nil for one in words.
func defaultValue(f *field) any {
	if n, err := strconv.ParseInt(f.fallback, 10, 64); err == nil {
		return n
	}
	if b, err := strconv.ParseBool(f.fallback); err == nil {
		return b
	}
	if strings.Contains(f.fallback, " ") {
		return nil
	}
	return f.fallback
}

// typ is the schema of a type. The field brings what its tags say, or is nil.
func (g *generator) typ(t reflect.Type, f *field) object {
	if t.Kind() == reflect.Pointer {
		return g.typ(t.Elem(), f)
	}
	if f != nil && len(f.enum) > 0 {
		if isInteger(t.Kind()) {
			n, _ := strconv.Atoi(f.enum[0])
			return object{"const": n}
		}
		return orReference(object{"enum": f.enum})
	}
	switch t {
	case durationType:
		return orReference(object{"type": "string", "pattern": `^(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+$`})
	case timeType:
		return orReference(object{"type": "string", "format": "date-time"})
	case secretType:
		return object{"type": []string{"string", "number"}}
	case reflect.TypeFor[Size]():
		return orReference(object{"type": []string{"integer", "string"}, "pattern": "^[0-9]+ *([KMGT]i?B|kB|B)?$", "minimum": 0})
	case reflect.TypeFor[Start]():
		return g.start()
	case reflect.TypeFor[addressKey]():
		return orReference(ref("address"))
	case reflect.TypeFor[topicsKey]():
		return object{"anyOf": []object{
			{"type": "array", "minItems": 1, "items": orReference(ref("address"))},
			{"type": "string", "pattern": "^[^/]+/.+$"},
		}}
	}
	if reflect.PointerTo(t).Implements(unmarshalerType) {
		return object{"type": []string{"string", "number", "boolean"}}
	}
	switch t.Kind() {
	case reflect.Bool:
		return orReference(object{"type": "boolean"})
	case reflect.String:
		return object{"type": []string{"string", "number"}}
	case reflect.Float32, reflect.Float64:
		return orReference(limit(object{"type": "number"}, f))
	case reflect.Struct:
		return g.structure(t)
	case reflect.Map:
		return object{"type": "object", "additionalProperties": g.typ(t.Elem(), nil)}
	case reflect.Slice:
		return object{"type": "array", "items": g.typ(t.Elem(), nil)}
	}
	if isInteger(t.Kind()) {
		s := limit(object{"type": "integer"}, f)
		if _, ok := s["minimum"]; !ok && t.Kind() >= reflect.Uint {
			s["minimum"] = 0
		}
		return orReference(s)
	}
	return object{}
}

// limit adds the bounds of the tags.
func limit(s object, f *field) object {
	if f == nil {
		return s
	}
	if x, err := strconv.ParseFloat(f.minimum, 64); err == nil {
		s["minimum"] = x
	}
	if x, err := strconv.ParseFloat(f.maximum, 64); err == nil {
		s["maximum"] = x
	}
	return s
}

// structure is the schema of a struct: a map, or its short form.
func (g *generator) structure(t reflect.Type) object {
	s := g.object([]reflect.Type{t})
	if _, ok := s["required"]; !ok {
		s["type"] = []string{"object", "null"}
	}
	for _, f := range fieldsOf(t) {
		if f.short {
			return object{"anyOf": []object{g.typ(f.typ, &f), s}}
		}
	}
	return s
}

// object is the schema of a map with the keys of some structs, which may share keys.
func (g *generator) object(types []reflect.Type) object {
	properties := object{}
	var required []string
	for _, t := range types {
		for _, f := range fieldsOf(t) {
			s := g.property(&f)
			switch old, ok := properties[f.name].(object); {
			case !ok:
				properties[f.name] = s
			case !reflect.DeepEqual(old, s):
				properties[f.name] = either(old, s)
			}
			if f.required {
				required = append(required, f.name)
			}
		}
	}
	s := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// either allows what one of two schemas does.
func either(a, b object) object {
	if list, ok := a["anyOf"].([]object); ok && len(a) == 1 && !slices.ContainsFunc(list, func(s object) bool { return reflect.DeepEqual(s, b) }) {
		return object{"anyOf": append(slices.Clone(list), b)}
	}
	return object{"anyOf": []object{a, b}}
}

// start is the schema of a start position.
func (g *generator) start() object {
	return object{"anyOf": []object{
		{"enum": []string{"earliest", "latest"}},
		{"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]"},
		{
			"type": "object", "additionalProperties": false, "required": []string{"sequence"},
			"properties": object{"sequence": object{
				"type": "object", "minProperties": 1,
				"additionalProperties": orReference(object{"type": "integer", "minimum": 0}),
				"description":          "The sequence number of the first event to be read, by partition.",
			}},
		},
		ref("reference"),
	}}
}

// section is the schema of a part of the file that no type describes alone.
func (g *generator) section(name string) object {
	switch name {
	case "connections":
		return object{"type": []string{"object", "null"}, "propertyNames": object{"pattern": nameRule.String()}, "additionalProperties": g.oneKey(g.drivers())}
	case "checkpoints":
		return g.oneKey(g.stores())
	case "defaults":
		s := g.object([]reflect.Type{reflect.TypeFor[defaultKeys]()})
		s["type"] = []string{"object", "null"}
		return s
	case "tasks":
		return object{"type": []string{"object", "null"}, "propertyNames": object{"pattern": "^[A-Za-z0-9{][A-Za-z0-9._{}-]*$"}, "additionalProperties": ref("task")}
	case "forEach":
		values := object{"type": "array", "minItems": 1, "items": object{"type": []string{"string", "number", "boolean"}}}
		return object{"type": "object", "minProperties": 1, "additionalProperties": values}
	case "targets":
		return object{"type": "array", "minItems": 1, "items": ref("target")}
	case "deadLetters":
		return object{"allOf": []object{ref("target")}}
	}
	return object{"allOf": []object{ref(name)}} // in draft 7 nothing may stand beside $ref
}

// oneKey is a map with exactly one of some keys.
func (g *generator) oneKey(properties object) object {
	return object{
		"type": "object", "properties": properties, "additionalProperties": false,
		"minProperties": 1, "maxProperties": 1,
	}
}

func (g *generator) drivers() object {
	s := object{}
	for _, d := range g.reg.Drivers {
		s[d.Name] = g.options(d.Connection())
	}
	return s
}

func (g *generator) stores() object {
	s := object{}
	for _, k := range g.reg.Stores {
		s[k.Name] = g.options(k.Options())
	}
	return s
}

func (g *generator) options(o hubferry.Options) object { return g.typ(reflect.TypeOf(o).Elem(), nil) }

// end is the schema of a source or target: an address, or a map with the keys of all
// drivers that can be one.
func (g *generator) end(r role, own reflect.Type) object {
	types := []reflect.Type{own}
	for _, d := range g.reg.Drivers {
		if options := r.options(d); options != nil {
			types = append(types, reflect.TypeOf(options()).Elem())
		}
	}
	s := g.object(types)
	delete(s, "required") // what a driver requires, others do not know
	var words []object
	for _, word := range fieldNames(fieldsOf(reflect.TypeFor[entityKeys]())) {
		words = append(words, object{"required": []string{word}})
	}
	if r.name == sourceRole.name {
		words = append(words, object{"required": []string{"topics"}})
	}
	s["oneOf"] = words
	return object{"anyOf": []object{ref("address"), s, ref("reference")}}
}

// edit is the schema of a list of editors.
func (g *generator) edit() object {
	properties := object{}
	for _, e := range g.reg.Editors {
		properties[e.Name] = g.options(e.Options())
	}
	names := g.reg.editorNames()
	slices.Sort(names)
	item := []object{g.oneKey(properties)}
	if len(names) > 0 {
		item = append(item, object{"enum": names})
	}
	return object{"type": "array", "items": object{"anyOf": item}}
}

// task is the schema of a task.
func (g *generator) task() object {
	s := g.object([]reflect.Type{reflect.TypeFor[taskKeys]()})
	s["oneOf"] = []object{{"required": []string{"target"}}, {"required": []string{"targets"}}}
	return s
}
