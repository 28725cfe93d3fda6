package interop

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// request and response are the protocol of doc.go.
type request struct {
	ID        int       `json:"id"`
	Op        string    `json:"op"`
	Conn      *conn     `json:"conn,omitempty"`
	Partition *string   `json:"partition,omitempty"`
	Key       *string   `json:"key,omitempty"`
	Group     string    `json:"group,omitempty"`
	Events    []event   `json:"events,omitempty"`
	Direct    bool      `json:"direct,omitempty"`
	Batches   []batch   `json:"batches,omitempty"`
	From      *position `json:"from,omitempty"`
	Epoch     *int64    `json:"epoch,omitempty"`
	Metrics   bool      `json:"metrics,omitempty"`
	Reader    string    `json:"reader,omitempty"`
	Count     int       `json:"count,omitempty"`
	WaitMs    int       `json:"waitMs,omitempty"`
	Rate      int       `json:"rate,omitempty"`
	Seconds   int       `json:"seconds,omitempty"`
	Size      int       `json:"size,omitempty"`

	Blob      string       `json:"blob,omitempty"` // a connection string
	Container string       `json:"container,omitempty"`
	Action    string       `json:"action,omitempty"` // claim, owners, save or saved
	Namespace string       `json:"namespace,omitempty"`
	Hub       string       `json:"hub,omitempty"`
	Records   []ownership  `json:"records,omitempty"`
	At        *savedRecord `json:"at,omitempty"`
}

// ownership is a record of a checkpoint store.
type ownership struct {
	Partition string `json:"partition"`
	Owner     string `json:"owner"`
	ETag      string `json:"etag,omitempty"`
}

// savedRecord is a checkpoint of a checkpoint store, with its values as text.
type savedRecord struct {
	Partition string `json:"partition"`
	Offset    string `json:"offset"`
	Sequence  string `json:"sequence"`
}

// batch is one of several that a send makes with one producer.
type batch struct {
	Partition *string `json:"partition,omitempty"`
	Key       *string `json:"key,omitempty"`
	Events    []event `json:"events"`
	Direct    bool    `json:"direct,omitempty"`
}

type conn struct {
	String    string `json:"string"`
	Hub       string `json:"hub"`
	Transport string `json:"transport,omitempty"`
	Endpoint  string `json:"endpoint,omitempty"` // host:port to dial instead of the namespace
	CA        string `json:"ca,omitempty"`
	Retries   int    `json:"retries"`
}

type position struct {
	Kind      string `json:"kind"`
	Value     string `json:"value,omitempty"`
	Inclusive bool   `json:"inclusive,omitempty"`
}

type response struct {
	ID          int            `json:"id"`
	Error       *sdkError      `json:"error,omitempty"`
	SDK         string         `json:"sdk,omitempty"`
	Version     string         `json:"version,omitempty"`
	Sent        int            `json:"sent,omitempty"`
	SentMs      int            `json:"sentMs,omitempty"`
	Failed      int            `json:"failed,omitempty"`
	Received    int            `json:"received,omitempty"`
	Lost        int            `json:"lost,omitempty"`
	Doubled     int            `json:"doubled,omitempty"`
	Disordered  int            `json:"disordered,omitempty"`
	Errors      []string       `json:"errors,omitempty"`
	Events      []event        `json:"events,omitempty"`
	Reader      string         `json:"reader,omitempty"`
	Checkpoints int            `json:"checkpoints,omitempty"`
	HubInfo     *hubInfo       `json:"hubInfo,omitempty"`
	Partition   *partitionInfo `json:"partitionInfo,omitempty"`
	Ownership   []ownership    `json:"ownership,omitempty"`
	Saved       []savedRecord  `json:"saved,omitempty"`
}

// sdkError is how an SDK shows a failure: its class, the AMQP condition as far as the SDK tells it, the text.
type sdkError struct {
	Class     string `json:"class"`
	Condition string `json:"condition"`
	Text      string `json:"text"`
	Retryable bool   `json:"retryable"`
}

func (e *sdkError) Error() string {
	return fmt.Sprintf("%s [%s] %s", e.Class, e.Condition, e.Text)
}

type hubInfo struct {
	Name       string   `json:"name"`
	CreatedMs  int64    `json:"createdMs,string"`
	Partitions []string `json:"partitions"`
}

type partitionInfo struct {
	Hub        string `json:"hub"`
	ID         string `json:"id"`
	Begin      int64  `json:"begin,string"`
	Last       int64  `json:"last,string"`
	LastOffset string `json:"lastOffset"`
	LastTimeMs int64  `json:"lastTimeMs,string"`
	Empty      bool   `json:"empty"`
}

// event is an event as it is sent or as an SDK shows it.
type event struct {
	Body         string   `json:"body,omitempty"`
	Data         []string `json:"data,omitempty"`
	AMQPValue    *value   `json:"amqpValue,omitempty"`
	AMQPSequence []value  `json:"amqpSequence,omitempty"`
	Properties   []named  `json:"properties,omitempty"`
	Message      []named  `json:"message,omitempty"`
	Annotations  []named  `json:"annotations,omitempty"`
	Footer       []named  `json:"footer,omitempty"`
	Partition    string   `json:"partition,omitempty"`
	Key          *string  `json:"key,omitempty"`
	Seq          int64    `json:"seq,string,omitempty"`
	Offset       string   `json:"offset,omitempty"`
	EnqueuedMs   int64    `json:"enqueuedMs,string,omitempty"`
	Metrics      *metrics `json:"metrics,omitempty"`
}

// metrics is the runtime metric of the partition that came with an event.
type metrics struct {
	Last       int64  `json:"last,string"`
	LastOffset string `json:"lastOffset"`
}

// value is a typed value; V holds what doc.go says for T, already decoded for lists and maps.
type value struct {
	T    string
	Text string     // everything but boolean, list and map
	Bool bool       // boolean
	List []value    // list
	Map  [][2]value // map
}

// named is an entry of a section.
type named struct {
	Name  string
	Value value
}

func (n named) MarshalJSON() ([]byte, error) { return json.Marshal([]any{n.Name, n.Value}) }

func (n *named) UnmarshalJSON(data []byte) error {
	pair := []any{&n.Name, &n.Value}
	return json.Unmarshal(data, &pair)
}

func (v value) MarshalJSON() ([]byte, error) {
	out := map[string]any{"t": v.T}
	switch v.T {
	case "null":
	case "boolean":
		out["v"] = v.Bool
	case "list":
		out["v"] = append([]value{}, v.List...)
	case "map":
		out["v"] = append([][2]value{}, v.Map...)
	default:
		out["v"] = v.Text
	}
	return json.Marshal(out)
}

func (v *value) UnmarshalJSON(data []byte) error {
	var raw struct {
		T string          `json:"t"`
		V json.RawMessage `json:"v"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	*v = value{T: raw.T}
	switch v.T {
	case "null":
		return nil
	case "boolean":
		return json.Unmarshal(raw.V, &v.Bool)
	case "list":
		return json.Unmarshal(raw.V, &v.List)
	case "map":
		return json.Unmarshal(raw.V, &v.Map)
	}
	return json.Unmarshal(raw.V, &v.Text)
}

func (v value) String() string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func null() value               { return value{T: "null"} }
func boolean(b bool) value      { return value{T: "boolean", Bool: b} }
func text(s string) value       { return value{T: "string", Text: s} }
func symbol(s string) value     { return value{T: "symbol", Text: s} }
func blob(b []byte) value       { return value{T: "binary", Text: base64.StdEncoding.EncodeToString(b)} }
func list(items ...value) value { return value{T: "list", List: items} }

func integer[N int | int64 | uint64](t string, n N) value {
	return value{T: t, Text: fmt.Sprint(n)}
}

func float(f float32) value {
	return value{T: "float", Text: fmt.Sprintf("%08x", math.Float32bits(f))}
}

func double(f float64) value {
	return value{T: "double", Text: fmt.Sprintf("%016x", math.Float64bits(f))}
}

// float64Of is the number that a float or double value holds.
func (v value) float64Of() float64 {
	bits, err := strconv.ParseUint(v.Text, 16, 64)
	if err != nil {
		return math.NaN()
	}
	if v.T == "float" {
		return float64(math.Float32frombits(uint32(bits)))
	}
	return math.Float64frombits(bits)
}

// bytesOf is what a binary, string, symbol or uuid value holds as bytes.
func (v value) bytesOf() []byte {
	switch v.T {
	case "binary":
		b, err := base64.StdEncoding.DecodeString(v.Text)
		if err != nil {
			return nil
		}
		return b
	case "uuid":
		b, err := hex.DecodeString(strings.ReplaceAll(v.Text, "-", ""))
		if err != nil {
			return nil
		}
		return b
	}
	return []byte(v.Text)
}

// bodyOf is the event's body when it is one data section.
func (e event) bodyOf() []byte {
	b, err := base64.StdEncoding.DecodeString(e.Body)
	if err != nil {
		return nil
	}
	return b
}

// withBody is an event that has only a body.
func withBody(body []byte) event {
	return event{Body: base64.StdEncoding.EncodeToString(body)}
}

// numbered returns n events whose bodies are prefix-0, prefix-1 and so on.
func numbered(prefix string, n int) []event {
	events := make([]event, n)
	for i := range events {
		events[i] = withBody(fmt.Appendf(nil, "%s-%d", prefix, i))
	}
	return events
}

// filler returns n bytes of every value, so that a wrong cut or a text conversion shows.
func filler(n int) []byte {
	b := bytes.Repeat([]byte{0}, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}
