package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/hubferry/hubferry"
)

// progress turns one status after another into rates.
type progress struct {
	at     time.Time // of the last status, or when the tasks began
	before map[string]int64
	rates  map[string]float64
}

// row is what a person sees of a task, and what a pipe gets as a JSON line.
type row struct {
	Time       time.Time        `json:"time"`
	Task       string           `json:"task"`
	State      hubferry.State   `json:"state"`
	Error      string           `json:"error,omitempty"`
	Partitions int              `json:"partitions"`
	Moved      int64            `json:"moved"`
	Rate       float64          `json:"rate"`       // events per second
	Lag        int64            `json:"lag"`        // events
	LagSeconds float64          `json:"lagSeconds"` // age of the oldest unconfirmed event
	CatchUp    float64          `json:"catchUpSeconds,omitempty"`
	Retries    int64            `json:"retries"`
	DeadLetter int64            `json:"deadLettered,omitempty"`
	Dropped    map[string]int64 `json:"dropped,omitempty"`
}

// rows compares the tasks' status with the one before it.
func (p *progress) rows(now time.Time, tasks []hubferry.TaskStatus) []row {
	if p.before == nil {
		p.before, p.rates = map[string]int64{}, map[string]float64{}
	}
	elapsed := now.Sub(p.at).Seconds()
	rows := make([]row, len(tasks))
	for i := range tasks {
		t := &tasks[i]
		done := t.Counts.Written
		if elapsed > 0 {
			p.rates[t.Task] = float64(done-p.before[t.Task]) / elapsed
		}
		p.before[t.Task] = done
		r := row{
			Time: now, Task: t.Task, State: t.State, Error: t.Error, Partitions: len(t.Owned),
			Moved: done, Rate: p.rates[t.Task], Retries: t.Counts.Retries,
			DeadLetter: t.Counts.DeadLettered, Dropped: t.Counts.Dropped,
		}
		for j := range t.Owned {
			r.Lag += t.Owned[j].Lag
			r.LagSeconds = max(r.LagSeconds, t.Owned[j].LagSeconds)
		}
		if r.Rate > 0 && r.Lag > 0 {
			r.CatchUp = float64(r.Lag) / r.Rate
		}
		rows[i] = r
	}
	p.at = now
	return rows
}

// table lays rows out for a terminal.
func table(rows []row) []string {
	cells := [][]string{{"TASK", "STATE", "PARTS", "MOVED", "RATE/S", "LAG", "BEHIND", "CATCH-UP", "RETRIES"}}
	for i := range rows {
		r := &rows[i]
		catchUp := "-"
		if r.CatchUp > 0 {
			catchUp = seconds(r.CatchUp)
		}
		cells = append(cells, []string{
			r.Task, r.State.String(), fmt.Sprint(r.Partitions), fmt.Sprint(r.Moved), fmt.Sprintf("%.0f", r.Rate),
			fmt.Sprint(r.Lag), seconds(r.LagSeconds), catchUp, fmt.Sprint(r.Retries),
		})
	}
	lines := columns(cells)
	for i := range rows {
		if rows[i].Error != "" {
			lines = append(lines, "  "+rows[i].Task+": "+strings.ReplaceAll(rows[i].Error, "\n", "; "))
		}
	}
	return lines
}

// columns pads cells: the first two columns to the left, numbers to the right.
func columns(cells [][]string) []string {
	widths := make([]int, len(cells[0]))
	for _, row := range cells {
		for i, c := range row {
			widths[i] = max(widths[i], len([]rune(c)))
		}
	}
	lines := make([]string, len(cells))
	for n, row := range cells {
		var b strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", widths[i]-len([]rune(c)))
			if i > 0 {
				b.WriteString("  ")
			}
			if i < 2 {
				b.WriteString(c + pad)
			} else {
				b.WriteString(pad + c)
			}
		}
		lines[n] = strings.TrimRight(b.String(), " ")
	}
	return lines
}

// seconds writes a duration the way a person says it.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}
