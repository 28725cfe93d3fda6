// Package engine moves events. It knows the contract of package hubferry and no driver,
// editor or store by name.
//
// # An event's journey
//
// Each file is one step of it:
//
//	fetch.go    Reader.Read into a batch; gap check; waits for window and budget
//	worker.go   the loop of one source partition: read, edit, route, hand to lanes
//	edit.go     the editors of the task, then those of the route
//	route.go    which targets, which target partition (G-4)
//	lane.go     one per target partition: gathers while a write is under way, retries,
//	            applies the onError policy (poison.go)
//	commit.go   instead of lanes, events and position in one transaction (G-12)
//	submit.go   several runs in flight, where the writer keeps them in order (G-5)
//	tracker.go  which inputs are settled; how far everything is (INV-2)
//	save.go     the checkpoint, at its cadence (G-6)
//
// and around them: task.go (a task and its claims), partition.go (one claim: restart,
// hand-over), adopt.go (positions that targets hold), engine.go (all tasks), retry.go,
// budget.go, gate.go, status.go.
//
// # Goroutines
//
// A claimed partition has three: fetch, the worker's loop, and save; and one more for each
// target that keeps positions. A target partition that is written to has one, its lane,
// shared by all source partitions of the task. A target that is read for effectively-once
// delivery has one that asks for its ends, and one for each partition that is being
// searched. Nothing else runs. What they share is the
// tracker (one lock, never held while waiting), the lanes' queues, and the budget.
//
// # Stopping
//
// When the context of Run ends, fetching stops, editors release what they hold, lanes
// finish what is queued, the last checkpoint is saved and every claim is released, all
// within Options.Drain. What is not done by then is repeated by whoever comes next
// (INV-3).
package engine
