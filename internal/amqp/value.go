package amqp

import (
	"encoding/binary"
	"fmt"
	"math"
)

// AppendValue appends v, whose type must be one of those listed at Symbol, or
// Raw. On an error dst is returned unchanged.
func AppendValue(dst []byte, v any) ([]byte, error) {
	if err := encodable(v, 0); err != nil {
		return dst, err
	}
	return appendAny(dst, v), nil
}

// encodable checks what appendAny takes for granted.
func encodable(v any, depth int) error {
	if depth > maxDepth {
		return errTooDeep
	}
	switch v := v.(type) {
	case nil, bool, uint8, uint16, uint32, uint64, int8, int16, int32, int64, float32, float64,
		Decimal32, Decimal64, Decimal128, Char, Timestamp, UUID, []byte, string, Symbol, Raw:
		return nil
	case List:
		for _, x := range v {
			if err := encodable(x, depth+1); err != nil {
				return err
			}
		}
		return nil
	case Map:
		for _, p := range v {
			if err := encodable(p.Key, depth+1); err != nil {
				return err
			}
			if err := encodable(p.Value, depth+1); err != nil {
				return err
			}
		}
		return nil
	case Described:
		if err := encodable(v.Descriptor, depth+1); err != nil {
			return err
		}
		return encodable(v.Value, depth+1)
	case Array:
		return v.encodable(depth)
	}
	return SyntaxError(fmt.Sprintf("cannot encode a Go value of type %T", v))
}

func (a Array) encodable(depth int) error {
	if a.Descriptor != nil {
		if err := encodable(a.Descriptor, depth+1); err != nil {
			return err
		}
	}
	if len(a.Items) == 0 {
		if !a.Code.known() {
			return SyntaxError(fmt.Sprintf("array of unknown type 0x%02x", byte(a.Code)))
		}
		return nil
	}
	want := elementCode(a.Items[0])
	for _, x := range a.Items {
		if c := elementCode(x); c == 0 || c != want {
			return SyntaxError(fmt.Sprintf("array with an element of type %T", x))
		}
		if err := encodable(x, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// appendAny appends a value that encodable has passed or a decoder has made;
// anything else becomes null.
func appendAny(dst []byte, v any) []byte {
	switch v := v.(type) {
	case bool:
		return AppendBool(dst, v)
	case uint8:
		return AppendUbyte(dst, v)
	case uint16:
		return AppendUshort(dst, v)
	case uint32:
		return AppendUint(dst, v)
	case uint64:
		return AppendUlong(dst, v)
	case int8:
		return AppendByte(dst, v)
	case int16:
		return AppendShort(dst, v)
	case int32:
		return AppendInt(dst, v)
	case int64:
		return AppendLong(dst, v)
	case []byte:
		return AppendBinary(dst, v)
	case string:
		return AppendString(dst, v)
	case Symbol:
		return AppendSymbol(dst, v)
	case Raw:
		return append(dst, v...)
	case Described:
		return appendAny(appendAny(append(dst, byte(CodeDescribed)), v.Descriptor), v.Value)
	case nil:
		return AppendNull(dst)
	}
	if c := elementCode(v); c != 0 {
		return appendElement(append(dst, byte(c)), v)
	}
	return AppendNull(dst)
}

// elementCode is the constructor under which values of v's type stand in an
// array: always the widest of the type. 0 means that v cannot be an element.
func elementCode(v any) Code {
	switch v.(type) {
	case nil:
		return CodeNull
	case bool:
		return CodeBool
	case uint8:
		return CodeUbyte
	case uint16:
		return CodeUshort
	case uint32:
		return CodeUint
	case uint64:
		return CodeUlong
	case int8:
		return CodeByte
	case int16:
		return CodeShort
	case int32:
		return CodeInt
	case int64:
		return CodeLong
	case float32:
		return CodeFloat
	case float64:
		return CodeDouble
	case Decimal32:
		return CodeDecimal32
	case Decimal64:
		return CodeDecimal64
	case Decimal128:
		return CodeDecimal128
	case Char:
		return CodeChar
	case Timestamp:
		return CodeTimestamp
	case UUID:
		return CodeUUID
	case []byte:
		return CodeBinary32
	case string:
		return CodeString32
	case Symbol:
		return CodeSymbol32
	case List:
		return CodeList32
	case Map:
		return CodeMap32
	case Array:
		return CodeArray32
	}
	return 0
}

// appendElement appends v without its constructor, in the width that
// elementCode names.
func appendElement(dst []byte, v any) []byte {
	be := binary.BigEndian
	switch v := v.(type) {
	case bool:
		if v {
			return append(dst, 1)
		}
		return append(dst, 0)
	case uint8:
		return append(dst, v)
	case uint16:
		return be.AppendUint16(dst, v)
	case uint32:
		return be.AppendUint32(dst, v)
	case uint64:
		return be.AppendUint64(dst, v)
	case int8:
		return append(dst, byte(v))
	case int16:
		return be.AppendUint16(dst, uint16(v))
	case int32:
		return be.AppendUint32(dst, uint32(v))
	case int64:
		return be.AppendUint64(dst, uint64(v))
	case float32:
		return be.AppendUint32(dst, math.Float32bits(v))
	case float64:
		return be.AppendUint64(dst, math.Float64bits(v))
	case Decimal32:
		return append(dst, v[:]...)
	case Decimal64:
		return append(dst, v[:]...)
	case Decimal128:
		return append(dst, v[:]...)
	case Char:
		return be.AppendUint32(dst, uint32(v))
	case Timestamp:
		return be.AppendUint64(dst, uint64(v))
	case UUID:
		return append(dst, v[:]...)
	case []byte:
		return append(be.AppendUint32(dst, uint32(len(v))), v...)
	case string:
		return append(be.AppendUint32(dst, uint32(len(v))), v...)
	case Symbol:
		return append(be.AppendUint32(dst, uint32(len(v))), v...)
	}
	return appendElements(dst, v)
}

// appendElements appends size, count and content of a list, map or array.
func appendElements(dst []byte, v any) []byte {
	mark := len(dst) + 4
	switch v := v.(type) {
	case List:
		dst = appendSizeCount(dst, len(v))
		for _, x := range v {
			dst = appendAny(dst, x)
		}
	case Map:
		dst = appendSizeCount(dst, 2*len(v))
		for _, p := range v {
			dst = appendAny(appendAny(dst, p.Key), p.Value)
		}
	case Array:
		dst = appendSizeCount(dst, len(v.Items))
		if v.Descriptor != nil {
			dst = appendAny(append(dst, byte(CodeDescribed)), v.Descriptor)
		}
		if len(v.Items) == 0 {
			return endCompound(append(dst, byte(v.Code)), mark)
		}
		dst = append(dst, byte(elementCode(v.Items[0])))
		for _, x := range v.Items {
			dst = appendElement(dst, x)
		}
	default:
		return dst
	}
	return endCompound(dst, mark)
}

func appendSizeCount(dst []byte, count int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, 0, 0, 0, 0), uint32(count))
}
