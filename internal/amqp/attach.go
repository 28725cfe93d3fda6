package amqp

// Settle modes of an Attach.
const (
	SenderUnsettled uint8 = 0
	SenderSettled   uint8 = 1
	SenderMixed     uint8 = 2

	ReceiverFirst  uint8 = 0
	ReceiverSecond uint8 = 1
)

// Attach opens a link, or answers one that the peer opens.
type Attach struct {
	Name                 string
	Handle               uint32
	Receiver             bool // the role of the sender of this frame
	SndSettleMode        Opt[uint8]
	RcvSettleMode        Opt[uint8]
	Source               *Source // nil is null: in an answer, a refusal
	Target               *Target
	Coordinator          bool // the target is a transaction coordinator (not encoded)
	IncompleteUnsettled  bool
	InitialDeliveryCount Opt[uint32]
	MaxMessageSize       Opt[uint64]
	OfferedCapabilities  []Symbol
	DesiredCapabilities  []Symbol
	Properties           Map
}

// Append implements Performative. The unsettled map is always null.
func (a *Attach) Append(dst []byte) []byte {
	dst, mark := beginComposite(dst, CodeAttach, 14)
	dst = AppendString(dst, a.Name)
	dst = AppendUint(dst, a.Handle)
	dst = AppendBool(dst, a.Receiver)
	dst = appendOptUbyte(dst, a.SndSettleMode)
	dst = appendOptUbyte(dst, a.RcvSettleMode)
	dst = a.Source.append(dst)
	dst = a.Target.append(dst)
	dst = AppendNull(dst)
	dst = AppendBool(dst, a.IncompleteUnsettled)
	dst = appendOptUint(dst, a.InitialDeliveryCount)
	dst = appendOptUlong(dst, a.MaxMessageSize)
	dst = AppendSymbols(dst, a.OfferedCapabilities)
	dst = AppendSymbols(dst, a.DesiredCapabilities)
	return endCompound(appendOptMap(dst, a.Properties), mark)
}

// Decode implements Performative. The unsettled map is passed over.
func (a *Attach) Decode(body []byte) ([]byte, error) {
	f, rest, err := decode(body, CodeAttach)
	if err != nil {
		return nil, err
	}
	*a = Attach{
		Name:          f.string(),
		Handle:        f.needUint32(),
		Receiver:      f.bool(),
		SndSettleMode: f.uint8(),
		RcvSettleMode: f.uint8(),
		Source:        f.source(),
	}
	a.Target, a.Coordinator = f.target()
	if f.next() {
		f.d.Skip()
	}
	a.IncompleteUnsettled = f.bool()
	a.InitialDeliveryCount = f.uint32()
	a.MaxMessageSize = f.uint64()
	a.OfferedCapabilities = f.symbols()
	a.DesiredCapabilities = f.symbols()
	a.Properties = f.fieldMap()
	return rest, f.err()
}

// Source is the terminus that messages come from.
type Source struct {
	Address               string // "" is null
	Durable               uint32
	ExpiryPolicy          Symbol // "" is session-end
	Timeout               uint32 // seconds
	Dynamic               bool
	DynamicNodeProperties Map
	DistributionMode      Symbol
	Filter                Map
	DefaultOutcome        any
	Outcomes              []Symbol
	Capabilities          []Symbol
}

// expiry fills in the policy that the specification gives as the default.
func expiry(policy Symbol) Symbol {
	if policy == "" {
		return "session-end"
	}
	return policy
}

func (s *Source) append(dst []byte) []byte {
	if s == nil {
		return AppendNull(dst)
	}
	dst, mark := beginComposite(dst, CodeSource, 11)
	dst = appendOptString(dst, s.Address)
	dst = AppendUint(dst, s.Durable)
	dst = AppendSymbol(dst, expiry(s.ExpiryPolicy))
	dst = AppendUint(dst, s.Timeout)
	dst = AppendBool(dst, s.Dynamic)
	dst = appendOptMap(dst, s.DynamicNodeProperties)
	dst = appendOptSymbol(dst, s.DistributionMode)
	dst = appendOptMap(dst, s.Filter)
	dst = appendAny(dst, s.DefaultOutcome)
	dst = AppendSymbols(dst, s.Outcomes)
	return endCompound(AppendSymbols(dst, s.Capabilities), mark)
}

func (f *fields) source() *Source {
	if !f.next() {
		return nil
	}
	in := f.d.composite(CodeSource)
	s := &Source{
		Address:               in.string(),
		Durable:               in.uint32().V,
		ExpiryPolicy:          expiry(in.symbol()),
		Timeout:               in.uint32().V,
		Dynamic:               in.bool(),
		DynamicNodeProperties: in.fieldMap(),
		DistributionMode:      in.symbol(),
		Filter:                in.fieldMap(),
		DefaultOutcome:        in.value(),
		Outcomes:              in.symbols(),
		Capabilities:          in.symbols(),
	}
	in.done(&f.d)
	return s
}

// Target is the terminus that messages go to.
type Target struct {
	Address               string // "" is null
	Durable               uint32
	ExpiryPolicy          Symbol // "" is session-end
	Timeout               uint32 // seconds
	Dynamic               bool
	DynamicNodeProperties Map
	Capabilities          []Symbol
}

func (t *Target) append(dst []byte) []byte {
	if t == nil {
		return AppendNull(dst)
	}
	dst, mark := beginComposite(dst, CodeTarget, 7)
	dst = appendOptString(dst, t.Address)
	dst = AppendUint(dst, t.Durable)
	dst = AppendSymbol(dst, expiry(t.ExpiryPolicy))
	dst = AppendUint(dst, t.Timeout)
	dst = AppendBool(dst, t.Dynamic)
	dst = appendOptMap(dst, t.DynamicNodeProperties)
	return endCompound(AppendSymbols(dst, t.Capabilities), mark)
}

func (f *fields) target() (t *Target, coordinator bool) {
	if !f.next() {
		return nil, false
	}
	ahead := f.d
	if ahead.Descriptor() == CodeCoordinator {
		f.d.Skip()
		return nil, true
	}
	in := f.d.composite(CodeTarget)
	t = &Target{
		Address:               in.string(),
		Durable:               in.uint32().V,
		ExpiryPolicy:          expiry(in.symbol()),
		Timeout:               in.uint32().V,
		Dynamic:               in.bool(),
		DynamicNodeProperties: in.fieldMap(),
		Capabilities:          in.symbols(),
	}
	in.done(&f.d)
	return t, false
}
