package checkpoint

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/hubferry/hubferry"
)

// Strategy says how fast partitions change hands when the shares are not fair. What is
// free is always taken at once.
type Strategy uint8

// The strategies.
const (
	// Balanced hands over an eighth of what is too much per round, at least one
	// partition, so that few partitions pause at a time.
	Balanced Strategy = iota
	// Greedy hands everything over that is too much at once.
	Greedy
)

// String returns the name of the strategy.
func (s Strategy) String() string {
	if s == Greedy {
		return "greedy"
	}
	return "balanced"
}

// The defaults of Options.
const (
	DefaultInterval = 10 * time.Second
	DefaultExpiry   = time.Minute
	DefaultRefresh  = time.Minute
)

// Options say what a Balancer shares, and as whom. Source, Store, Group and Owner are
// required.
type Options struct {
	Source hubferry.Source
	Store  hubferry.CheckpointStore
	// Group is the consumer group that is shared: an ID without partition.
	Group hubferry.ID
	// Owner is this instance's name in ownership records: see OwnerName. No two
	// instances that run at one time may have the same.
	Owner    string
	Strategy Strategy
	// Interval is the time between renewals, and between rounds of balancing while
	// nothing is to be balanced. 0 means DefaultInterval.
	Interval time.Duration
	// Expiry is the age at which a record that was not renewed is anybody's: at least
	// three intervals, and the same for all that share the group. 0 means
	// DefaultExpiry, or six intervals if that is more.
	Expiry time.Duration
	// Margin is how long before its expiry our own lease counts as over: time for what
	// is on its way to arrive, or not. 0 means a sixth of the expiry.
	Margin time.Duration
	// Refresh is how often the source is asked for new partitions. 0 means
	// DefaultRefresh.
	Refresh time.Duration
	// Epoch is the owner level of readers: 0 as in the processors of the Azure SDKs.
	Epoch int64
	// Shared says that other programs share the work of the group (G-10).
	Shared bool
	Log    *slog.Logger // nil means none
}

// OwnerName returns the owner of an instance of a task. The instance must be unique for
// each start of a process: a name that an earlier process had is not taken for ours.
func OwnerName(task, instance string) string {
	return taskName(task) + "/" + url.PathEscape(instance)
}

// taskName returns what stands under TaskState in the checkpoints of a task.
func taskName(task string) string { return url.PathEscape(task) }

// taskOf returns the task of an owner, escaped, or "" if it is not of our making.
func taskOf(owner string) string {
	task, instance, ok := strings.Cut(owner, "/")
	if !ok || instance == "" {
		return ""
	}
	return task
}

// complete sets the defaults and returns all mistakes.
func (o *Options) complete() error {
	var problems []error
	if o.Source == nil || o.Store == nil {
		problems = append(problems, errors.New("a source and a store are required"))
	}
	if g := o.Group; g.Namespace == "" || g.Hub == "" || g.ConsumerGroup == "" || g.Partition != "" {
		problems = append(problems, fmt.Errorf("the group %q must name a namespace, a hub and a consumer group, and no partition", g))
	}
	if taskOf(o.Owner) == "" {
		problems = append(problems, fmt.Errorf("the owner %q must be made by OwnerName", o.Owner))
	}
	for _, d := range []*time.Duration{&o.Interval, &o.Expiry, &o.Margin, &o.Refresh} {
		if *d < 0 {
			problems = append(problems, fmt.Errorf("the duration %s is negative", *d))
		}
	}
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.Expiry == 0 {
		o.Expiry = max(DefaultExpiry, 6*o.Interval)
	}
	if o.Margin == 0 {
		o.Margin = o.Expiry / 6
	}
	if o.Refresh == 0 {
		o.Refresh = DefaultRefresh
	}
	if o.Expiry < 3*o.Interval {
		problems = append(problems, fmt.Errorf("the expiry %s must be at least three times the interval %s, or one late renewal gives partitions away", o.Expiry, o.Interval))
	}
	if o.Margin > o.Expiry/3 {
		problems = append(problems, fmt.Errorf("the margin %s must be at most a third of the expiry %s", o.Margin, o.Expiry))
	}
	if o.Epoch < 0 {
		problems = append(problems, fmt.Errorf("the epoch %d is negative", o.Epoch))
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Log = o.Log.With("component", "checkpoint")
	if err := errors.Join(problems...); err != nil {
		return &hubferry.Error{Kind: hubferry.Fatal, Op: "share partitions", Err: err}
	}
	return nil
}
