package hub

import (
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/hubferry/hubferry/hub/internal/entity"
)

// Options configure a Server.
type Options struct {
	// Namespaces are what the server holds; at least one.
	Namespaces []NamespaceOptions
	// Dir is the folder of the data, one subfolder per namespace. Empty keeps
	// everything in memory.
	Dir string
	// TLS makes every listener take TLS too; nil is plain text only.
	TLS *tls.Config
	// Limits bound what clients can cost.
	Limits Limits
	// Faults, when set, makes the server misbehave on purpose.
	Faults *Faults
	// Trace gets one line of text per frame, secrets removed. It is called from
	// several goroutines and should not block. Nil is off.
	Trace func(line string)
	// Log receives what an operator should know; nil discards it.
	Log *slog.Logger
	// Now is the clock of events and tokens; nil is time.Now.
	Now func() time.Time
}

// NamespaceOptions describe one namespace.
type NamespaceOptions struct {
	// Name is unique in the server. Clients may call the namespace anything:
	// the host in a connection string is never compared.
	Name string
	// Rules are the shared access rules of the namespace. None means the rule of
	// the official emulator: RootManageSharedAccessKey with the key
	// SAS_KEY_VALUE and all rights.
	Rules []Rule
	// Hubs are created at start when they are not there yet.
	Hubs []HubOptions
}

// HubOptions describe one hub.
type HubOptions struct {
	Name string
	// Partitions is their number; zero is 4.
	Partitions int
	// ConsumerGroups are those besides $Default.
	ConsumerGroups []string
	// Rules are those of the hub, besides the namespace's.
	Rules []Rule
}

// Rights are what a rule allows.
type Rights = entity.Rights

// The three rights. Manage includes the others.
const (
	Listen = entity.Listen
	Send   = entity.Send
	Manage = entity.Manage
)

// Rule is a shared access rule: a name with a key or two, and rights.
type Rule = entity.Rule
