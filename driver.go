package hubferry

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
)

// Options is a configuration struct of a driver, an editor or a checkpoint store. Its
// exported fields carry tags:
//
//	yaml:"consumerGroup"                            the key, camelCase
//	jsonschema:"required,enum=a,enum=b,default=x"   for the JSON Schema
//	jsonschema_description:"one or two sentences"   for editors and docs
//
// Configuration is decoded strictly into a pointer to it: unknown keys are refused.
type Options interface {
	// Validate returns all problems at once, or nil, and sets no defaults that it was
	// not asked for: a zero field means the documented default.
	Validate() []Problem
}

// Problem is one mistake in a configuration.
type Problem struct {
	// Field is the path of YAML keys below the struct, such as "retry.min"; "" is the
	// struct itself.
	Field string
	// Message says what is wrong and what would be right. It never holds a secret.
	Message string
}

// Secret is a text that does not show itself: not printed, not logged, not marshalled.
// It is compared by Reveal, not with ==.
type Secret struct {
	// A pointer, because fmt calls no method of a field that is not exported: it would
	// print the text of a Secret in such a field, but prints an address here.
	text *string
}

// NewSecret returns a secret.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal returns the secret itself, for the call that needs it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.text == nil }

const redacted = "[redacted]"

// String returns a fixed text.
func (s Secret) String() string { return redacted }

// GoString returns a fixed text.
func (s Secret) GoString() string { return redacted }

// LogValue returns a fixed text.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns a fixed text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns a fixed text.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// UnmarshalText sets the secret.
func (s *Secret) UnmarshalText(b []byte) error {
	*s = NewSecret(string(b))
	return nil
}

// Env is what the outside gives a driver, an editor or a store.
type Env struct {
	Log      *slog.Logger // never nil
	Instance string       // unique name of this running instance, for owner ids and client ids
	// Budget is the number of bytes that one connection may hold in its own buffers.
	Budget int64
	// Dial replaces the network in tests; nil means net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Trace, if not nil, receives one line for each protocol frame, without secrets.
	Trace func(line string)
	// Fetch reads a file that options refer to; nil means from the file system.
	Fetch func(name string) ([]byte, error)
}

// Caps says what a driver's service can do. It is data for tests and docs: the engine
// asserts interfaces instead.
type Caps struct {
	Source, Target bool
	Partitions     bool // more than one, chosen by key
	Keys           bool // keeps partition keys
	NullBody       bool // tells a null body from an empty one
	Types          []Kind
	AMQPBodies     bool // values, sequences, several data sections
	Annotations    bool
	RepeatedNames  bool // several properties of one name
	Selects        bool // a source may read several hubs: the Connection is Selecting
	Epochs         bool // a reader with a higher epoch takes the partition over
	Retention      bool // old events disappear
	MaxEvent       int  // bytes; 0 means unknown
}

// Driver is one sort of service. It is a value in a list (package driver/all), never
// registered by an init.
type Driver struct {
	// Name is the key of a connection in the configuration, such as "eventhubs".
	Name string
	// Connection, Source and Target return fresh option structs. Source or Target is nil
	// where the driver has no such role.
	Connection, Source, Target func() Options
	// Connect opens a connection with decoded and validated options. It need not reach
	// the service yet.
	Connect func(ctx context.Context, o Options, env Env) (Connection, error)
	// GroupName returns the canonical name of a consumer group (G-1), under which progress
	// is kept: in lower case where the service ignores case. nil means as it is written.
	GroupName func(group string) string
	Caps      Caps
}

// Connection is a configured way to one namespace. Its methods may be called by
// several goroutines at once.
type Connection interface {
	// Namespace returns the canonical identity of the namespace (G-1). It may ask the
	// service.
	Namespace(ctx context.Context) (string, error)
	// Source returns a source for one hub, with options of the driver's Source type.
	Source(ctx context.Context, hub string, o Options) (Source, error)
	// Target returns a target, with options of the driver's Target type.
	Target(ctx context.Context, o Options) (Target, error)
	// Close frees the connection. It may be called twice.
	Close(ctx context.Context) error
}

// Selection names several hubs of one namespace.
type Selection struct {
	// Hubs are names. Those that do not exist are left out until they do.
	Hubs []string
	// Pattern, if it is not "", is a regular expression of whole names: the source has
	// every hub that matches it and none of Exclude, also those that are made later. What
	// the service keeps for itself is left out.
	Pattern string
	Exclude []string
}

// Selecting is the optional side of a Connection whose sources can read several hubs at
// once: Source.Partitions then has the partitions of all of them, and Place.Hub tells
// them apart.
type Selecting interface {
	SourceOf(ctx context.Context, s Selection, o Options) (Source, error)
}

// ErrNoRole is returned by a Connection that cannot be a source, or not a target.
var ErrNoRole = errors.New("this driver has no such role")

// StoreKind is one sort of checkpoint store.
type StoreKind struct {
	Name    string         // the key under checkpoints, such as "sqlite"
	Options func() Options // a fresh struct, decoded strictly
	Open    func(ctx context.Context, o Options, env Env) (CheckpointStore, error)
}
