package cli

import (
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestSecondSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals := make(chan os.Signal, 2)
		stopped, code := false, -1
		go heed(signals, func() { stopped = true }, func(c int) { code = c })
		signals <- os.Interrupt
		signals <- os.Interrupt
		synctest.Wait()
		if !stopped || code != -1 {
			t.Errorf("one signal, sent twice at a time: stopped %v, exit code %d", stopped, code)
		}
		time.Sleep(time.Second)
		signals <- os.Interrupt
		synctest.Wait()
		if code != ExitFailure {
			t.Errorf("a second signal: exit code %d, want %d", code, ExitFailure)
		}
	})
}
