package config

import (
	"encoding"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/hubferry/hubferry"
)

// scalar decodes one word or text. Strings take any scalar as the file has it; other
// types take only a plain one, so that a quoted 5 is a text, as in YAML.
func (d *decoder) scalar(n *node, v reflect.Value, f *field) {
	want := expectation(v.Type(), f)
	if n.kind != scalarNode {
		d.mismatch(n, want)
		return
	}
	d.warnLiteral(n, v.Type())
	switch ok, known := d.special(n, v); {
	case known && !ok:
		d.mismatch(n, want)
		return
	case known:
		return
	}
	if v.Kind() == reflect.String {
		if !n.quoted && (n.text == "true" || n.text == "false") && !n.loose {
			d.report.errorAt(n, "expected %s, found %s; put it in quotes if it is meant as a text", want, n.text)
			return
		}
		if f != nil && len(f.enum) > 0 && indexOf(f.enum, n.text) < 0 {
			hint := ""
			if n.literal() {
				hint = suggest(n.text, f.enum)
			}
			d.report.errorAt(n, "expected %s, found %s%s", want, n.describe(), hint)
			return
		}
		v.SetString(n.text)
		return
	}
	if n.quoted && !n.loose || !setNumber(v, n.text) {
		d.mismatch(n, want)
		return
	}
	if f != nil && !inRange(v, f) {
		d.mismatch(n, want)
	}
}

// special decodes the types that have their own text form.
func (d *decoder) special(n *node, v reflect.Value) (ok, known bool) {
	switch v.Type() {
	case durationType:
		x, err := time.ParseDuration(n.text)
		v.SetInt(int64(x))
		return err == nil && x >= 0, true
	case timeType:
		x, err := time.Parse(time.RFC3339, n.text)
		v.Set(reflect.ValueOf(x))
		return err == nil, true
	case secretType:
		v.Set(reflect.ValueOf(hubferry.NewSecret(n.text)))
		return true, true
	}
	u, is := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr())
	if !is {
		return false, false
	}
	if err := u.UnmarshalText([]byte(n.text)); err != nil {
		d.report.errorAt(n, "%s", hide(err.Error(), n.refs, 1))
	}
	return true, true
}

// setNumber sets a bool or a number and reports whether the text is one.
func setNumber(v reflect.Value, text string) bool {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(text == "true")
		return text == "true" || text == "false"
	case reflect.Float32, reflect.Float64:
		x, err := strconv.ParseFloat(text, v.Type().Bits())
		v.SetFloat(x)
		return err == nil && looksNumeric(text)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		x, err := strconv.ParseUint(text, 10, v.Type().Bits())
		v.SetUint(x)
		return err == nil
	}
	x, err := strconv.ParseInt(text, 10, v.Type().Bits())
	v.SetInt(x)
	return err == nil
}

// inRange checks the minimum and maximum of the tags.
func inRange(v reflect.Value, f *field) bool {
	var x float64
	switch {
	case v.CanInt():
		x = float64(v.Int())
	case v.CanUint():
		x = float64(v.Uint())
	case v.CanFloat():
		x = v.Float()
	}
	if low, err := strconv.ParseFloat(f.minimum, 64); err == nil && x < low {
		return false
	}
	if high, err := strconv.ParseFloat(f.maximum, 64); err == nil && x > high {
		return false
	}
	return true
}

// expectation says what a scalar of a type looks like.
func expectation(t reflect.Type, f *field) string {
	if f != nil && len(f.enum) > 0 {
		return "one of " + strings.Join(f.enum, ", ")
	}
	switch t {
	case durationType:
		return "a duration such as 5s"
	case timeType:
		return "a time such as 2026-11-01T00:00:00Z"
	case reflect.TypeFor[Size]():
		return "a number of bytes such as 64MiB"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number" + bounds(f)
	case reflect.String, reflect.Struct, reflect.Slice, reflect.Map:
		return "a text"
	}
	if isInteger(t.Kind()) {
		return "a whole number" + bounds(f)
	}
	return "a text"
}

func isInteger(k reflect.Kind) bool { return k >= reflect.Int && k <= reflect.Uint64 }

func bounds(f *field) string {
	switch {
	case f == nil || f.minimum == "" && f.maximum == "":
		return ""
	case f.maximum == "":
		return " of at least " + f.minimum
	case f.minimum == "":
		return " of at most " + f.maximum
	}
	return " from " + f.minimum + " to " + f.maximum
}

// secretInText finds keys and passwords that connection strings and addresses carry.
var secretInText = regexp.MustCompile(`(?i)(SharedAccessKey|AccountKey|SharedAccessSignature|password|pwd)=[^;\s$]|://[^/@:\s]*:[^/@\s$][^/@\s]*@`)

// harmlessURL is an address without user and password, such as that of a proxy.
var harmlessURL = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://[^@]*$`)

// warnLiteral warns of a secret that stands in the file itself (INV-8). The emulator's
// key is known to everybody.
func (d *decoder) warnLiteral(n *node, t reflect.Type) {
	if n.text == "" || strings.Contains(n.text, "UseDevelopmentEmulator=true") {
		return
	}
	if t == secretType && n.literal() && !harmlessURL.MatchString(n.text) || secretInText.MatchString(n.written()) {
		d.report.warnAt(n, "a secret stands in the file; write ${NAME} or ${file:PATH} and keep it elsewhere")
	}
}
