package config

import (
	"time"

	"github.com/hubferry/hubferry"
)

// Application is a configuration file that was read and checked. Zero values of
// optional settings mean the documented defaults.
type Application struct {
	// File is the path that the configuration was read from.
	File string
	// Connections are sorted by name.
	Connections []*Connection
	Store       Store
	// Memory is the budget of the process: the events of all tasks together, and what it
	// takes to move them.
	Memory Size
	// Drain is how long a stopping program may finish what is under way; 0 means the
	// engine's default.
	Drain time.Duration
	// Tasks are in the order of the file; one with forEach is there once per value.
	Tasks []*Task
	// Warnings are the problems that do not stop anything.
	Warnings Problems

	registry *Registry
}

// Connection returns the connection of that name, or nil.
func (a *Application) Connection(name string) *Connection {
	for _, c := range a.Connections {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Task returns the task of that name, or nil.
func (a *Application) Task(name string) *Task {
	for _, t := range a.Tasks {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// Connection is a configured way to one namespace.
type Connection struct {
	Name    string
	Driver  hubferry.Driver
	Options hubferry.Options
}

// GroupName returns the canonical name of a consumer group (G-1).
func (c *Connection) GroupName(group string) string {
	if c.Driver.GroupName == nil {
		return group
	}
	return c.Driver.GroupName(group)
}

// Store is the configured checkpoint store. Its Kind has no name when the program has
// no store at all.
type Store struct {
	Kind    hubferry.StoreKind
	Options hubferry.Options
}

// Task is a configured replication task.
type Task struct {
	Name    string
	Source  Source
	Targets []Target
	Edit    []Edit
	// DeadLetters is nil unless it is set.
	DeadLetters *Target
	Settings

	at *node // the task in the file
}

// Source is where a task reads.
type Source struct {
	Connection *Connection
	// Hub is the one hub that is read, "" if there are several: then Hubs are their names,
	// or Pattern is a regular expression of whole names and Exclude are those left out.
	Hub     string
	Hubs    []string
	Pattern string
	Exclude []string
	Options hubferry.Options
	// Group is the consumer group by its canonical name, "" where the driver has none.
	Group string
	Start Start
	// Shared says that other programs share the work of the group (G-10).
	Shared bool

	at *node
}

// Address returns "connection/hub", or what tells a person which hubs they are.
func (s *Source) Address() string {
	if s.several() {
		return s.severalAddress()
	}
	return Address{Connection: s.Connection.Name, Entity: s.Hub}.String()
}

// Target is one place that a task writes to.
type Target struct {
	// Name is part of the identity of outputs (G-3): the address, unless it was named.
	Name       string
	Connection *Connection
	// Hub may hold {hub} or {topic}, which stand for the name of the source hub.
	Hub     string
	Options hubferry.Options
	// When is the expression of its route, Condition what it was compiled to. Both are
	// empty for a target that takes every event.
	When      string
	Condition hubferry.Condition
	Edit      []Edit

	at *node
}

// Address returns "connection/hub".
func (t *Target) Address() string {
	return Address{Connection: t.Connection.Name, Entity: t.Hub}.String()
}

// Edit is a configured editor.
type Edit struct {
	// Name is the kind's name, with "-2" and so on when the list has more of the kind.
	Name    string
	Kind    hubferry.EditorKind
	Options hubferry.Options
}
