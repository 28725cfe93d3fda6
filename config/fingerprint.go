package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// fingerprint stands for what decides which outputs a task makes of its inputs and where
// they go: editors, routes and conditions with their options. Secrets show in it as a fixed
// text, and what an editor reads from elsewhere (a program, reference data) not at all.
func (t *Task) fingerprint() string {
	type edit struct {
		Name, Kind string
		Options    any
	}
	type route struct {
		Name, Address, When string
		Edit                []edit
	}
	edits := func(list []Edit) []edit {
		out := make([]edit, len(list))
		for i, e := range list {
			out[i] = edit{e.Name, e.Kind.Name, e.Options}
			if _, err := json.Marshal(e.Options); err != nil {
				out[i].Options = fmt.Sprintf("%+v", e.Options)
			}
		}
		return out
	}
	what := struct {
		Match  string
		Edit   []edit
		Routes []route
	}{t.Match, edits(t.Edit), nil}
	for i := range t.Targets {
		r := &t.Targets[i]
		what.Routes = append(what.Routes, route{r.Name, r.Address(), r.When, edits(r.Edit)})
	}
	text, _ := json.Marshal(what) //nolint:errchkjson // what cannot be marshalled was replaced above
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}
