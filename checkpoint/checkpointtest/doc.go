// Package checkpointtest is the conformance suite of checkpoint stores: what the balancer
// and the engine rely on, case by case. A store's own test calls Run:
//
//	func TestConformance(t *testing.T) {
//		checkpointtest.Run(t, func(t testing.TB) checkpointtest.Harness {
//			path := filepath.Join(t.TempDir(), "checkpoints.db")
//			return checkpointtest.Harness{
//				Open: func(t testing.TB) hubferry.CheckpointStore { return open(t, path) },
//			}
//		})
//	}
//
// The suite's own test runs every case against stores that break one rule each, and
// wants the case to notice.
package checkpointtest
