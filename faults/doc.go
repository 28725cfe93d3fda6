// Package faults holds no code, only tests: worlds in which hubs, stores and networks fail
// on purpose, at moments that a seed chooses, while events pass, and a judge that reads both
// sides back and proves that the promises were kept.
//
// A world is a source, a target, a checkpoint store, some instances that replicate between
// them, and a load of numbered events with keys. Its schedule, that is to say what it is made of,
// which faults come, at which moments and how long each lasts, is drawn from one number.
// A failure prints that number: with
//
//	HUBFERRY_SEED=4711 go test ./faults -run 'TestFaults$'
//
// the same schedule comes again. Which goroutine runs first is not in the seed, so that a
// failure may take several runs to come back.
//
// Without it TestFaults runs a fixed list of worlds in which every fault comes at least once with
// each driver that can have it. "make faults HOURS=0.5" runs worlds of random seeds for so long, and
// writes the table of fault, moment and driver to bin/faults.md. The table and what
// cannot be tested so stand in docs/faults.md.
package faults
