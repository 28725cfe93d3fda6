package measure

import (
	"context"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTurns(t *testing.T) {
	order, aa := Turns([]string{"a", "b", "c"}, 2)
	if d := cmp.Diff("a a b c b c a", strings.Join(order, " ")); d != "" || order[aa] != order[aa-1] {
		t.Error(d, aa)
	}
}

func TestParseUsage(t *testing.T) {
	stat := "42 (a) b (c) S 1 42 42 0 -1 4194560 5 0 0 0 150 25 0 0 20 0 9 0 100 1 1 1"
	u, err := parseUsage([]byte(stat), []byte("VmPeak:\t  9 kB\nVmHWM:\t  2048 kB\n"))
	if err != nil || u.CPU != 1750*time.Millisecond || u.Peak != 2<<20 {
		t.Errorf("%+v, %v", u, err)
	}
	for _, c := range [][2]string{{"1 (a) S 1", "VmHWM: 1 kB"}, {stat, ""}, {strings.Replace(stat, "150", "x", 1), "VmHWM: 1 kB"}, {stat, "VmHWM: x"}} {
		if u, err := parseUsage([]byte(c[0]), []byte(c[1])); err == nil {
			t.Errorf("%q: no error, but %+v", c, u)
		}
	}
}

func TestUsageOfOurselves(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("needs /proc, which Linux has")
	}
	u, err := UsageOf(os.Getpid())
	if err != nil || u.Peak < 1<<20 {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestMeter(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("needs /proc, which Linux has")
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		m := Meter{PID: os.Getpid(), From: 1000, To: 11000, Count: func(context.Context) (int64, error) {
			return int64(time.Since(start) / time.Millisecond), nil // 1,000 per second
		}}
		p, err := m.Run(t.Context())
		if err != nil || p.Events != 10_000 || p.Time != 10*time.Second || p.Rate() != 1000 {
			t.Errorf("%+v, %v", p, err)
		}
		start = time.Now()
		m.Warm, m.For, m.Every, m.Beside = 2*time.Second, 3*time.Second, 500*time.Millisecond, []int{os.Getpid()}
		if p, err = m.Run(t.Context()); err != nil || p.Events != 3000 || p.Time != 3*time.Second {
			t.Errorf("%+v, %v", p, err)
		}
		m.Beside = []int{-1}
		if _, err := m.Run(t.Context()); err == nil {
			t.Error("a process beside that is not there goes unnoticed")
		}
		m.Count = func(context.Context) (int64, error) { return 5, nil }
		m.Warm = time.Hour
		if _, err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing has arrived for 2m0s, at 5 of 11000") {
			t.Error(err)
		}
		ended := make(chan struct{})
		close(ended)
		m.Ended = ended
		if _, err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "the program ended at 5") {
			t.Error(err)
		}
	})
}

func TestQuantile(t *testing.T) {
	var l Latencies
	if l.Quantile(0.5) != 0 {
		t.Error("no latencies")
	}
	for i := range 100 {
		l = append(l, time.Duration(99-i))
	}
	if l.Quantile(0.5) != 50 || l.Quantile(0.99) != 99 || l.Quantile(1) != 99 {
		t.Error(l.Quantile(0.5), l.Quantile(0.99), l.Quantile(1))
	}
}

func TestSummary(t *testing.T) {
	s := Summary{
		Subject: "ours", Figures: []Figure{{"rate", "events/s", "%.0f"}, {"cpu", "CPU s", "%.1f"}},
		Results: []Result{
			{Case: "1 B", Program: "ours", Figures: map[string]float64{"rate": 100, "cpu": 1}},
			{Case: "1 B", Program: "ours", Figures: map[string]float64{"rate": 110, "cpu": 2}, Again: true},
			{Case: "1 B", Program: "theirs", Figures: map[string]float64{"rate": 50}, Problem: "it lost 3 events"},
			{Case: "1 B", Program: "ours", Figures: map[string]float64{"rate": 90, "cpu": 4}},
		},
	}
	var b strings.Builder
	if err := s.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	want := `|  | program | events/s | CPU s |
| --- | --- | --- | --- |
| 1 B | ours | 100 (90 to 110) | 2.0 (1.0 to 4.0) |
| 1 B | theirs | 50 | - |

|  | ours : other | figure | ratio |
| --- | --- | --- | --- |
| 1 B | itself | events/s | 1.10 |
| 1 B | itself | CPU s | 2.00 |
| 1 B | theirs | events/s | 2.00 |

1 B, theirs: **it lost 3 events**
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
	b.Reset()
	if err := s.JSON(&b); err != nil || !strings.Contains(b.String(), `"to": "itself",`) {
		t.Error(err, b.String())
	}
}
