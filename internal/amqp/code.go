package amqp

// A Code is the constructor octet of a primitive value (AMQP 1.0 part 1,
// section 1.6).
type Code byte

// Constructor octets. The upper half of an octet gives the width of what
// follows: 4 none, 5 one byte, 6 two, 7 four, 8 eight, 9 sixteen, A and B a
// length of one or four bytes, C and D a list or map with such a length and a
// count, E and F an array.
const (
	CodeDescribed Code = 0x00

	CodeNull       Code = 0x40
	CodeTrue       Code = 0x41
	CodeFalse      Code = 0x42
	CodeUint0      Code = 0x43
	CodeUlong0     Code = 0x44
	CodeList0      Code = 0x45
	CodeUbyte      Code = 0x50
	CodeByte       Code = 0x51
	CodeSmallUint  Code = 0x52
	CodeSmallUlong Code = 0x53
	CodeSmallInt   Code = 0x54
	CodeSmallLong  Code = 0x55
	CodeBool       Code = 0x56
	CodeUshort     Code = 0x60
	CodeShort      Code = 0x61
	CodeUint       Code = 0x70
	CodeInt        Code = 0x71
	CodeFloat      Code = 0x72
	CodeChar       Code = 0x73
	CodeDecimal32  Code = 0x74
	CodeUlong      Code = 0x80
	CodeLong       Code = 0x81
	CodeDouble     Code = 0x82
	CodeTimestamp  Code = 0x83
	CodeDecimal64  Code = 0x84
	CodeDecimal128 Code = 0x94
	CodeUUID       Code = 0x98
	CodeBinary8    Code = 0xa0
	CodeString8    Code = 0xa1
	CodeSymbol8    Code = 0xa3
	CodeBinary32   Code = 0xb0
	CodeString32   Code = 0xb1
	CodeSymbol32   Code = 0xb3
	CodeList8      Code = 0xc0
	CodeMap8       Code = 0xc1
	CodeList32     Code = 0xd0
	CodeMap32      Code = 0xd1
	CodeArray8     Code = 0xe0
	CodeArray32    Code = 0xf0
)

// known reports whether c is a constructor that the specification defines.
func (c Code) known() bool {
	switch c {
	case CodeNull, CodeTrue, CodeFalse, CodeUint0, CodeUlong0, CodeList0,
		CodeUbyte, CodeByte, CodeSmallUint, CodeSmallUlong, CodeSmallInt, CodeSmallLong, CodeBool,
		CodeUshort, CodeShort, CodeUint, CodeInt, CodeFloat, CodeChar, CodeDecimal32,
		CodeUlong, CodeLong, CodeDouble, CodeTimestamp, CodeDecimal64, CodeDecimal128, CodeUUID,
		CodeBinary8, CodeString8, CodeSymbol8, CodeBinary32, CodeString32, CodeSymbol32,
		CodeList8, CodeMap8, CodeList32, CodeMap32, CodeArray8, CodeArray32:
		return true
	}
	return false
}

// Descriptor codes of the composites that this package knows.
const (
	CodeError = 0x1d

	CodeOpen        = 0x10
	CodeBegin       = 0x11
	CodeAttach      = 0x12
	CodeFlow        = 0x13
	CodeTransfer    = 0x14
	CodeDisposition = 0x15
	CodeDetach      = 0x16
	CodeEnd         = 0x17
	CodeClose       = 0x18

	CodeReceived = 0x23
	CodeAccepted = 0x24
	CodeRejected = 0x25
	CodeReleased = 0x26
	CodeModified = 0x27

	CodeSource      = 0x28
	CodeTarget      = 0x29
	CodeCoordinator = 0x30

	CodeSASLMechanisms = 0x40
	CodeSASLInit       = 0x41
	CodeSASLChallenge  = 0x42
	CodeSASLResponse   = 0x43
	CodeSASLOutcome    = 0x44

	CodeHeader                = 0x70
	CodeDeliveryAnnotations   = 0x71
	CodeMessageAnnotations    = 0x72
	CodeProperties            = 0x73
	CodeApplicationProperties = 0x74
	CodeData                  = 0x75
	CodeSequence              = 0x76
	CodeValue                 = 0x77
	CodeFooter                = 0x78
)

// descriptorName gives the symbolic descriptor of a composite ("amqp:open:list").
// The empty string means that the code is not known.
func descriptorName(code uint64) string {
	switch code {
	case CodeError:
		return "amqp:error:list"
	case CodeOpen:
		return "amqp:open:list"
	case CodeBegin:
		return "amqp:begin:list"
	case CodeAttach:
		return "amqp:attach:list"
	case CodeFlow:
		return "amqp:flow:list"
	case CodeTransfer:
		return "amqp:transfer:list"
	case CodeDisposition:
		return "amqp:disposition:list"
	case CodeDetach:
		return "amqp:detach:list"
	case CodeEnd:
		return "amqp:end:list"
	case CodeClose:
		return "amqp:close:list"
	case CodeReceived:
		return "amqp:received:list"
	case CodeAccepted:
		return "amqp:accepted:list"
	case CodeRejected:
		return "amqp:rejected:list"
	case CodeReleased:
		return "amqp:released:list"
	case CodeModified:
		return "amqp:modified:list"
	case CodeSource:
		return "amqp:source:list"
	case CodeTarget:
		return "amqp:target:list"
	case CodeCoordinator:
		return "amqp:coordinator:list"
	}
	return saslOrSectionName(code)
}

func saslOrSectionName(code uint64) string {
	switch code {
	case CodeSASLMechanisms:
		return "amqp:sasl-mechanisms:list"
	case CodeSASLInit:
		return "amqp:sasl-init:list"
	case CodeSASLChallenge:
		return "amqp:sasl-challenge:list"
	case CodeSASLResponse:
		return "amqp:sasl-response:list"
	case CodeSASLOutcome:
		return "amqp:sasl-outcome:list"
	case CodeHeader:
		return "amqp:header:list"
	case CodeDeliveryAnnotations:
		return "amqp:delivery-annotations:map"
	case CodeMessageAnnotations:
		return "amqp:message-annotations:map"
	case CodeProperties:
		return "amqp:properties:list"
	case CodeApplicationProperties:
		return "amqp:application-properties:map"
	case CodeData:
		return "amqp:data:binary"
	case CodeSequence:
		return "amqp:amqp-sequence:list"
	case CodeValue:
		return "amqp:amqp-value:*"
	case CodeFooter:
		return "amqp:footer:map"
	}
	return ""
}

// descriptorCode is the inverse of descriptorName; 0 means not known. It is
// only on the path of peers that write symbolic descriptors, which none of the
// Event Hubs clients does, so a scan is good enough.
func descriptorCode(name []byte) uint64 {
	for code := uint64(CodeOpen); code <= CodeFooter; code++ {
		if n := descriptorName(code); n != "" && n == string(name) {
			return code
		}
	}
	return 0
}
