//go:build simulation

package simulation

import _ "unsafe" // for linkname

// seeded says that the runtime's choices follow from a seed.
const seeded = true

// These are in the runtime that package overlay makes.
//
//go:linkname simulationOn runtime.simulationOn
var simulationOn uint64

//go:linkname simulationState runtime.simulationState
var simulationState uint64

// seedRuntime binds the choices of the runtime to a seed, until end is called. There must be
// one processor only.
func seedRuntime(seed uint64) (end func()) {
	simulationState = (seed + 1) * 0x9e3779b97f4a7c15
	simulationOn = 1
	return func() { simulationOn = 0 }
}
