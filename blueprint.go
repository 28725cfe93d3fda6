package hubferry

import "context"

// Blueprint says how a hub is made, for a target that is to have one like it.
type Blueprint struct {
	// Service is the name of the driver; the settings of one mean nothing to another.
	Service    string
	Partitions int
	// Settings are by the service's own names, such as retention.ms. They may be nil.
	Settings map[string]string
}

// Describer is the optional side of a Source that can say more of its hub than how many
// partitions it has.
type Describer interface {
	// Describe says how a hub of the source is made. With "" it says what is true of all:
	// the largest number of partitions, and the settings if there is one hub only.
	Describe(ctx context.Context, hub string) (Blueprint, error)
}

// Maker is the optional side of a Target that can make hubs, or see to it that they are
// as they should be. The engine calls Make before it opens a hub. The function like asks
// the source; it may be called until the target is closed.
type Maker interface {
	Make(ctx context.Context, hub string, like func(ctx context.Context) (Blueprint, error)) error
}
