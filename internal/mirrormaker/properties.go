package mirrormaker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Property is one setting of a file.
type Property struct {
	Line       int // where its key stands, from 1
	Key, Value string
}

// maxFile bounds what is read: a configuration is small.
const maxFile = 4 << 20

// Parse reads a configuration: a Java properties file, as MirrorMaker's dedicated mode and
// Connect's stand-alone mode take it, or JSON, as Connect's REST interface takes it. Of a
// key that is given twice the last value counts, as in Java. No error holds a value.
func Parse(r io.Reader) ([]Property, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxFile:
		return nil, fmt.Errorf("larger than %d bytes: this is no configuration", maxFile)
	}
	text := string(data)
	if !utf8.Valid(data) { // Java reads such files as ISO 8859-1
		runes := make([]rune, len(data))
		for i, b := range data {
			runes[i] = rune(b)
		}
		text = string(runes)
	}
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		return parseJSON(text)
	}
	return parseProperties(text)
}

// parseProperties follows the documentation of java.util.Properties.load.
func parseProperties(text string) ([]Property, error) {
	var list []Property
	lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), "\n")
	for i := 0; i < len(lines); i++ {
		number := i + 1
		line := trimLeft(lines[i])
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		for continues(line) {
			line = line[:len(line)-1]
			if i++; i == len(lines) {
				break
			}
			line += trimLeft(lines[i])
		}
		rawKey, rawValue := splitLine(line)
		key, err := unescape(rawKey)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		value, err := unescape(rawValue)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		list = put(list, Property{number, key, value})
	}
	return list, nil
}

// put appends a property in the place of an earlier one of that key.
func put(list []Property, p Property) []Property {
	list = slices.DeleteFunc(list, func(q Property) bool { return q.Key == p.Key })
	return append(list, p)
}

func trimLeft(s string) string { return strings.TrimLeft(s, " \t\f") }

// continues reports whether a line ends with an odd number of backslashes.
func continues(line string) bool {
	return (len(line)-len(strings.TrimRight(line, `\`)))%2 == 1
}

// splitLine cuts a line at the first "=", ":" or white space that is not escaped.
func splitLine(line string) (key, value string) {
	end := len(line)
	for i := 0; i < len(line); i++ {
		if line[i] == '\\' {
			i++
		} else if strings.IndexByte("=: \t\f", line[i]) >= 0 {
			end = i
			break
		}
	}
	key, value = line[:end], trimLeft(line[end:])
	if value != "" && (value[0] == '=' || value[0] == ':') {
		value = trimLeft(value[1:])
	}
	return key, value
}

// unescape replaces the escapes of a properties file.
func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			break
		}
		switch s[i] {
		case 't':
			b.WriteByte('\t')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 'f':
			b.WriteByte('\f')
		case 'u':
			if len(s) < i+5 {
				return "", errors.New(`\u needs four hexadecimal digits`)
			}
			n, err := strconv.ParseUint(s[i+1:i+5], 16, 16)
			if err != nil {
				return "", errors.New(`\u needs four hexadecimal digits`)
			}
			b.WriteRune(rune(n))
			i += 4
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), nil
}

// parseJSON reads {"name": ..., "config": {...}} or the inner map alone.
func parseJSON(text string) ([]Property, error) {
	var outer map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &outer); err != nil {
		return nil, errors.New("this is neither a properties file nor JSON of a connector")
	}
	inner := []byte(text)
	if c, ok := outer["config"]; ok {
		inner = c
	}
	var values map[string]any
	d := json.NewDecoder(strings.NewReader(string(inner)))
	d.UseNumber()
	if err := d.Decode(&values); err != nil {
		return nil, errors.New(`"config" is no map of settings`)
	}
	if name, ok := outer["name"]; ok && values["name"] == nil {
		var s string
		if err := json.Unmarshal(name, &s); err != nil {
			return nil, errors.New(`"name" is no text`)
		}
		values["name"] = s
	}
	var list []Property
	for key, v := range values {
		switch v := v.(type) {
		case nil:
			continue
		case map[string]any, []any:
			return nil, fmt.Errorf("the value of %q is no text", key)
		default:
			list = append(list, Property{lineOf(text, key), key, fmt.Sprint(v)})
		}
	}
	slices.SortFunc(list, func(a, b Property) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return strings.Compare(a.Key, b.Key)
	})
	return list, nil
}

// lineOf returns the line on which a key stands.
func lineOf(text, key string) int {
	quoted, _ := json.Marshal(key) // a string is always encodable
	at := max(strings.Index(text, string(quoted)), 0)
	return 1 + strings.Count(text[:at], "\n")
}
