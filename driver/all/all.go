// Package all is the one list of the drivers that the standard binary links. A program
// of your own names the drivers that it wants, and links no others.
package all

import (
	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/eventhubs"
	"github.com/hubferry/hubferry/driver/kafka"
)

// Drivers returns the drivers by name, in the order in which docs and help show them.
func Drivers() []hubferry.Driver {
	return []hubferry.Driver{eventhubs.Driver(), kafka.Driver()}
}
