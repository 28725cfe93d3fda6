package hub_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry/hub"
)

func TestEmulatorConfig(t *testing.T) {
	path := filepath.Join("testdata", "emulator", "official.json")
	got, err := hub.LoadEmulatorConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []hub.NamespaceOptions{{Name: "emulatorNs1", Hubs: []hub.HubOptions{
		{Name: "eh1", Partitions: 2, ConsumerGroups: []string{"cg1"}},
		{Name: "eh/2", Partitions: 32},
		{Name: "eh3", Partitions: 1},
	}}}
	if diff := cmp.Diff(want, got.Namespaces); diff != "" {
		t.Error(diff)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// A byte order mark, as Windows editors write it, and keys in another case.
	again, err := hub.ParseEmulatorConfig([]byte("\xef\xbb\xbf" + strings.ReplaceAll(string(b), "PartitionCount", "partitioncount")))
	if err != nil || cmp.Diff(want, again.Namespaces) != "" {
		t.Errorf("%+v, %v", again.Namespaces, err)
	}
}

func TestEmulatorConfigManyGroups(t *testing.T) {
	var groups []string
	for i := range 20 {
		groups = append(groups, fmt.Sprintf(`{"Name":"g%d"}`, i))
	}
	o, err := hub.ParseEmulatorConfig(emulator(`{"Name":"eh","PartitionCount":1,"ConsumerGroups":[` + strings.Join(groups, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Validate(); err != nil {
		t.Error("what the emulator allows is refused:", err)
	}
}

func emulator(entities string) []byte {
	return []byte(`{"UserConfig":{"NamespaceConfig":[{"Type":"EventHub","Name":"n","Entities":[` + entities + `]}]}}`)
}

func TestEmulatorConfigErrors(t *testing.T) {
	const entity = "UserConfig.NamespaceConfig[0].Entities[0]"
	hubs := func(n int) string {
		return strings.Repeat(`{"Name":"a","PartitionCount":1},`, n-1) + `{"Name":"a","PartitionCount":1}`
	}
	for name, test := range map[string]struct{ config, want string }{
		"empty":               {``, "the file: it is missing"},
		"no JSON":             {`{"UserConfig": }`, "the file: expected an object: invalid character '}'"},
		"no object":           {`[]`, "the file: expected an object"},
		"null":                {`null`, "the file: expected an object"},
		"no user config":      {`{}`, "UserConfig: it is missing"},
		"unknown key":         {`{"UserConfig":{"Namespaces":[]}}`, "UserConfig.Namespaces: it is not known; known are NamespaceConfig, LoggingConfig"},
		"no namespaces":       {`{"UserConfig":{}}`, "UserConfig.NamespaceConfig: there is no namespace"},
		"namespaces no list":  {`{"UserConfig":{"NamespaceConfig":{}}}`, "UserConfig.NamespaceConfig: expected a list"},
		"namespace no object": {`{"UserConfig":{"NamespaceConfig":[1]}}`, "UserConfig.NamespaceConfig[0]: expected an object"},
		"type":                {strings.Replace(string(emulator(hubs(1))), "EventHub", "ServiceBus", 1), `UserConfig.NamespaceConfig[0].Type: "ServiceBus" is not supported, expected EventHub`},
		"no type":             {strings.Replace(string(emulator(hubs(1))), `"Type":"EventHub",`, "", 1), "UserConfig.NamespaceConfig[0].Type: it is missing"},
		"namespace name":      {strings.Replace(string(emulator(hubs(1))), `"n"`, `"../n"`, 1), `UserConfig.NamespaceConfig[0].Name: "../n" is not allowed`},
		"no hubs":             {string(emulator("")), "UserConfig.NamespaceConfig[0].Entities: there are 0 event hubs, expected 1 to 10"},
		"too many hubs":       {string(emulator(hubs(11))), "there are 11 event hubs, expected 1 to 10"},
		"hub name twice":      {string(emulator(`{"Name":"a","PartitionCount":1},{"Name":"A","PartitionCount":1}`)), `UserConfig.NamespaceConfig[0].Entities[1].Name: "A" is given twice`},
		"no hub name":         {string(emulator(`{"PartitionCount":1}`)), entity + ".Name: it is missing"},
		"hub name":            {string(emulator(`{"Name":"a b","PartitionCount":1}`)), entity + ".Name: hub name: 'a b' is not allowed"},
		"hub name no text":    {string(emulator(`{"Name":5,"PartitionCount":1}`)), entity + ".Name: expected a text"},
		"no partitions":       {string(emulator(`{"Name":"a"}`)), entity + ".PartitionCount: it is missing"},
		"partitions word":     {string(emulator(`{"Name":"a","PartitionCount":"two"}`)), entity + `.PartitionCount: "two" is not a number between 1 and 32`},
		"partitions 0":        {string(emulator(`{"Name":"a","PartitionCount":0}`)), entity + ".PartitionCount: 0 is not a number between 1 and 32"},
		"partitions 33":       {string(emulator(`{"Name":"a","PartitionCount":"33"}`)), entity + `.PartitionCount: "33" is not`},
		"partitions fraction": {string(emulator(`{"Name":"a","PartitionCount":1.5}`)), entity + ".PartitionCount: 1.5 is not"},
		"partitions list":     {string(emulator(`{"Name":"a","PartitionCount":[1]}`)), entity + ".PartitionCount: [1] is not"},
		"misspelt":            {string(emulator(`{"Name":"a","PartitonCount":1}`)), entity + ".PartitonCount: it is not known"},
		"group $Default":      {string(emulator(`{"Name":"a","PartitionCount":1,"ConsumerGroups":[{"Name":"$default"}]}`)), entity + ".ConsumerGroups[0].Name: $Default is always there"},
		"group twice":         {string(emulator(`{"Name":"a","PartitionCount":1,"ConsumerGroups":[{"Name":"g"},{"Name":"G"}]}`)), entity + `.ConsumerGroups[1].Name: "G" is given twice`},
		"group name":          {string(emulator(`{"Name":"a","PartitionCount":1,"ConsumerGroups":[{"Name":"-"}]}`)), entity + ".ConsumerGroups[0].Name: consumer group name: '-' is not allowed"},
		"group text":          {string(emulator(`{"Name":"a","PartitionCount":1,"ConsumerGroups":["g"]}`)), entity + ".ConsumerGroups[0]: expected an object"},
		"groups":              {string(emulator(`{"Name":"a","PartitionCount":1,"ConsumerGroups":[` + strings.TrimSuffix(strings.Repeat(`{"Name":"g"},`, 21), ",") + `]}`)), "there are 21, at most 20 are allowed"},
		"logging":             {`{"UserConfig":{"NamespaceConfig":[],"LoggingConfig":{"Type":"Syslog"}}}`, `UserConfig.LoggingConfig.Type: "Syslog" is not known`},
		"namespace twice":     {`{"UserConfig":{"NamespaceConfig":[{"Type":"EventHub","Name":"n","Entities":[` + hubs(1) + `]},{"Type":"EventHub","Name":"N","Entities":[` + hubs(1) + `]}]}}`, `UserConfig.NamespaceConfig[1].Name: "N" is given twice`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := hub.ParseEmulatorConfig([]byte(test.config))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v\nwant %s", err, test.want)
			}
		})
	}
	// All problems at once, and the name of the file.
	path := filepath.Join(t.TempDir(), "Config.json")
	if err := os.WriteFile(path, emulator(`{"Name":"a b","PartitionCount":99},{"Name":"c","PartitionCount":"x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := hub.LoadEmulatorConfig(path)
	for _, part := range []string{path, "Entities[0].Name", "Entities[0].PartitionCount", "Entities[1].PartitionCount"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s is not in %v", part, err)
		}
	}
	if _, err := hub.LoadEmulatorConfig(path + "x"); err == nil || !strings.Contains(err.Error(), "read emulator configuration") {
		t.Error(err)
	}
}

func FuzzEmulatorConfig(f *testing.F) {
	f.Add(string(emulator(`{"Name":"a","PartitionCount":"1","ConsumerGroups":[{"Name":"g"}]}`)))
	f.Add(`{"UserConfig":{"NamespaceConfig":[{}],"LoggingConfig":null}}`)
	f.Fuzz(func(t *testing.T, config string) {
		o, err := hub.ParseEmulatorConfig([]byte(config))
		if err != nil {
			return
		}
		if err := o.Validate(); err != nil {
			t.Fatalf("accepted, but not valid: %v", err)
		}
	})
}
