package measure

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Result is one run of one program in one case.
type Result struct {
	Case    string             `json:"case"` // such as "1024 B"
	Program string             `json:"program"`
	Figures map[string]float64 `json:"figures"`           // by the name of a Figure
	Again   bool               `json:"again,omitempty"`   // the second run of the A/A pair
	Problem string             `json:"problem,omitempty"` // what was not as it should be
}

// Figure is something that is measured.
type Figure struct {
	Name   string // as in Result.Figures
	Title  string // the head of its column
	Format string // of a value, for fmt
}

// Summary makes tables of results.
type Summary struct {
	Figures []Figure `json:"-"`
	// Subject is the program whose ratios to the others are shown.
	Subject string            `json:"subject"`
	Machine map[string]string `json:"machine,omitempty"` // what it ran on
	Results []Result          `json:"results"`
	Ratios  []Ratio           `json:"ratios"`
}

// Ratio is a figure of the subject divided by that of another program, both medians.
type Ratio struct {
	Case   string  `json:"case"`
	Figure string  `json:"figure"`
	To     string  `json:"to"` // a program, or "itself": the A/A pair
	Value  float64 `json:"value"`
}

// median returns the median of a figure over the runs of a program, and all its values.
// The second run of the pair counts like every other.
func (s *Summary) median(in, program, figure string) (float64, []float64) {
	var values []float64
	for i := range s.Results {
		r := &s.Results[i]
		if v, ok := r.Figures[figure]; ok && r.Case == in && r.Program == program {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return 0, nil
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2, values
}

// distinct returns the values of a field in the order of their first appearance.
func (s *Summary) distinct(of func(*Result) string) []string {
	var list []string
	for i := range s.Results {
		if v := of(&s.Results[i]); !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	return list
}

// compute fills in the ratios.
func (s *Summary) compute() {
	s.Ratios = nil
	for _, c := range s.distinct(func(r *Result) string { return r.Case }) {
		for _, f := range s.Figures {
			own, _ := s.median(c, s.Subject, f.Name)
			for _, p := range s.distinct(func(r *Result) string { return r.Program }) {
				if other, values := s.median(c, p, f.Name); p != s.Subject && own > 0 && len(values) > 0 && other > 0 {
					s.Ratios = append(s.Ratios, Ratio{c, f.Name, p, own / other})
				}
			}
			if a, b := s.pair(c, f.Name); a > 0 && b > 0 {
				s.Ratios = append(s.Ratios, Ratio{c, f.Name, "itself", b / a})
			}
		}
	}
}

// pair returns the figures of the A/A pair, or zeros.
func (s *Summary) pair(in, figure string) (first, second float64) {
	for i := 1; i < len(s.Results); i++ {
		if r := &s.Results[i]; r.Again && r.Case == in {
			return s.Results[i-1].Figures[figure], r.Figures[figure]
		}
	}
	return 0, 0
}

// JSON writes everything.
func (s *Summary) JSON(w io.Writer) error {
	s.compute()
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(s)
}

// Write writes the summary as Markdown, and as JSON to a file if one is named.
func (s *Summary) Write(w io.Writer, file string) error {
	err := s.Markdown(w)
	if file == "" {
		return err
	}
	f, cause := os.Create(file)
	if cause != nil {
		return errors.Join(err, cause)
	}
	return errors.Join(err, s.JSON(f), f.Close())
}

// Markdown writes a table of the medians with the smallest and largest value, and one of
// the ratios.
func (s *Summary) Markdown(w io.Writer) error {
	s.compute()
	var b strings.Builder
	row := func(cells ...string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	titles, line := []string{"", "program"}, []string{"---", "---"}
	for _, f := range s.Figures {
		titles, line = append(titles, f.Title), append(line, "---")
	}
	row(titles...)
	row(line...)
	for _, c := range s.distinct(func(r *Result) string { return r.Case }) {
		for _, p := range s.distinct(func(r *Result) string { return r.Program }) {
			cells := []string{c, p}
			for _, f := range s.Figures {
				cells = append(cells, s.cell(c, p, &f))
			}
			row(cells...)
		}
	}
	if len(s.Ratios) > 0 {
		b.WriteString("\n")
		row("", s.Subject+" : other", "figure", "ratio")
		row("---", "---", "---", "---")
		slices.SortStableFunc(s.Ratios, func(a, b Ratio) int { return cmp.Or(strings.Compare(a.Case, b.Case), strings.Compare(a.To, b.To)) })
		for _, r := range s.Ratios {
			row(r.Case, r.To, s.title(r.Figure), fmt.Sprintf("%.2f", r.Value))
		}
	}
	for i := range s.Results {
		if r := &s.Results[i]; r.Problem != "" {
			fmt.Fprintf(&b, "\n%s, %s: **%s**\n", r.Case, r.Program, r.Problem)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *Summary) cell(in, program string, f *Figure) string {
	m, values := s.median(in, program, f.Name)
	switch len(values) {
	case 0:
		return "-"
	case 1:
		return fmt.Sprintf(f.Format, m)
	}
	return fmt.Sprintf(f.Format+" ("+f.Format+" to "+f.Format+")", m, values[0], values[len(values)-1])
}

func (s *Summary) title(figure string) string {
	for _, f := range s.Figures {
		if f.Name == figure {
			return f.Title
		}
	}
	return figure
}
