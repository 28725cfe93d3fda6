package amqp

import (
	"encoding/binary"
	"math"
)

// AppendNull appends a null.
func AppendNull(dst []byte) []byte { return append(dst, byte(CodeNull)) }

// AppendBool appends a boolean in its one-byte form.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, byte(CodeTrue))
	}
	return append(dst, byte(CodeFalse))
}

// AppendUbyte appends a ubyte.
func AppendUbyte(dst []byte, v uint8) []byte { return append(dst, byte(CodeUbyte), v) }

// AppendUshort appends a ushort.
func AppendUshort(dst []byte, v uint16) []byte {
	return append(dst, byte(CodeUshort), byte(v>>8), byte(v))
}

// AppendUint appends a uint in its shortest form.
func AppendUint(dst []byte, v uint32) []byte {
	switch {
	case v == 0:
		return append(dst, byte(CodeUint0))
	case v <= math.MaxUint8:
		return append(dst, byte(CodeSmallUint), byte(v))
	}
	return binary.BigEndian.AppendUint32(append(dst, byte(CodeUint)), v)
}

// AppendUlong appends a ulong in its shortest form.
func AppendUlong(dst []byte, v uint64) []byte {
	switch {
	case v == 0:
		return append(dst, byte(CodeUlong0))
	case v <= math.MaxUint8:
		return append(dst, byte(CodeSmallUlong), byte(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, byte(CodeUlong)), v)
}

// AppendByte appends a byte (signed, 8 bits).
func AppendByte(dst []byte, v int8) []byte { return append(dst, byte(CodeByte), byte(v)) }

// AppendShort appends a short (signed, 16 bits).
func AppendShort(dst []byte, v int16) []byte {
	return append(dst, byte(CodeShort), byte(v>>8), byte(v))
}

// AppendInt appends an int (signed, 32 bits) in its shortest form.
func AppendInt(dst []byte, v int32) []byte {
	if v >= math.MinInt8 && v <= math.MaxInt8 {
		return append(dst, byte(CodeSmallInt), byte(v))
	}
	return binary.BigEndian.AppendUint32(append(dst, byte(CodeInt)), uint32(v))
}

// AppendLong appends a long (signed, 64 bits) in its shortest form.
func AppendLong(dst []byte, v int64) []byte {
	if v >= math.MinInt8 && v <= math.MaxInt8 {
		return append(dst, byte(CodeSmallLong), byte(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, byte(CodeLong)), uint64(v))
}

// AppendFloat appends a float.
func AppendFloat(dst []byte, v float32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, byte(CodeFloat)), math.Float32bits(v))
}

// AppendDouble appends a double.
func AppendDouble(dst []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, byte(CodeDouble)), math.Float64bits(v))
}

// AppendChar appends a char.
func AppendChar(dst []byte, v Char) []byte {
	return binary.BigEndian.AppendUint32(append(dst, byte(CodeChar)), uint32(v))
}

// AppendTimestamp appends a timestamp.
func AppendTimestamp(dst []byte, v Timestamp) []byte {
	return binary.BigEndian.AppendUint64(append(dst, byte(CodeTimestamp)), uint64(v))
}

// AppendUUID appends a uuid.
func AppendUUID(dst []byte, v UUID) []byte { return append(append(dst, byte(CodeUUID)), v[:]...) }

// AppendBinary appends a binary; a nil slice is an empty binary.
func AppendBinary(dst, v []byte) []byte {
	return append(appendLen(dst, CodeBinary8, CodeBinary32, len(v)), v...)
}

// AppendString appends a string.
func AppendString(dst []byte, v string) []byte {
	return append(appendLen(dst, CodeString8, CodeString32, len(v)), v...)
}

// AppendText appends a string that is held as bytes.
func AppendText(dst, v []byte) []byte {
	return append(appendLen(dst, CodeString8, CodeString32, len(v)), v...)
}

// AppendSymbol appends a symbol.
func AppendSymbol(dst []byte, v Symbol) []byte {
	return append(appendLen(dst, CodeSymbol8, CodeSymbol32, len(v)), v...)
}

// AppendSymbols appends an array of symbols, or null when v is nil. The
// elements are in the four-byte form, as the real service writes them.
func AppendSymbols(dst []byte, v []Symbol) []byte {
	if v == nil {
		return AppendNull(dst)
	}
	dst, mark := beginCompound(dst, CodeArray32, len(v))
	dst = append(dst, byte(CodeSymbol32))
	for _, s := range v {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
		dst = append(dst, s...)
	}
	return endCompound(dst, mark)
}

// AppendStrings appends an array of strings; nil is an empty array.
func AppendStrings(dst []byte, v []string) []byte {
	wide := false
	for _, s := range v {
		wide = wide || len(s) > math.MaxUint8
	}
	dst, mark := beginCompound(dst, CodeArray32, len(v))
	if wide {
		dst = append(dst, byte(CodeString32))
	} else {
		dst = append(dst, byte(CodeString8))
	}
	for _, s := range v {
		if wide {
			dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
		} else {
			dst = append(dst, byte(len(s)))
		}
		dst = append(dst, s...)
	}
	return endCompound(dst, mark)
}

// AppendDescriptor appends the start of a described value whose descriptor is
// the numeric code; the value must follow.
func AppendDescriptor(dst []byte, code uint64) []byte {
	return AppendUlong(append(dst, byte(CodeDescribed)), code)
}

// BeginMap appends the start of a map of pairs entries. Append the keys and
// values, then call EndMap with the returned mark.
func BeginMap(dst []byte, pairs int) (out []byte, mark int) {
	return beginCompound(dst, CodeMap32, 2*pairs)
}

// EndMap completes what BeginMap began.
func EndMap(dst []byte, mark int) []byte { return endCompound(dst, mark) }

// BeginList appends the start of a list of n items. Append the items, then call
// EndList with the returned mark.
func BeginList(dst []byte, n int) (out []byte, mark int) {
	return beginCompound(dst, CodeList32, n)
}

// EndList completes what BeginList began.
func EndList(dst []byte, mark int) []byte { return endCompound(dst, mark) }

func appendLen(dst []byte, short, long Code, n int) []byte {
	if n <= math.MaxUint8 {
		return append(dst, byte(short), byte(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, byte(long)), uint32(n))
}

// beginCompound appends a constructor, room for a size of four bytes and the
// count; endCompound fills the size in.
func beginCompound(dst []byte, c Code, count int) (out []byte, mark int) {
	dst = append(dst, byte(c), 0, 0, 0, 0)
	mark = len(dst)
	return binary.BigEndian.AppendUint32(dst, uint32(count)), mark
}

func endCompound(dst []byte, mark int) []byte {
	binary.BigEndian.PutUint32(dst[mark-4:], uint32(len(dst)-mark))
	return dst
}

// beginShort is beginCompound for a list that is known to stay below 256
// bytes.
func beginShort(dst []byte, code byte, count byte) (out []byte, mark int) {
	dst = append(dst, byte(CodeDescribed), byte(CodeSmallUlong), code, byte(CodeList8), 0, count)
	return dst, len(dst) - 1
}

func endShort(dst []byte, mark int) []byte {
	dst[mark-1] = byte(len(dst) - mark)
	return dst
}

// beginComposite appends descriptor and list start of a composite.
func beginComposite(dst []byte, code byte, fields int) (out []byte, mark int) {
	return beginCompound(append(dst, byte(CodeDescribed), byte(CodeSmallUlong), code), CodeList32, fields)
}

// optional fields

func appendOptString[S ~string](dst []byte, v S) []byte {
	if v == "" {
		return AppendNull(dst)
	}
	return AppendString(dst, string(v))
}

func appendOptSymbol(dst []byte, v Symbol) []byte {
	if v == "" {
		return AppendNull(dst)
	}
	return AppendSymbol(dst, v)
}

func appendOptBinary(dst, v []byte) []byte {
	if v == nil {
		return AppendNull(dst)
	}
	return AppendBinary(dst, v)
}

func appendOptUint(dst []byte, v Opt[uint32]) []byte {
	if !v.OK {
		return AppendNull(dst)
	}
	return AppendUint(dst, v.V)
}

func appendOptUbyte(dst []byte, v Opt[uint8]) []byte {
	if !v.OK {
		return AppendNull(dst)
	}
	return AppendUbyte(dst, v.V)
}

func appendOptUshort(dst []byte, v Opt[uint16]) []byte {
	if !v.OK {
		return AppendNull(dst)
	}
	return AppendUshort(dst, v.V)
}

func appendOptUlong(dst []byte, v Opt[uint64]) []byte {
	if !v.OK {
		return AppendNull(dst)
	}
	return AppendUlong(dst, v.V)
}

// appendOptMap appends a map that was decoded or built by the caller; values
// of a type that AMQP does not have become null, see AppendValue.
func appendOptMap(dst []byte, m Map) []byte {
	if m == nil {
		return AppendNull(dst)
	}
	return appendAny(dst, m)
}
