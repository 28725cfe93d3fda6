package config

import (
	"encoding"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/hubferry/hubferry"
)

// field is one key of an options struct, as its tags tell:
//
//	yaml:"name"            the key; ",inline" takes the keys of the struct inside, and
//	                       ",short" says that a value in place of the map is this key's
//	jsonschema:"..."       required, enum=, default=, minimum=, maximum=, example=
//	jsonschema_description one or two sentences
type field struct {
	name        string
	index       []int
	typ         reflect.Type
	short       bool
	required    bool
	enum        []string
	fallback    string // the documented default
	example     string
	minimum     string
	maximum     string
	description string
}

var (
	durationType    = reflect.TypeFor[time.Duration]()
	timeType        = reflect.TypeFor[time.Time]()
	secretType      = reflect.TypeFor[hubferry.Secret]()
	unmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
	decoderType     = reflect.TypeFor[nodeDecoder]()
)

// fieldsOf returns the keys of a struct type in the order of its fields.
func fieldsOf(t reflect.Type) []field {
	var list []field
	for sf := range t.Fields() {
		name, options, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		flags := strings.Split(options, ",")
		if slices.Contains(flags, "inline") || sf.Anonymous && name == "" && sf.Type.Kind() == reflect.Struct {
			for _, f := range fieldsOf(sf.Type) {
				f.index = append([]int{sf.Index[0]}, f.index...)
				list = append(list, f)
			}
			continue
		}
		if name == "" || name == "-" || !sf.IsExported() {
			continue
		}
		f := field{
			name: name, index: sf.Index, typ: sf.Type,
			short: slices.Contains(flags, "short"), description: sf.Tag.Get("jsonschema_description"),
		}
		for part := range strings.SplitSeq(sf.Tag.Get("jsonschema"), ",") {
			f.apply(strings.Cut(part, "="))
		}
		list = append(list, f)
	}
	return list
}

// apply takes one part of the jsonschema tag.
func (f *field) apply(key, value string, _ bool) {
	switch key {
	case "required":
		f.required = true
	case "enum":
		f.enum = append(f.enum, value)
	case "default":
		f.fallback = value
	case "example":
		f.example = value
	case "minimum":
		f.minimum = value
	case "maximum":
		f.maximum = value
	}
}

// fieldNames returns the keys of some structs.
func fieldNames(list []field) []string {
	names := make([]string, len(list))
	for i := range list {
		names[i] = list[i].name
	}
	return names
}

// fieldByKey returns the settable field of an options value with that key and kind.
func fieldByKey(options any, key string, k reflect.Kind) (reflect.Value, *field) {
	v := reflect.ValueOf(options)
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return reflect.Value{}, nil
		}
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return reflect.Value{}, nil
	}
	for _, f := range fieldsOf(v.Type()) {
		if f.name == key && f.typ.Kind() == k {
			return v.FieldByIndex(f.index), &f
		}
	}
	return reflect.Value{}, nil
}
