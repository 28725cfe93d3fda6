package interop

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
)

// view is what a client shows of a value that was sent: what its SDK merges is merged here too, and nothing else. Java
// shows every type as it is; go-amqp makes symbols strings.
func view(clientName string, v value) value {
	switch v.T {
	case "list":
		out := list()
		for _, item := range v.List {
			out.List = append(out.List, view(clientName, item))
		}
		return out
	case "map":
		out := value{T: "map"}
		for _, pair := range v.Map {
			out.Map = append(out.Map, [2]value{view(clientName, pair[0]), view(clientName, pair[1])})
		}
		return canonical(out)
	}
	switch language, _, _ := strings.Cut(clientName, "-"); language {
	case "go":
		if v.T == "symbol" {
			return text(v.Text)
		}
	case "js":
		return viewJS(v)
	case "python":
		return viewPython(v)
	}
	return v
}

// viewJS knows rhea: one number type, 64-bit integers beyond 2^53 as their bytes, symbols as strings, uuids as bytes.
func viewJS(v value) value {
	switch v.T {
	case "ubyte", "ushort", "uint", "byte", "short", "int", "char":
		return value{T: "number", Text: v.Text}
	case "long", "ulong":
		return viewJSLong(v)
	case "float", "double":
		return value{T: "number", Text: jsNumber(v.float64Of())}
	case "symbol":
		return text(v.Text)
	case "uuid":
		return value{T: "binary", Text: base64.StdEncoding.EncodeToString(v.bytesOf())}
	}
	return v
}

func viewJSLong(v value) value {
	var bits uint64
	var high int64
	if v.T == "long" {
		n, err := strconv.ParseInt(v.Text, 10, 64)
		if err != nil {
			return v
		}
		bits, high = uint64(n), n>>32
	} else {
		n, err := strconv.ParseUint(v.Text, 10, 64)
		if err != nil {
			return v
		}
		bits, high = n, int64(n>>32)
	}
	if high < 2097153 && (v.T == "ulong" || high > -2097153) {
		return value{T: "number", Text: v.Text}
	}
	return value{T: "binary", Text: base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, bits))}
}

// jsNumber prints a number as JavaScript's String does, for the ranges that the tests use.
func jsNumber(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case f == 0 && math.Signbit(f):
		return "-0"
	case f != 0 && (math.Abs(f) >= 1e21 || math.Abs(f) < 1e-6):
		s := strconv.FormatFloat(f, 'e', -1, 64)
		mantissa, exponent, _ := strings.Cut(s, "e")
		sign, digits := exponent[:1], strings.TrimLeft(exponent[1:], "0")
		return mantissa + "e" + sign + digits
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// viewPython knows the SDK's own AMQP stack: integers and timestamps without type, text, symbols and binary as bytes.
func viewPython(v value) value {
	switch v.T {
	case "ubyte", "ushort", "uint", "ulong", "byte", "short", "int", "long", "timestamp":
		return value{T: "integer", Text: v.Text}
	case "float", "double":
		return double(v.float64Of())
	case "string", "symbol":
		return value{T: "binary", Text: base64.StdEncoding.EncodeToString([]byte(v.Text))}
	}
	return v
}

// canonical orders the pairs of maps, which some SDKs keep in hash order.
func canonical(v value) value {
	for i := range v.List {
		v.List[i] = canonical(v.List[i])
	}
	for i := range v.Map {
		v.Map[i] = [2]value{canonical(v.Map[i][0]), canonical(v.Map[i][1])}
	}
	slices.SortFunc(v.Map, func(a, b [2]value) int { return strings.Compare(a[0].String(), b[0].String()) })
	return v
}

// viewSection is a section as a client shows it, ordered by name.
func viewSection(clientName string, pairs []named) []named {
	var out []named
	for _, p := range pairs {
		out = append(out, named{p.Name, canonical(view(clientName, p.Value))})
	}
	return sorted(out)
}
