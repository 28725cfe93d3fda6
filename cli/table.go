package cli

import (
	"cmp"
	"fmt"
	"slices"
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
	// Of effectively-once delivery, see hubferry.Counts.
	Found          int64                  `json:"found,omitempty"`
	DuplicatesSeen int64                  `json:"duplicatesSeen,omitempty"`
	Unproven       int64                  `json:"unproven,omitempty"`
	Search         *hubferry.SearchStatus `json:"search,omitempty"` // the one with the longest way to go
	// Hubs are those of a source of several, of which this instance has partitions.
	Hubs []hubRow `json:"hubs,omitempty"`
}

// hubRow is one hub of a task that reads several.
type hubRow struct {
	Hub        string         `json:"hub"`
	State      hubferry.State `json:"state"` // the worst of its partitions
	Partitions int            `json:"partitions"`
	Lag        int64          `json:"lag"`
	LagSeconds float64        `json:"lagSeconds"`
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
			Found: t.Counts.Found, DuplicatesSeen: t.Counts.DuplicatesSeen, Unproven: t.Counts.Unproven,
		}
		for j := range t.Owned {
			r.Lag += t.Owned[j].Lag
			r.LagSeconds = max(r.LagSeconds, t.Owned[j].LagSeconds)
			if s := t.Owned[j].Search; s != nil && (r.Search == nil || s.End-s.At > r.Search.End-r.Search.At) {
				r.Search = s
			}
		}
		r.Hubs = hubRows(t.Owned)
		if r.Rate > 0 && r.Lag > 0 {
			r.CatchUp = float64(r.Lag) / r.Rate
		}
		rows[i] = r
	}
	p.at = now
	return rows
}

// hubRows adds partitions up by their hub. It returns nil if all have the same.
func hubRows(owned []hubferry.PartitionStatus) []hubRow {
	var hubs []hubRow
	for i := range owned { // sorted by hub
		p := &owned[i]
		if len(hubs) == 0 || hubs[len(hubs)-1].Hub != p.Hub {
			hubs = append(hubs, hubRow{Hub: p.Hub})
		}
		h := &hubs[len(hubs)-1]
		h.State = max(h.State, p.State)
		h.Partitions++
		h.Lag += p.Lag
		h.LagSeconds = max(h.LagSeconds, p.LagSeconds)
	}
	if len(hubs) < 2 {
		return nil
	}
	return hubs
}

// mostHubs is how many hubs of a task the table shows: those that are furthest behind.
const mostHubs = 8

// table lays rows out for a terminal. Tasks that read several hubs have a line for each.
func table(rows []row) []string {
	cells := [][]string{{"TASK", "HUB", "STATE", "PARTS", "MOVED", "RATE/S", "LAG", "BEHIND", "CATCH-UP", "RETRIES"}}
	several := false
	for i := range rows {
		r := &rows[i]
		catchUp := "-"
		if r.CatchUp > 0 {
			catchUp = seconds(r.CatchUp)
		}
		cells = append(cells, []string{
			r.Task, r.hubs(), r.State.String(), fmt.Sprint(r.Partitions), fmt.Sprint(r.Moved), fmt.Sprintf("%.0f", r.Rate),
			fmt.Sprint(r.Lag), seconds(r.LagSeconds), catchUp, fmt.Sprint(r.Retries),
		})
		several = several || len(r.Hubs) > 0
		shown := slices.Clone(r.Hubs)
		slices.SortStableFunc(shown, func(a, b hubRow) int { return cmp.Or(cmp.Compare(b.State, a.State), cmp.Compare(b.Lag, a.Lag)) })
		for _, h := range shown[:min(len(shown), mostHubs)] {
			cells = append(cells, []string{
				"", h.Hub, h.State.String(), fmt.Sprint(h.Partitions), "", "", fmt.Sprint(h.Lag), seconds(h.LagSeconds), "", "",
			})
		}
		if n := len(shown) - mostHubs; n > 0 {
			cells = append(cells, []string{"", fmt.Sprintf("and %d more", n), "", "", "", "", "", "", "", ""})
		}
	}
	left := 3
	if !several {
		left = 2
		for i := range cells {
			cells[i] = slices.Delete(cells[i], 1, 2)
		}
	}
	lines := columns(cells, left)
	for i := range rows {
		if rows[i].Error != "" {
			lines = append(lines, "  "+rows[i].Task+": "+strings.ReplaceAll(rows[i].Error, "\n", "; "))
		}
		for _, text := range rows[i].once() {
			lines = append(lines, "  "+rows[i].Task+": "+text)
		}
	}
	return lines
}

// hubs says how many hubs a task reads, if it is more than one.
func (r *row) hubs() string {
	if len(r.Hubs) == 0 {
		return ""
	}
	return fmt.Sprintf("%d hubs", len(r.Hubs))
}

// once tells what effectively-once delivery waits for, and what it could not prevent.
func (r *row) once() []string {
	var lines []string
	if s := r.Search; s != nil && !s.Until.IsZero() {
		lines = append(lines, fmt.Sprintf("waits until %s for what may still arrive at %s", s.Until.Format(time.TimeOnly), s.Target))
	} else if s != nil {
		lines = append(lines, fmt.Sprintf("looks what is at %s already: event %d of %d", s.Target, s.At, s.End))
	}
	if r.DuplicatesSeen+r.Unproven > 0 {
		lines = append(lines, fmt.Sprintf("%d duplicates seen at the target, %d events that may be there twice", r.DuplicatesSeen, r.Unproven))
	}
	return lines
}

// columns pads cells: the first columns to the left, numbers to the right.
func columns(cells [][]string, left int) []string {
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
			if i < left {
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
