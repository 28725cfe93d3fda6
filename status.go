package hubferry

import "time"

// State is what a task or a partition of it is doing.
type State uint8

// The states.
const (
	Starting State = iota // connecting, resolving start positions
	Running               // reading and writing
	Retrying              // a service is away: work is repeated until it is back
	Paused                // by a person
	Stopped               // by a person, or the source has ended
	Failed                // by an error that needs a person
)

var stateNames = [...]string{"starting", "running", "retrying", "paused", "stopped", "failed"}

// String returns the state in lower case.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// MarshalText returns the state in lower case, for JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// TaskStatus is a task at one moment, for people and monitors. Counters only grow while
// the task lives.
type TaskStatus struct {
	Task    string            `json:"task"`
	State   State             `json:"state"`
	Source  string            `json:"source"`
	Targets []string          `json:"targets"`
	Error   string            `json:"error,omitempty"`
	Since   time.Time         `json:"since"`
	Counts  Counts            `json:"counts"`
	Owned   []PartitionStatus `json:"partitions"`
}

// PartitionStatus is one source partition that this instance moves.
type PartitionStatus struct {
	Hub        string    `json:"hub"` // a task may read several
	Partition  string    `json:"partition"`
	State      State     `json:"state"`
	Read       int64     `json:"read"`       // sequence number of the last event read
	Checkpoint int64     `json:"checkpoint"` // sequence number of the stored checkpoint
	End        int64     `json:"end"`        // sequence number of the last event there is
	Lag        int64     `json:"lag"`        // events between the confirmed position and End
	LagSeconds float64   `json:"lagSeconds"` // age of the oldest event that is not confirmed
	InFlight   int       `json:"inFlight"`   // inputs read and not settled
	Moved      time.Time `json:"moved"`      // when the confirmed position last moved
	Error      string    `json:"error,omitempty"`
	// Search is the longest reading of a target that the partition waits for, or nil.
	Search *SearchStatus `json:"search,omitempty"`
}

// SearchStatus is a reading of a target partition under effectively-once delivery, which
// finds what was delivered there before anything more is sent to it (G-8).
type SearchStatus struct {
	Target string    `json:"target"` // the partition's address
	Since  time.Time `json:"since"`
	// Until is when what a predecessor has sent must have arrived or never will: reading
	// begins then. Zero once it has begun.
	Until time.Time `json:"until,omitzero"`
	At    int64     `json:"at"`  // sequence number up to which was read
	End   int64     `json:"end"` // sequence number up to which will be read
}

// Counts are the counters of a task.
type Counts struct {
	Read         int64            `json:"read"`         // inputs
	Moved        int64            `json:"moved"`        // inputs settled
	Written      int64            `json:"written"`      // outputs confirmed at targets
	WrittenBytes int64            `json:"writtenBytes"` // by Event.Size
	Dropped      map[string]int64 `json:"dropped,omitempty"`
	DeadLettered int64            `json:"deadLettered"`
	Retries      int64            `json:"retries"`
	Gaps         int64            `json:"gaps"`
	// Under effectively-once delivery: Found are outputs that were not sent again because
	// reading the target showed them, or a later one of theirs; DuplicatesSeen are further
	// copies of an output that were seen on a target; Unproven are outputs that may be
	// there twice, because it could not be shown whether an earlier attempt had stored them
	// (G-8, G-9).
	Found          int64 `json:"found,omitempty"`
	DuplicatesSeen int64 `json:"duplicatesSeen,omitempty"`
	Unproven       int64 `json:"unproven,omitempty"`
}
