package amqp

// SASL mechanisms that Event Hubs offers.
const (
	MechMSSBCBS   Symbol = "MSSBCBS"
	MechPlain     Symbol = "PLAIN"
	MechAnonymous Symbol = "ANONYMOUS"
	MechExternal  Symbol = "EXTERNAL"
)

// SASL outcome codes.
const (
	SASLOK   uint8 = 0
	SASLAuth uint8 = 1 // credentials refused
	SASLSys  uint8 = 2
)

// Guards.
var (
	_ Performative = (*SASLMechanisms)(nil)
	_ Performative = (*SASLInit)(nil)
	_ Performative = (*SASLResponse)(nil)
	_ Performative = (*SASLOutcome)(nil)
)

// SASLMechanisms is the server's offer. It stands in a frame of TypeSASL, as
// the other SASL types do.
type SASLMechanisms struct {
	Mechanisms []Symbol
}

// Append implements Performative.
func (m *SASLMechanisms) Append(dst []byte) []byte {
	dst, mark := beginComposite(dst, CodeSASLMechanisms, 1)
	return endCompound(AppendSymbols(dst, m.Mechanisms), mark)
}

// Decode implements Performative.
func (m *SASLMechanisms) Decode(body []byte) ([]byte, error) {
	f, rest, err := decode(body, CodeSASLMechanisms)
	if err != nil {
		return nil, err
	}
	*m = SASLMechanisms{Mechanisms: f.symbols()}
	return rest, f.err()
}

// SASLInit is the client's choice. Response may hold a secret.
type SASLInit struct {
	Mechanism Symbol
	Response  []byte // points into the input when decoded; nil is absent
	Hostname  string
}

// Append implements Performative.
func (i *SASLInit) Append(dst []byte) []byte {
	dst, mark := beginComposite(dst, CodeSASLInit, 3)
	dst = appendOptBinary(AppendSymbol(dst, i.Mechanism), i.Response)
	return endCompound(appendOptString(dst, i.Hostname), mark)
}

// Decode implements Performative.
func (i *SASLInit) Decode(body []byte) ([]byte, error) {
	f, rest, err := decode(body, CodeSASLInit)
	if err != nil {
		return nil, err
	}
	*i = SASLInit{Mechanism: f.symbol(), Response: f.binary(), Hostname: f.string()}
	return rest, f.err()
}

// SASLResponse answers a challenge. None of the mechanisms named here uses it.
type SASLResponse struct {
	Response []byte // may hold a secret
}

// Append implements Performative.
func (r *SASLResponse) Append(dst []byte) []byte {
	dst, mark := beginComposite(dst, CodeSASLResponse, 1)
	return endCompound(AppendBinary(dst, r.Response), mark)
}

// Decode implements Performative.
func (r *SASLResponse) Decode(body []byte) ([]byte, error) {
	f, rest, err := decode(body, CodeSASLResponse)
	if err != nil {
		return nil, err
	}
	*r = SASLResponse{Response: f.binary()}
	return rest, f.err()
}

// SASLOutcome ends the SASL exchange.
type SASLOutcome struct {
	Code       uint8
	Additional []byte
}

// Append implements Performative.
func (o *SASLOutcome) Append(dst []byte) []byte {
	dst, mark := beginComposite(dst, CodeSASLOutcome, 2)
	dst = AppendUbyte(dst, o.Code)
	return endCompound(appendOptBinary(dst, o.Additional), mark)
}

// Decode implements Performative.
func (o *SASLOutcome) Decode(body []byte) ([]byte, error) {
	f, rest, err := decode(body, CodeSASLOutcome)
	if err != nil {
		return nil, err
	}
	*o = SASLOutcome{Code: f.uint8().V, Additional: f.binary()}
	return rest, f.err()
}
