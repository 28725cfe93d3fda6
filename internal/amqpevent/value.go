package amqpevent

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/amqp"
)

var errValue = errors.New("value is not well formed AMQP")

// AppendValue appends a value in its AMQP encoding, constructor included.
func AppendValue(dst []byte, v hubferry.Value) []byte { return appendValue(dst, v) }

// ParseValue reads bytes that are exactly one well-formed AMQP value.
func ParseValue(b []byte) (hubferry.Value, error) {
	d := amqp.NewDecoder(b)
	if d.Check(); d.Err() != nil {
		return hubferry.Value{}, d.Err()
	}
	if d.Len() > 0 {
		return hubferry.Value{}, errValue
	}
	return valueOf(b)
}

// readValue reads the next value of d, keeping its type. Text and compound values are
// copied out of the message.
func readValue(d *amqp.Decoder) (hubferry.Value, error) {
	raw := d.Raw()
	if d.Err() != nil {
		return hubferry.Value{}, d.Err()
	}
	return valueOf(raw)
}

// valueOf converts one encoded value.
func valueOf(raw amqp.Raw) (hubferry.Value, error) {
	if len(raw) == 0 {
		return hubferry.Value{}, errValue
	}
	switch c := amqp.Code(raw[0]); c {
	case amqp.CodeDescribed:
		return hubferry.Encoded(hubferry.KindDescribed, raw), nil
	case amqp.CodeList0, amqp.CodeList8, amqp.CodeList32:
		return hubferry.Encoded(hubferry.KindList, raw), nil
	case amqp.CodeMap8, amqp.CodeMap32:
		return hubferry.Encoded(hubferry.KindMap, raw), nil
	case amqp.CodeArray8, amqp.CodeArray32:
		return hubferry.Encoded(hubferry.KindArray, raw), nil
	case amqp.CodeBinary8, amqp.CodeSymbol8, amqp.CodeString8:
		return textOf(c, raw, 2)
	case amqp.CodeBinary32, amqp.CodeSymbol32, amqp.CodeString32:
		return textOf(c, raw, 5)
	default:
		return scalarOf(c, raw[1:])
	}
}

func textOf(c amqp.Code, raw amqp.Raw, head int) (hubferry.Value, error) {
	if len(raw) < head {
		return hubferry.Value{}, errValue
	}
	switch c {
	case amqp.CodeBinary8, amqp.CodeBinary32:
		return hubferry.Binary(raw[head:]), nil
	case amqp.CodeSymbol8, amqp.CodeSymbol32:
		return hubferry.Symbol(string(raw[head:])), nil
	default:
		return hubferry.String(string(raw[head:])), nil
	}
}

// scalarOf converts a value of fixed width; b is what follows its constructor.
func scalarOf(c amqp.Code, b []byte) (hubferry.Value, error) {
	switch {
	case c>>4 == 0x4:
		return constantOf(c)
	case len(b) != fixedWidth(c):
		return hubferry.Value{}, errValue
	case c>>4 == 0x5:
		return byteOf(c, b[0])
	}
	be := binary.BigEndian
	switch c {
	case amqp.CodeUshort:
		return hubferry.UShort(be.Uint16(b)), nil
	case amqp.CodeShort:
		return hubferry.Short(int16(be.Uint16(b))), nil
	case amqp.CodeUint:
		return hubferry.UInt(be.Uint32(b)), nil
	case amqp.CodeInt:
		return hubferry.Int(int32(be.Uint32(b))), nil
	case amqp.CodeFloat:
		return hubferry.Float(math.Float32frombits(be.Uint32(b))), nil
	case amqp.CodeChar:
		return hubferry.Char(be.Uint32(b)), nil
	case amqp.CodeDecimal32:
		return hubferry.Decimal32(be.Uint32(b)), nil
	case amqp.CodeUlong:
		return hubferry.ULong(be.Uint64(b)), nil
	case amqp.CodeLong:
		return hubferry.Long(int64(be.Uint64(b))), nil
	case amqp.CodeDouble:
		return hubferry.Double(math.Float64frombits(be.Uint64(b))), nil
	case amqp.CodeTimestamp:
		return hubferry.Timestamp(int64(be.Uint64(b))), nil
	case amqp.CodeDecimal64:
		return hubferry.Decimal64(be.Uint64(b)), nil
	case amqp.CodeDecimal128:
		return hubferry.Decimal128([16]byte(b)), nil
	case amqp.CodeUUID:
		return hubferry.UUID([16]byte(b)), nil
	default:
		return hubferry.Value{}, errValue
	}
}

// fixedWidth is the number of bytes behind a constructor of fixed width (AMQP 1.0,
// part 1, 1.2: the upper half of the octet tells).
func fixedWidth(c amqp.Code) int {
	switch c >> 4 {
	case 0x5:
		return 1
	case 0x6:
		return 2
	case 0x7:
		return 4
	case 0x8:
		return 8
	case 0x9:
		return 16
	default:
		return -1
	}
}

// constantOf converts the values that are all constructor.
func constantOf(c amqp.Code) (hubferry.Value, error) {
	switch c {
	case amqp.CodeNull:
		return hubferry.Null(), nil
	case amqp.CodeTrue, amqp.CodeFalse:
		return hubferry.Bool(c == amqp.CodeTrue), nil
	case amqp.CodeUint0:
		return hubferry.UInt(0), nil
	case amqp.CodeUlong0:
		return hubferry.ULong(0), nil
	default:
		return hubferry.Value{}, errValue
	}
}

func byteOf(c amqp.Code, b byte) (hubferry.Value, error) {
	switch c {
	case amqp.CodeUbyte:
		return hubferry.UByte(b), nil
	case amqp.CodeByte:
		return hubferry.Byte(int8(b)), nil
	case amqp.CodeSmallUint:
		return hubferry.UInt(uint32(b)), nil
	case amqp.CodeSmallUlong:
		return hubferry.ULong(uint64(b)), nil
	case amqp.CodeSmallInt:
		return hubferry.Int(int32(int8(b))), nil
	case amqp.CodeSmallLong:
		return hubferry.Long(int64(int8(b))), nil
	case amqp.CodeBool:
		return hubferry.Bool(b != 0), nil
	default:
		return hubferry.Value{}, errValue
	}
}

// appendValue appends a value in its AMQP encoding.
func appendValue(dst []byte, v hubferry.Value) []byte {
	be := binary.BigEndian
	bits := v.Bits()
	switch v.Kind() {
	case hubferry.KindBool:
		return amqp.AppendBool(dst, bits != 0)
	case hubferry.KindUByte:
		return amqp.AppendUbyte(dst, uint8(bits))
	case hubferry.KindUShort:
		return amqp.AppendUshort(dst, uint16(bits))
	case hubferry.KindUInt:
		return amqp.AppendUint(dst, uint32(bits))
	case hubferry.KindULong:
		return amqp.AppendUlong(dst, bits)
	case hubferry.KindByte:
		return amqp.AppendByte(dst, int8(bits))
	case hubferry.KindShort:
		return amqp.AppendShort(dst, int16(bits))
	case hubferry.KindInt:
		return amqp.AppendInt(dst, int32(bits))
	case hubferry.KindLong:
		return amqp.AppendLong(dst, int64(bits))
	case hubferry.KindFloat:
		return be.AppendUint32(append(dst, byte(amqp.CodeFloat)), uint32(bits))
	case hubferry.KindDouble:
		return be.AppendUint64(append(dst, byte(amqp.CodeDouble)), bits)
	case hubferry.KindChar:
		return be.AppendUint32(append(dst, byte(amqp.CodeChar)), uint32(bits))
	case hubferry.KindDecimal32:
		return be.AppendUint32(append(dst, byte(amqp.CodeDecimal32)), uint32(bits))
	case hubferry.KindDecimal64:
		return be.AppendUint64(append(dst, byte(amqp.CodeDecimal64)), bits)
	case hubferry.KindTimestamp:
		return amqp.AppendTimestamp(dst, amqp.Timestamp(bits))
	case hubferry.KindNull:
		return amqp.AppendNull(dst)
	default:
		return appendRaw(dst, v)
	}
}

// appendRaw appends the values that are kept as bytes.
func appendRaw(dst []byte, v hubferry.Value) []byte {
	raw := v.Raw()
	switch v.Kind() {
	case hubferry.KindDecimal128:
		return append(append(dst, byte(amqp.CodeDecimal128)), raw...)
	case hubferry.KindUUID:
		return append(append(dst, byte(amqp.CodeUUID)), raw...)
	case hubferry.KindBinary:
		return appendText(dst, amqp.CodeBinary8, amqp.CodeBinary32, raw)
	case hubferry.KindString:
		return amqp.AppendString(dst, raw)
	case hubferry.KindSymbol:
		return amqp.AppendSymbol(dst, amqp.Symbol(raw))
	case hubferry.KindList, hubferry.KindMap, hubferry.KindArray, hubferry.KindDescribed:
		return append(dst, raw...)
	default:
		return amqp.AppendNull(dst)
	}
}

// appendText appends text under either of two constructors, without turning a string
// into a slice first.
func appendText(dst []byte, short, long amqp.Code, s string) []byte {
	if len(s) <= math.MaxUint8 {
		return append(append(dst, byte(short), byte(len(s))), s...)
	}
	dst = binary.BigEndian.AppendUint32(append(dst, byte(long)), uint32(len(s)))
	return append(dst, s...)
}
