package faults

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// journal keeps the newest lines of a world's log.
type journal struct {
	began time.Time
	mu    sync.Mutex
	lines []string
	next  int
}

const journalLines = 4000

func (j *journal) handler() slog.Handler {
	return slog.NewTextHandler(j, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.String("t", fmt.Sprintf("%.3f", a.Value.Time().Sub(j.began).Seconds()))
			}
			return a
		},
	})
}

// Write implements io.Writer: slog calls it with one line.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.lines) < journalLines {
		j.lines = append(j.lines, string(p))
	} else {
		j.lines[j.next%journalLines] = string(p)
	}
	j.next++
	return len(p), nil
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	for i := range j.lines {
		b.WriteString(j.lines[(j.next+i)%len(j.lines)])
	}
	return b.String()
}
