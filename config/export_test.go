package config

import "encoding/json"

// ToJSON parses a file without looking at what it means. Where a mistake of structure
// was found there is no result.
func ToJSON(data []byte) ([]byte, bool) {
	var r report
	n := parse(data, &r)
	if n == nil || len(r.problems) > 0 {
		return nil, false
	}
	out, err := json.Marshal(n.plain())
	return out, err == nil
}
