package all

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/hubferry/hubferry/drivertest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The table in testdata is the one that docs show. It is printed with -v.
func TestCapabilities(t *testing.T) {
	const file = "testdata/capabilities.md"
	got := drivertest.Capabilities(Drivers())
	t.Log("\n" + got)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s is not what the drivers say; run go test ./driver/all -update", file)
	}
}

// Every driver has a name of its own, options for its roles, and fields that a
// configuration can be checked against and documented from.
func TestDrivers(t *testing.T) {
	names := map[string]bool{}
	for _, d := range Drivers() {
		if d.Name == "" || names[d.Name] || strings.ToLower(d.Name) != d.Name {
			t.Errorf("driver %q: the name must be one of its own, in lower case", d.Name)
		}
		names[d.Name] = true
		if (d.Source != nil) != d.Caps.Source || (d.Target != nil) != d.Caps.Target {
			t.Errorf("driver %s: roles and options differ", d.Name)
		}
		if d.Connect == nil || d.Connection == nil {
			t.Fatalf("driver %s cannot connect", d.Name)
		}
		checkTags(t, d.Name, reflect.TypeOf(d.Connection()).Elem())
		if d.Source != nil {
			checkTags(t, d.Name+" source", reflect.TypeOf(d.Source()).Elem())
		}
		if d.Target != nil {
			checkTags(t, d.Name+" target", reflect.TypeOf(d.Target()).Elem())
		}
	}
}

func checkTags(t *testing.T, where string, o reflect.Type) {
	t.Helper()
	for f := range o.Fields() {
		where := fmt.Sprintf("%s: %s.%s", where, o.Name(), f.Name)
		if f.IsExported() && (f.Tag.Get("yaml") == "" || f.Tag.Get("jsonschema_description") == "") {
			t.Errorf("%s needs a yaml name and a description", where)
		}
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && strings.HasSuffix(inner.Name(), "Options") {
			checkTags(t, where, inner)
		}
	}
}
