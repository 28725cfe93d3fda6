package leaktest_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubferry/hubferry/internal/leaktest"
)

type tests int

func (t tests) Run() int { return int(t) }

func TestWaits(t *testing.T) {
	leak := errors.New("a goroutine")
	for name, c := range map[string]struct {
		tests tests
		ends  time.Duration // of the goroutine
		want  int
	}{
		"nothing":    {0, 0, 0},
		"slow":       {0, 50 * time.Second, 0},
		"a leak":     {0, time.Hour, 1},
		"tests fail": {3, time.Hour, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				got := leaktest.Main(c.tests, func() error {
					time.Sleep(time.Second)
					if time.Since(began) < c.ends {
						return leak
					}
					return nil
				})
				if got != c.want {
					t.Errorf("exit code %d, want %d", got, c.want)
				}
			})
		})
	}
}
