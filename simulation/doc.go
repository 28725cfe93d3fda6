// Package simulation runs whole fleets in no time: instances of the engine with real
// balancers on one checkpoint store, replicating between two hubs, all in one synctest
// bubble, where an hour passes in some milliseconds. A seed decides what befalls them: who
// comes, leaves, dies or freezes, what store and hubs do wrong, who else writes to the
// target. A judge compares source and target: nothing may be lost, come twice or come out of
// order (docs/guarantees.md). The package has tests only.
//
//	make simulate SEEDS=5000    so many worlds, and each rule put out of force in turn
//	make simulate SEED=17       one world again, with everything that its instances log
//
// Both are built with a Go runtime whose choices follow from the seed, see package overlay:
// then a seed is one schedule and runs the same way each time. go test runs some worlds with
// the runtime as it is, where the seed decides what happens and the machine in which order.
//
// # Files
//
//	world_test.go     hubs, store, and the instances that share them
//	services_test.go  what goes wrong with a process's calls of store and source
//	target_test.go    what goes wrong with its writes
//	judge_test.go     what has arrived, and how
//	schedule_test.go  one world from its seed to the verdict
//	rules_test.go     the rules, and how each is put out of force
//	report_test.go    many worlds, by several processes
package simulation
