package hub

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hubferry/hubferry/hub/internal/entity"
	"github.com/hubferry/hubferry/hub/internal/seglog"
)

// Options configure a Server.
type Options struct {
	// Namespaces are what the server holds; at least one, or an account in Blob.
	Namespaces []NamespaceOptions `yaml:"namespaces" jsonschema_description:"What the server holds; each namespace has a port of its own."`
	// Blob are storage accounts for checkpoint stores; none by default.
	Blob []AccountOptions `yaml:"blob" jsonschema_description:"Storage accounts for checkpoint stores; each has a port of its own."`
	// Dir is the folder of the data, one subfolder per namespace, and one called
	// blob for storage accounts. Empty keeps everything in memory. One process at a time can have it.
	Dir string `yaml:"dir" jsonschema_description:"Folder of the data. Without it everything is in memory and ends with the process."`
	// Fsync says when an event is confirmed; empty is FsyncInterval.
	Fsync Fsync `yaml:"fsync" jsonschema:"enum=batch,enum=interval,enum=never,default=interval" jsonschema_description:"When an event is confirmed. All survive the death of the process; batch survives a loss of power too, interval loses what came since the last sync, never may lose more."`
	// FsyncEvery is the time between syncs under FsyncInterval; zero is 1 s.
	FsyncEvery time.Duration `yaml:"fsyncEvery" jsonschema:"default=1s" jsonschema_description:"Time between syncs when fsync is interval."`
	// SegmentSize is the size of the files that hold events; zero is 64 MiB.
	// Retention frees whole files.
	SegmentSize Size `yaml:"segmentSize" jsonschema:"default=64MiB" jsonschema_description:"Size of the files that hold events. Retention frees whole files."`
	// Retention is that of hubs that say nothing about it. Zero fields are
	// 168 h and, in memory, 256 MiB per partition.
	Retention Retention `yaml:"retention" jsonschema_description:"What hubs keep that say nothing about it themselves."`
	// AcceptJWT accepts every unexpired JSON web token, unverified, with all
	// rights, for clients that cannot do without Azure credentials. Off, only
	// shared access signatures are accepted.
	AcceptJWT bool `yaml:"acceptJwt" jsonschema_description:"Accept every unexpired JSON web token, unverified, with all rights."`
	// TLSFiles are read for TLS when TLS is nil; nil is no TLS.
	TLSFiles *TLSFiles `yaml:"tls" jsonschema_description:"Certificate and key; every port takes TLS too then."`
	// TLS makes every listener take TLS too; nil is plain text only.
	TLS *tls.Config `yaml:"-"`
	// Limits bound what clients can cost.
	Limits Limits `yaml:"limits" jsonschema_description:"What clients can cost at most."`
	// Faults, when set, makes the server misbehave on purpose.
	Faults *Faults `yaml:"-"`
	// Trace gets one line of text per frame, secrets removed. It is called from
	// several goroutines and should not block. Nil is off.
	Trace func(line string) `yaml:"-"`
	// Log receives what an operator should know; nil discards it.
	Log *slog.Logger `yaml:"-"`
	// Now is the clock of events and tokens; nil is time.Now.
	Now func() time.Time `yaml:"-"`
}

// Fsync says when an event is confirmed to its sender. The process may be
// killed at any time under each of them without a loss: what was confirmed is
// with the operating system. They differ when the machine fails.
type Fsync string

const (
	// FsyncInterval confirms an event when the operating system has it, and
	// syncs every FsyncEvery: a loss of power may take what was confirmed
	// since. It costs next to nothing.
	FsyncInterval Fsync = "interval"
	// FsyncBatch confirms an event after an fsync. Nothing that was confirmed
	// is lost, at the price of one fsync (0.1 to 10 ms, by the disk) before
	// each answer; batches that arrive during one fsync share the next.
	FsyncBatch Fsync = "batch"
	// FsyncNever leaves it to the operating system when to write. After a loss
	// of power the data may be unusable.
	FsyncNever Fsync = "never"
)

// TLSFiles are a certificate and its key.
type TLSFiles struct {
	Certificate string `yaml:"certificate" jsonschema:"required" jsonschema_description:"PEM file with the certificate and the ones that it was signed with."`
	Key         string `yaml:"key" jsonschema:"required" jsonschema_description:"PEM file with the private key."`
}

// Load reads the files.
func (f *TLSFiles) Load() (*tls.Config, error) {
	c, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, fmt.Errorf("load TLS certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS12}, nil
}

// Limits bound what clients can cost. A zero field is its default.
type Limits struct {
	// Connections per namespace and per storage account, default 5000.
	Connections int `yaml:"connections" jsonschema:"default=5000,minimum=0" jsonschema_description:"Connections per namespace and per storage account."`
	// MessageBytes is the largest publication, one event or one batch with its
	// envelope; default 1048576, as in the standard tier.
	MessageBytes int `yaml:"messageBytes" jsonschema:"default=1048576,minimum=0" jsonschema_description:"Largest publication in bytes, one event or one batch with its envelope."`
	// Handshake is the time for everything up to the open frame, default 30 s.
	Handshake time.Duration `yaml:"handshake" jsonschema:"default=30s" jsonschema_description:"Time for everything up to the open frame."`
	// Write is the time in which a client must take what is written to it,
	// default 60 s.
	Write time.Duration `yaml:"write" jsonschema:"default=60s" jsonschema_description:"Time in which a client must take what is written to it."`
	// Idle is the idle time-out announced to clients, default 240 s.
	Idle time.Duration `yaml:"idle" jsonschema:"default=240s" jsonschema_description:"Idle time-out announced to clients."`
	// Hubs per namespace, default 1000.
	Hubs int `yaml:"hubs" jsonschema:"default=1000,minimum=0" jsonschema_description:"Hubs per namespace."`
	// Partitions per hub, default 32.
	Partitions int `yaml:"partitions" jsonschema:"default=32,minimum=0" jsonschema_description:"Partitions per hub."`
	// ConsumerGroups per hub including $Default, default 20.
	ConsumerGroups int `yaml:"consumerGroups" jsonschema:"default=20,minimum=0" jsonschema_description:"Consumer groups per hub, $Default included."`
	// Receivers without an epoch per partition and consumer group, default 5.
	Receivers int `yaml:"receivers" jsonschema:"default=5,minimum=0" jsonschema_description:"Receivers without an epoch per partition and consumer group."`
	// BlobBytes is the largest body of a blob, default 4194304.
	BlobBytes int `yaml:"blobBytes" jsonschema:"default=4194304,minimum=0" jsonschema_description:"Largest body of a blob in bytes."`
	// AccountBytes is what a storage account holds, all of it in memory, names
	// and metadata included; default 268435456.
	AccountBytes int `yaml:"accountBytes" jsonschema:"default=268435456,minimum=0" jsonschema_description:"What a storage account holds in bytes, all of it in memory."`
}

// NamespaceOptions describe one namespace.
type NamespaceOptions struct {
	// Name is unique in the server. Clients may call the namespace anything:
	// the host in a connection string is never compared.
	Name string `yaml:"name" jsonschema:"required" jsonschema_description:"Name of the namespace; also that of its folder."`
	// Listen is the address to listen on. Empty is port 5672 of the loopback
	// interface for the first namespace, 5673 for the second and so on. Serve
	// does not look at it: it is for who makes the listeners.
	Listen string `yaml:"listen" jsonschema:"example=127.0.0.1:5672" jsonschema_description:"Address and port; by default 127.0.0.1:5672 for the first namespace, 5673 for the second, and so on. Port 0 is any free one."`
	// Rules are the shared access rules of the namespace. None means the rule of
	// the official emulator: RootManageSharedAccessKey with the key
	// SAS_KEY_VALUE and all rights, which is refused when Listen is not on the
	// loopback interface.
	Rules []Rule `yaml:"rules" jsonschema_description:"Shared access rules; by default that of the official emulator, with its published key."`
	// Hubs are created at start when they are not there yet. Of those that are
	// there, retention, groups and rules are brought to what is said here.
	Hubs []HubOptions `yaml:"hubs" jsonschema_description:"Hubs that are created at start when they are not there yet."`
}

// HubOptions describe one hub.
type HubOptions struct {
	Name string `yaml:"name" jsonschema:"required" jsonschema_description:"Name of the hub."`
	// Partitions is their number; zero is 4. It can be raised later, not
	// lowered.
	Partitions int `yaml:"partitions" jsonschema:"default=4,minimum=0" jsonschema_description:"Number of partitions. It can be raised later, not lowered."`
	// ConsumerGroups are those besides $Default.
	ConsumerGroups []string `yaml:"consumerGroups" jsonschema_description:"Consumer groups besides $Default."`
	// Retention is what the hub keeps. Zero fields are those of Options, but a
	// compacted hub has no limit that it does not name.
	Retention Retention `yaml:"retention" jsonschema_description:"What the hub keeps."`
	// Rules are those of the hub, besides the namespace's.
	Rules []Rule `yaml:"rules" jsonschema_description:"Shared access rules of this hub alone."`
}

// Retention is what a hub keeps of each partition.
type Retention struct {
	// For is how long an event is kept.
	For time.Duration `yaml:"for" jsonschema:"example=24h" jsonschema_description:"How long an event is kept."`
	// Size is how much a partition keeps; the oldest events go first.
	Size Size `yaml:"size" jsonschema:"example=1GiB" jsonschema_description:"How much each partition keeps."`
	// Compact keeps the last event of each partition key. For and Size hold
	// besides, if they are given.
	Compact bool `yaml:"compact" jsonschema_description:"Keep the last event of each partition key."`
	// Tombstones is how long a compacted hub keeps an event without content,
	// which deletes its key; zero is 1 h.
	Tombstones time.Duration `yaml:"tombstones" jsonschema:"default=1h" jsonschema_description:"How long a compacted hub keeps the event that deletes a key."`
}

// Rights are what a rule allows. As a text they are one or more of listen,
// send and manage, with commas between.
type Rights = entity.Rights

// The three rights. Manage includes the others.
const (
	Listen = entity.Listen
	Send   = entity.Send
	Manage = entity.Manage
)

// Rule is a shared access rule: a name with a key or two, and rights.
type Rule = entity.Rule

// What hubs keep when nobody says anything.
const (
	defaultFor        = 7 * 24 * time.Hour
	defaultMemorySize = 256 << 20
)

// Validate reports everything that is wrong with o, each problem with the name
// of its field.
func (o *Options) Validate() error {
	var v problems
	if len(o.Namespaces)+len(o.Blob) == 0 {
		v.add("namespaces", errors.New("there is none"))
	}
	if _, err := seglog.ParseFsync(string(o.Fsync)); err != nil {
		v.add("fsync", err)
	}
	v.duration("fsyncEvery", o.FsyncEvery)
	v.retention("retention", o.Retention)
	if o.SegmentSize < 0 || o.SegmentSize > 0 && o.SegmentSize < 64<<10 || o.SegmentSize > 1<<40 {
		v.add("segmentSize", fmt.Errorf("%s is not between 64KiB and 1TiB", o.SegmentSize))
	}
	if o.TLSFiles != nil && (o.TLSFiles.Certificate == "" || o.TLSFiles.Key == "") {
		v.add("tls", errors.New("both certificate and key are needed"))
	}
	o.Limits.validate(&v)
	seen := map[string]bool{}
	for i := range o.Namespaces {
		n := &o.Namespaces[i]
		at := fmt.Sprintf("namespaces[%d]", i)
		if low := strings.ToLower(n.Name); seen[low] {
			v.add(at+".name", fmt.Errorf("%q is given twice", n.Name))
		} else {
			seen[low] = true
		}
		n.validate(&v, at, o)
	}
	o.validateAccounts(&v)
	return errors.Join(v...)
}

func (l *Limits) validate(v *problems) {
	for name, n := range map[string]int{
		"connections": l.Connections, "messageBytes": l.MessageBytes, "hubs": l.Hubs, "partitions": l.Partitions,
		"consumerGroups": l.ConsumerGroups, "receivers": l.Receivers, "blobBytes": l.BlobBytes, "accountBytes": l.AccountBytes,
	} {
		if n < 0 {
			v.add("limits."+name, errors.New("it is negative"))
		}
	}
	if l.MessageBytes > 60<<20 {
		v.add("limits.messageBytes", errors.New("it is more than 60 MiB"))
	}
	if l.BlobBytes > 64<<20 {
		v.add("limits.blobBytes", errors.New("it is more than 64 MiB"))
	}
	v.duration("limits.handshake", l.Handshake)
	v.duration("limits.write", l.Write)
	v.duration("limits.idle", l.Idle)
}

func (n *NamespaceOptions) validate(v *problems, at string, o *Options) {
	switch {
	case n.Name == "":
		v.add(at+".name", errors.New("it is empty"))
	case !filepath.IsLocal(n.Name) || strings.ContainsAny(n.Name, `/\:;?#`) || n.Name == ".":
		v.add(at+".name", fmt.Errorf("%q is not allowed: it is the name of a folder and a part of addresses", n.Name))
	}
	if v.listen(at+".listen", n.Listen) && len(n.Rules) == 0 {
		v.add(at+".rules", fmt.Errorf("%s can be reached from other machines, where the emulator's published key would let everybody in; give a rule with a key of your own", n.Listen))
	}
	v.add(at+".rules", entity.CheckRules(n.Rules))
	hubs := map[string]bool{}
	for i := range n.Hubs {
		h := &n.Hubs[i]
		hubAt := fmt.Sprintf("%s.hubs[%d]", at, i)
		if low := strings.ToLower(h.Name); hubs[low] {
			v.add(hubAt+".name", fmt.Errorf("%q is given twice", h.Name))
		} else {
			hubs[low] = true
		}
		v.retention(hubAt+".retention", h.Retention)
		h.validate(v, hubAt, o.Limits.entity())
	}
}

func (h *HubOptions) validate(v *problems, at string, l entity.Limits) {
	v.add(at+".name", entity.CheckHubName(h.Name))
	if h.Partitions < 0 || h.Partitions > l.Partitions {
		v.add(at+".partitions", fmt.Errorf("%d is not between 1 and %d", h.Partitions, l.Partitions))
	}
	if len(h.ConsumerGroups)+1 > l.Groups {
		v.add(at+".consumerGroups", fmt.Errorf("there are %d with $Default, at most %d are allowed", len(h.ConsumerGroups)+1, l.Groups))
	}
	groups := map[string]bool{strings.ToLower(entity.DefaultGroup): true}
	for i, g := range h.ConsumerGroups {
		groupAt := fmt.Sprintf("%s.consumerGroups[%d]", at, i)
		switch low := strings.ToLower(g); {
		case strings.EqualFold(g, entity.DefaultGroup):
		case groups[low]:
			v.add(groupAt, fmt.Errorf("%q is given twice", g))
		default:
			groups[low] = true
			v.add(groupAt, entity.CheckGroupName(g))
		}
	}
	v.add(at+".rules", entity.CheckRules(h.Rules))
}

// loopback reports whether a host is this machine only.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// ListenAddress is where the namespace of that index is to listen.
func (o *Options) ListenAddress(index int) string {
	return cmp.Or(o.Namespaces[index].Listen, net.JoinHostPort("127.0.0.1", strconv.Itoa(5672+index)))
}

// problems are errors with the names of their fields.
type problems []error

func (v *problems) add(field string, err error) {
	if err == nil {
		return
	}
	if e, ok := errors.AsType[*entity.Error](err); ok {
		err = errors.New(e.Text) // the AMQP condition says nothing here
	}
	*v = append(*v, fmt.Errorf("%s: %w", field, err))
}

// listen checks an address to listen on, and reports whether other machines
// can reach it. Empty stands for the loopback interface.
func (v *problems) listen(field, address string) (reachable bool) {
	if address == "" {
		return false
	}
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		v.add(field, fmt.Errorf("%q is not an address with a port: %w", address, err))
		return false
	}
	return !loopback(host)
}

func (v *problems) duration(field string, d time.Duration) {
	if d < 0 {
		v.add(field, errors.New("it is negative"))
	}
}

func (v *problems) retention(field string, r Retention) {
	v.duration(field+".for", r.For)
	v.duration(field+".tombstones", r.Tombstones)
	if r.Size < 0 {
		v.add(field+".size", errors.New("it is negative"))
	}
}

// entity turns limits into those of the inner package, with defaults.
func (l *Limits) entity() entity.Limits {
	return entity.Limits{
		Hubs: l.Hubs, Partitions: l.Partitions, Groups: l.ConsumerGroups,
		Receivers: l.Receivers, MessageBytes: l.MessageBytes,
	}.WithDefaults()
}

// entity turns the options of one namespace into those of the inner package.
func (o *Options) entity(n *NamespaceOptions) (entity.Options, error) {
	fsync, err := seglog.ParseFsync(string(o.Fsync))
	if err != nil {
		return entity.Options{}, err
	}
	dir := ""
	if o.Dir != "" {
		dir = filepath.Join(o.Dir, n.Name)
	}
	var open seglog.OpenFunc
	if o.Faults != nil {
		open = o.Faults.openFile
	}
	return entity.Options{
		OpenFile: open,
		Name:     n.Name, Dir: dir, Rules: n.Rules, Limits: o.Limits.entity(),
		Storage:   entity.Storage{Fsync: fsync, SyncEvery: o.FsyncEvery, SegmentBytes: int64(o.SegmentSize)},
		AcceptJWT: o.AcceptJWT, Now: o.Now, Log: o.Log.With("namespace", n.Name),
	}, nil
}

// spec turns the options of one hub into what the inner package takes.
func (h *HubOptions) spec(o *Options) entity.HubSpec {
	r := h.Retention
	if !r.Compact {
		r.For = cmp.Or(r.For, o.Retention.For, defaultFor)
		r.Size = cmp.Or(r.Size, o.Retention.Size)
		if o.Dir == "" {
			r.Size = cmp.Or(r.Size, defaultMemorySize)
		}
	}
	return entity.HubSpec{
		Name: h.Name, Partitions: h.Partitions, Groups: h.ConsumerGroups, Rules: h.Rules,
		Retention: entity.Retention{
			For: r.For, Bytes: int64(r.Size), Compact: r.Compact,
			Tombstones: cmp.Or(r.Tombstones, o.Retention.Tombstones),
		},
	}
}
