package amqp

// A Performative is one of the frame bodies Open … Close.
type Performative interface {
	// Append appends the encoded performative to dst.
	Append(dst []byte) []byte
	// Decode reads the performative that body begins with and returns what
	// follows it, which is a payload for Transfer and otherwise empty.
	Decode(body []byte) (rest []byte, err error)
}

// Guards.
var (
	_ Performative = (*Open)(nil)
	_ Performative = (*Begin)(nil)
	_ Performative = (*Attach)(nil)
	_ Performative = (*Flow)(nil)
	_ Performative = (*Transfer)(nil)
	_ Performative = (*Disposition)(nil)
	_ Performative = (*Detach)(nil)
	_ Performative = (*End)(nil)
	_ Performative = (*Close)(nil)
)

// BodyCode returns the descriptor code of a frame body, CodeOpen … CodeClose or
// CodeSASLMechanisms … CodeSASLOutcome. The code of a descriptor that is not
// known is 0.
func BodyCode(body []byte) (uint64, error) {
	if len(body) >= 3 && body[0] == byte(CodeDescribed) && body[1] == byte(CodeSmallUlong) {
		return uint64(body[2]), nil // as everybody writes it
	}
	d := NewDecoder(body)
	code := d.Descriptor()
	return code, d.Err()
}

// Open negotiates a connection.
type Open struct {
	ContainerID         string
	Hostname            string
	MaxFrameSize        Opt[uint32] // absent: unlimited
	ChannelMax          Opt[uint16] // absent: 65535
	IdleTimeout         Opt[uint32] // milliseconds
	OutgoingLocales     []Symbol
	IncomingLocales     []Symbol
	OfferedCapabilities []Symbol
	DesiredCapabilities []Symbol
	Properties          Map
}

// Append implements Performative.
func (o *Open) Append(dst []byte) []byte {
	dst, mark := beginComposite(dst, CodeOpen, 10)
	dst = AppendString(dst, o.ContainerID)
	dst = appendOptString(dst, o.Hostname)
	dst = appendOptUint(dst, o.MaxFrameSize)
	dst = appendOptUshort(dst, o.ChannelMax)
	dst = appendOptUint(dst, o.IdleTimeout)
	dst = AppendSymbols(dst, o.OutgoingLocales)
	dst = AppendSymbols(dst, o.IncomingLocales)
	dst = AppendSymbols(dst, o.OfferedCapabilities)
	dst = AppendSymbols(dst, o.DesiredCapabilities)
	return endCompound(appendOptMap(dst, o.Properties), mark)
}

// Decode implements Performative.
func (o *Open) Decode(body []byte) ([]byte, error) {
	f, rest, err := decode(body, CodeOpen)
	if err != nil {
		return nil, err
	}
	*o = Open{
		ContainerID:         f.string(),
		Hostname:            f.string(),
		MaxFrameSize:        f.uint32(),
		ChannelMax:          f.uint16(),
		IdleTimeout:         f.uint32(),
		OutgoingLocales:     f.symbols(),
		IncomingLocales:     f.symbols(),
		OfferedCapabilities: f.symbols(),
		DesiredCapabilities: f.symbols(),
		Properties:          f.fieldMap(),
	}
	return rest, f.err()
}

// Begin starts a session on a channel.
type Begin struct {
	RemoteChannel       Opt[uint16] // present in the answer
	NextOutgoingID      uint32
	IncomingWindow      uint32
	OutgoingWindow      uint32
	HandleMax           Opt[uint32] // absent: 4294967295
	OfferedCapabilities []Symbol
	DesiredCapabilities []Symbol
	Properties          Map
}

// Append implements Performative.
func (b *Begin) Append(dst []byte) []byte {
	dst, mark := beginComposite(dst, CodeBegin, 8)
	dst = appendOptUshort(dst, b.RemoteChannel)
	dst = AppendUint(dst, b.NextOutgoingID)
	dst = AppendUint(dst, b.IncomingWindow)
	dst = AppendUint(dst, b.OutgoingWindow)
	dst = appendOptUint(dst, b.HandleMax)
	dst = AppendSymbols(dst, b.OfferedCapabilities)
	dst = AppendSymbols(dst, b.DesiredCapabilities)
	return endCompound(appendOptMap(dst, b.Properties), mark)
}

// Decode implements Performative.
func (b *Begin) Decode(body []byte) ([]byte, error) {
	f, rest, err := decode(body, CodeBegin)
	if err != nil {
		return nil, err
	}
	*b = Begin{
		RemoteChannel:       f.uint16(),
		NextOutgoingID:      f.needUint32(),
		IncomingWindow:      f.needUint32(),
		OutgoingWindow:      f.needUint32(),
		HandleMax:           f.uint32(),
		OfferedCapabilities: f.symbols(),
		DesiredCapabilities: f.symbols(),
		Properties:          f.fieldMap(),
	}
	return rest, f.err()
}

// Flow states windows of a session and, when Handle is present, of a link.
type Flow struct {
	NextIncomingID Opt[uint32]
	IncomingWindow uint32
	NextOutgoingID uint32
	OutgoingWindow uint32
	Handle         Opt[uint32]
	DeliveryCount  Opt[uint32]
	LinkCredit     Opt[uint32]
	Available      Opt[uint32]
	Drain          bool
	Echo           bool
	Properties     Map
}

// Append implements Performative.
func (w *Flow) Append(dst []byte) []byte {
	dst, mark := beginComposite(dst, CodeFlow, 11)
	dst = appendOptUint(dst, w.NextIncomingID)
	dst = AppendUint(dst, w.IncomingWindow)
	dst = AppendUint(dst, w.NextOutgoingID)
	dst = AppendUint(dst, w.OutgoingWindow)
	dst = appendOptUint(dst, w.Handle)
	dst = appendOptUint(dst, w.DeliveryCount)
	dst = appendOptUint(dst, w.LinkCredit)
	dst = appendOptUint(dst, w.Available)
	dst = AppendBool(dst, w.Drain)
	dst = AppendBool(dst, w.Echo)
	return endCompound(appendOptMap(dst, w.Properties), mark)
}

// Decode implements Performative.
func (w *Flow) Decode(body []byte) ([]byte, error) {
	f, rest, err := decode(body, CodeFlow)
	if err != nil {
		return nil, err
	}
	*w = Flow{
		NextIncomingID: f.uint32(),
		IncomingWindow: f.needUint32(),
		NextOutgoingID: f.needUint32(),
		OutgoingWindow: f.needUint32(),
		Handle:         f.uint32(),
		DeliveryCount:  f.uint32(),
		LinkCredit:     f.uint32(),
		Available:      f.uint32(),
		Drain:          f.bool(),
		Echo:           f.bool(),
		Properties:     f.fieldMap(),
	}
	return rest, f.err()
}

// Transfer carries a message or a part of one. The payload follows it in the
// frame.
type Transfer struct {
	Handle        uint32
	DeliveryID    Opt[uint32]
	DeliveryTag   []byte // points into the input when decoded; nil is absent
	MessageFormat Opt[uint32]
	Settled       bool
	More          bool
	RcvSettleMode Opt[uint8]
	State         State
	Resume        bool
	Aborted       bool
	Batchable     bool
}

// Append implements Performative. It does not allocate beyond dst.
func (t *Transfer) Append(dst []byte) []byte {
	if t.State.Code != 0 || len(t.DeliveryTag) > 32 {
		return t.appendLong(dst)
	}
	dst, mark := beginShort(dst, CodeTransfer, 11)
	return endShort(t.appendFields(dst), mark)
}

func (t *Transfer) appendLong(dst []byte) []byte {
	dst, mark := beginComposite(dst, CodeTransfer, 11)
	return endCompound(t.appendFields(dst), mark)
}

func (t *Transfer) appendFields(dst []byte) []byte {
	dst = AppendUint(dst, t.Handle)
	dst = appendOptUint(dst, t.DeliveryID)
	dst = appendOptBinary(dst, t.DeliveryTag)
	dst = appendOptUint(dst, t.MessageFormat)
	dst = AppendBool(dst, t.Settled)
	dst = AppendBool(dst, t.More)
	dst = appendOptUbyte(dst, t.RcvSettleMode)
	dst = t.State.append(dst)
	dst = AppendBool(dst, t.Resume)
	dst = AppendBool(dst, t.Aborted)
	return AppendBool(dst, t.Batchable)
}

// Decode implements Performative. It does not allocate unless the transfer
// carries a state.
func (t *Transfer) Decode(body []byte) (payload []byte, err error) {
	if end := t.decodeUsual(body); end > 0 {
		return body[end:], nil
	}
	f, rest, err := decode(body, CodeTransfer)
	if err != nil {
		return nil, err
	}
	*t = Transfer{
		Handle:        f.needUint32(),
		DeliveryID:    f.uint32(),
		DeliveryTag:   f.binary(),
		MessageFormat: f.uint32(),
		Settled:       f.bool(),
		More:          f.bool(),
		RcvSettleMode: f.uint8(),
		State:         f.state(),
		Resume:        f.bool(),
		Aborted:       f.bool(),
		Batchable:     f.bool(),
	}
	return rest, f.err()
}

// Disposition tells the state of the deliveries First to Last.
type Disposition struct {
	Receiver  bool // the role of the sender of this frame
	First     uint32
	Last      Opt[uint32] // absent: First
	Settled   bool
	State     State
	Batchable bool
}

// Append implements Performative.
func (p *Disposition) Append(dst []byte) []byte {
	dst, mark := beginComposite(dst, CodeDisposition, 6)
	dst = AppendBool(dst, p.Receiver)
	dst = AppendUint(dst, p.First)
	dst = appendOptUint(dst, p.Last)
	dst = AppendBool(dst, p.Settled)
	dst = p.State.append(dst)
	return endCompound(AppendBool(dst, p.Batchable), mark)
}

// Decode implements Performative.
func (p *Disposition) Decode(body []byte) ([]byte, error) {
	f, rest, err := decode(body, CodeDisposition)
	if err != nil {
		return nil, err
	}
	*p = Disposition{
		Receiver:  f.bool(),
		First:     f.needUint32(),
		Last:      f.uint32(),
		Settled:   f.bool(),
		State:     f.state(),
		Batchable: f.bool(),
	}
	return rest, f.err()
}

// Detach ends a link, for good when Closed.
type Detach struct {
	Handle uint32
	Closed bool
	Error  *Error
}

// Append implements Performative.
func (t *Detach) Append(dst []byte) []byte {
	dst, mark := beginComposite(dst, CodeDetach, 3)
	dst = AppendBool(AppendUint(dst, t.Handle), t.Closed)
	return endCompound(t.Error.append(dst), mark)
}

// Decode implements Performative.
func (t *Detach) Decode(body []byte) ([]byte, error) {
	f, rest, err := decode(body, CodeDetach)
	if err != nil {
		return nil, err
	}
	*t = Detach{Handle: f.needUint32(), Closed: f.bool(), Error: f.error()}
	return rest, f.err()
}

// End ends a session.
type End struct {
	Error *Error
}

// Append implements Performative.
func (e *End) Append(dst []byte) []byte { return appendError(dst, CodeEnd, e.Error) }

// Decode implements Performative.
func (e *End) Decode(body []byte) ([]byte, error) {
	f, rest, err := decode(body, CodeEnd)
	if err != nil {
		return nil, err
	}
	*e = End{Error: f.error()}
	return rest, f.err()
}

// Close ends a connection.
type Close struct {
	Error *Error
}

// Append implements Performative.
func (c *Close) Append(dst []byte) []byte { return appendError(dst, CodeClose, c.Error) }

// Decode implements Performative.
func (c *Close) Decode(body []byte) ([]byte, error) {
	f, rest, err := decode(body, CodeClose)
	if err != nil {
		return nil, err
	}
	*c = Close{Error: f.error()}
	return rest, f.err()
}

func appendError(dst []byte, code byte, e *Error) []byte {
	dst, mark := beginComposite(dst, code, 1)
	return endCompound(e.append(dst), mark)
}
