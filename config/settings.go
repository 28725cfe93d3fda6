package config

import (
	"time"

	"github.com/hubferry/hubferry"
)

// The values of Settings.Delivery.
const (
	AtLeastOnce     = "at-least-once"
	EffectivelyOnce = "effectively-once"
)

// The values of Settings.OnError.
const (
	OnErrorStop       = "stop"
	OnErrorDrop       = "drop"
	OnErrorDeadLetter = "dead-letter"
)

// Settings are the keys that a task and "defaults" share. A key of the task replaces
// that of the defaults as a whole.
type Settings struct {
	Delivery        string          `yaml:"delivery" jsonschema:"enum=at-least-once,enum=effectively-once,default=at-least-once" jsonschema_description:"What a restart may repeat. With effectively-once, what reading the target can show to be there is not sent again; the targets must be readable, and provenance full."`
	OnError         string          `yaml:"onError" jsonschema:"enum=stop,enum=drop,enum=dead-letter,default=stop" jsonschema_description:"What happens to an event that an editor rejects or a target will never take. stop stops that partition only, until a person resumes it."`
	OnGap           string          `yaml:"onGap" jsonschema:"enum=stop,enum=continue,default=stop" jsonschema_description:"What happens when the source no longer has the next event. stop stops that partition only, until a person resumes it."`
	Match           string          `yaml:"match" jsonschema:"enum=all,enum=first,default=all" jsonschema_description:"How many targets an event goes to: all whose condition holds, or the first of them."`
	Retry           Retry           `yaml:"retry" jsonschema_description:"How an operation that failed is repeated: three quick tries, then with growing pauses."`
	CheckpointEvery CheckpointEvery `yaml:"checkpointEvery" jsonschema_description:"How often progress is stored: after so many events or so much time, whichever comes first."`
	Window          Window          `yaml:"window" jsonschema_description:"How far reading may run ahead of the checkpoint. A crash repeats at most one window."`
	Provenance      Provenance      `yaml:"provenance" jsonschema_description:"Which repl-* properties events get at the target. A word in place of the map is the mode."`
	Balance         Balance         `yaml:"balance" jsonschema_description:"How instances with one checkpoint store share the partitions. All instances of a task need the same."`
	Start           Start           `yaml:"start" jsonschema:"default=earliest" jsonschema_description:"Where reading begins when there is no checkpoint: earliest, latest, a time, or sequence numbers by partition."`
}

// Retry says how an operation that failed is repeated.
type Retry struct {
	Min      time.Duration `yaml:"min" jsonschema:"default=5s" jsonschema_description:"The first pause, after the quick tries."`
	Max      time.Duration `yaml:"max" jsonschema:"default=5m" jsonschema_description:"The longest pause."`
	Attempts int           `yaml:"attempts" jsonschema:"default=0,minimum=0" jsonschema_description:"How often it is tried again; 0 means for ever."`
}

// CheckpointEvery is the checkpoint cadence (G-6).
type CheckpointEvery struct {
	Events int           `yaml:"events" jsonschema:"default=1000,minimum=1" jsonschema_description:"Store after so many events."`
	Time   time.Duration `yaml:"time" jsonschema:"default=5s" jsonschema_description:"Store after so much time; at most once a second."`
}

// Window bounds what lies between a checkpoint and the newest event read (G-6).
type Window struct {
	Events int  `yaml:"events" jsonschema:"default=20000,minimum=1" jsonschema_description:"Events of one partition that may lie between its checkpoint and the newest one read."`
	Bytes  Size `yaml:"bytes" jsonschema_description:"Memory for the events of the task, such as 64MiB; by default an equal share of a quarter of memory."`
}

// Balance says how instances share the partitions of a source whose service does not
// deal them out itself.
type Balance struct {
	Strategy string        `yaml:"strategy" jsonschema:"enum=balanced,enum=greedy,default=balanced" jsonschema_description:"How fast partitions change hands when the shares are not fair: an eighth of what is too much per round, or all at once."`
	Interval time.Duration `yaml:"interval" jsonschema:"default=10s" jsonschema_description:"The time between renewals of ownership."`
	Expiry   time.Duration `yaml:"expiry" jsonschema:"default=1m" jsonschema_description:"The age at which ownership that was not renewed is anybody's: how long the partitions of an instance that died stand still. At least three intervals."`
}

// Provenance says which properties tell where an event came from.
type Provenance struct {
	Mode       string `yaml:"mode,short" jsonschema:"enum=full,enum=standard,enum=none,default=full" jsonschema_description:"full adds five repl-* properties, standard the three of Microsoft's federation guidance, none nothing."`
	HelperForm bool   `yaml:"helperForm" jsonschema:"default=false" jsonschema_description:"Write repl-enqueued-time as Microsoft's helper code does, for consumers that expect it."`
}

// Trail returns the provenance as writers take it.
func (p Provenance) Trail() hubferry.Trail {
	t := hubferry.Trail{HelperForm: p.HelperForm}
	switch p.Mode {
	case "standard":
		t.Mode = hubferry.TrailStandard
	case "none":
		t.Mode = hubferry.TrailNone
	}
	return t
}

// The keys of the file that only this package sees.

// topKeys are the keys at the top of the file.
type topKeys struct {
	Version     formatVersion `yaml:"version" jsonschema:"enum=1" jsonschema_description:"The version of this format: 1."`
	Connections section       `yaml:"connections" jsonschema_description:"The namespaces and clusters by name. Each has exactly one key, its driver."`
	Checkpoints section       `yaml:"checkpoints" jsonschema_description:"Where progress is kept, under exactly one key, the kind of store. By default an SQLite database beside the file."`
	Memory      Size          `yaml:"memory" jsonschema:"default=256MiB" jsonschema_description:"The memory that the process may take, all tasks together. A quarter of it is for the windows of the tasks and a quarter for the buffers of the connections."`
	Drain       time.Duration `yaml:"drain" jsonschema:"default=30s" jsonschema_description:"How long a stopping program may finish what is under way."`
	Defaults    section       `yaml:"defaults" jsonschema_description:"Settings for all tasks. A key of a task replaces that of the defaults as a whole."`
	Tasks       section       `yaml:"tasks" jsonschema_description:"The replication tasks by name. The name is part of the identity of what a task writes: keep it."`
}

// taskKeys are the keys of a task.
type taskKeys struct {
	ForEach     section `yaml:"forEach" jsonschema_description:"Makes one task for each value: lists by variable name. {name} stands for the value in the task's name and below it. Several variables are combined."`
	Source      section `yaml:"source" jsonschema:"required" jsonschema_description:"Where events come from: an address, or a map with options."`
	Target      section `yaml:"target" jsonschema_description:"Where events go: an address, or a map with options."`
	Targets     section `yaml:"targets" jsonschema_description:"Several targets."`
	Edit        section `yaml:"edit" jsonschema_description:"The editors that each event passes, in order."`
	DeadLetters section `yaml:"deadLetters" jsonschema_description:"Where onError: dead-letter puts events: an address, or a map with options."`
	Settings    `yaml:",inline"`
}

// defaultKeys are the keys under defaults.
type defaultKeys struct {
	DeadLetters section `yaml:"deadLetters" jsonschema_description:"Where onError: dead-letter puts events: an address, or a map with options."`
	Settings    `yaml:",inline"`
}

// entityKeys name the entity of a source or target. Which word is used is a matter of
// taste; exactly one is.
type entityKeys struct {
	Hub   addressKey `yaml:"hub" jsonschema:"example=west/telemetry" jsonschema_description:"The address of an event hub or another partitioned log."`
	Topic addressKey `yaml:"topic" jsonschema:"example=legacy/sensors" jsonschema_description:"The address of a topic: another word for hub."`
	Queue addressKey `yaml:"queue" jsonschema:"example=orders/alerts" jsonschema_description:"The address of a queue: another word for hub."`
	Table addressKey `yaml:"table" jsonschema:"example=history/telemetry" jsonschema_description:"The address of a table: another word for hub."`
}

// sourceKeys are the keys of a source beside its driver's options.
type sourceKeys struct {
	entityKeys `yaml:",inline"`
	Topics     topicsKey `yaml:"topics" jsonschema:"example=legacy/orders\\..*" jsonschema_description:"Several topics of one connection, in the place of one address: a list of addresses, or the connection and a regular expression of whole names, as in legacy/orders\\..*, which finds new topics within seconds. Internal topics match no expression."`
	Exclude    []string  `yaml:"exclude" jsonschema_description:"Regular expressions of whole names that are left out of those that topics matches."`
	Start      Start     `yaml:"start" jsonschema:"default=earliest" jsonschema_description:"Where reading begins when there is no checkpoint: earliest, latest, a time, or sequence numbers by partition."`
	Shared     bool      `yaml:"shared" jsonschema:"default=false" jsonschema_description:"Other programs share the work of the consumer group. What is promised then covers our own share only."`
}

// targetKeys are the keys of a target beside its driver's options.
type targetKeys struct {
	entityKeys `yaml:",inline"`
	Name       string  `yaml:"name" jsonschema_description:"The route's name, part of the identity of what it writes: keep it. By default the address."`
	When       string  `yaml:"when" jsonschema:"example=json.kind == \"alarm\"" jsonschema_description:"A CEL expression: only events for which it is true go here."`
	Edit       section `yaml:"edit" jsonschema_description:"Editors for this target only, after those of the task."`
}

// formatVersion is the version of the file's format, which Input.root checks.
type formatVersion int

// decodeNode implements nodeDecoder.
func (*formatVersion) decodeNode(*decoder, *node) {}

// section is a part of the file that is decoded by code that knows more than its type.
type section struct{ at *node }

// decodeNode implements nodeDecoder.
func (s *section) decodeNode(_ *decoder, n *node) { s.at = n }
