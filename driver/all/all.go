// Package all is the one list of the drivers that the standard program is linked with.
package all

import (
	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/eventhubs"
)

// Drivers returns every driver.
func Drivers() []hubferry.Driver {
	return []hubferry.Driver{eventhubs.Driver()}
}
