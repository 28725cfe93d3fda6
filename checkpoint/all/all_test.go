package all_test

import (
	"slices"
	"testing"

	"github.com/hubferry/hubferry/checkpoint/all"
)

func TestStores(t *testing.T) {
	// A service must be named; these need nothing.
	local := map[string]bool{"mem": true, "sqlite": true}
	var names []string
	for _, kind := range all.Stores() {
		names = append(names, kind.Name)
		if kind.Open == nil {
			t.Errorf("%s cannot be opened", kind.Name)
		}
		if problems := kind.Options().Validate(); len(problems) > 0 && local[kind.Name] {
			t.Errorf("%s: empty options have the problems %v", kind.Name, problems)
		}
	}
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("the names are %v, want them in order and different", names)
	}
}
