package admin

import (
	"cmp"
	"slices"
)

func sortChanges(changes []Change) {
	slices.SortFunc(changes, func(a, b Change) int { return compareIDs(a.ID, b.ID) })
}

// sortFindings puts the worst first.
func sortFindings(found []Finding) {
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), compareIDs(a.ID, b.ID), cmp.Compare(a.Text, b.Text))
	})
}
