package config_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hubferry/hubferry/config"
)

// compile compiles the schema of a registry.
func compile(t *testing.T, reg *config.Registry) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(config.Schema(reg)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("hubferry.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("hubferry.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// plain returns a case's file as JSON has it, or nil if it is no YAML at all.
func plain(t *testing.T, a archive) any {
	t.Helper()
	data, ok := config.ToJSON(unescape.Replace(a.file("hubferry.yaml")))
	if !ok {
		return nil
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestSchemaGood checks that the schema takes every good configuration.
func TestSchemaGood(t *testing.T) {
	s := compile(t, registry())
	for name, a := range archives(t, "good") {
		if err := s.Validate(plain(t, a)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// beyondSchema are the bad configurations that no schema can find: they are about what
// two places of the file, a service, the environment or the clock say together.
var beyondSchema = []string{
	"cadence", "connection-validate", "consumer-group-of-topics", "consumer-group-twice", "dead-letters-missing",
	"effectively-once-provenance", "file-missing", "foreach-many", "foreach-names",
	"foreach-unknown", "foreach-unused", "foreach-value", "hub-section-paths", "hub-section-validate",
	"memory-small", "memory-windows", "retry-order", "role", "same-target-twice", "secret-not-shown",
	"start-future", "start-twice", "store-kubernetes", "store-kubernetes-named", "unknown-connection",
	"unreachable-target", "variable-missing", "variable-syntax", "when-unsupported", "writes-what-it-reads",
}

// TestSchemaBad checks that the schema refuses what it can know.
func TestSchemaBad(t *testing.T) {
	s := compile(t, registry())
	for name, a := range archives(t, "bad") {
		v := plain(t, a)
		if v == nil {
			continue // the editor's own parser says so
		}
		if err := s.Validate(v); (err != nil) == slices.Contains(beyondSchema, name) {
			t.Errorf("%s: the schema refuses it: %t", name, err != nil)
		}
	}
}

// TestSchemaText checks what an editor shows.
func TestSchemaText(t *testing.T) {
	data := config.Schema(registry())
	var v map[string]any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"description": "What happens when the source no longer has the next event. stop stops that partition only, until a person resumes it. Default: stop."`,
		`"scram-sha-512"`, `"dropProperties"`, `"default": 300`,
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("the schema has no %s", want)
		}
	}
	if !bytes.Equal(data, config.Schema(registry())) {
		t.Error("two runs give two texts")
	}
}
