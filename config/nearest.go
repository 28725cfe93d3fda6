package config

import (
	"maps"
	"slices"
	"strings"
)

// suggest returns `; did you mean "x"?` with the known name that is nearest to an
// unknown one, or "" if none is near.
func suggest(name string, known []string) string {
	if best, ok := nearest(name, known); ok {
		return `; did you mean "` + best + `"?`
	}
	return ""
}

// suggestKey is suggest with the keys of a map.
func suggestKey[V any](name string, known map[string]V) string {
	return suggest(name, slices.Sorted(maps.Keys(known)))
}

// nearest returns the known name with the smallest edit distance, if it is at most a
// third of the name's length, letter case not counted, or else the first that begins with it.
func nearest(name string, known []string) (string, bool) {
	if len(name) > 100 {
		return "", false
	}
	lower := strings.ToLower(name)
	best, least := "", max(1, len(lower)/3)+1
	for _, k := range known {
		if d := distance(lower, strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	if best != "" || len(lower) < 3 {
		return best, best != ""
	}
	for _, k := range known { // a word that was cut short
		if strings.HasPrefix(strings.ToLower(k), lower) {
			return k, true
		}
	}
	return "", false
}

// distance is the number of bytes to insert, delete, replace or swap with their
// neighbor (optimal string alignment) to turn a into b.
func distance(a, b string) int {
	var rows [3][]int
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
	}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, above, row := rows[0], rows[1], rows[2]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		rows[0], rows[1], rows[2] = above, row, before
	}
	return rows[1][len(b)]
}
