package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// newTable prints the header of a Markdown table. Rows are printed as they are
// measured, so that an interrupted run has printed its results so far.
func newTable(title string, columns ...string) {
	rule := make([]string, len(columns))
	for i := range rule {
		rule[i] = "---:"
	}
	rule[0] = "---"
	fmt.Printf("\n## %s\n\n| %s |\n| %s |\n", title, strings.Join(columns, " | "), strings.Join(rule, " | "))
}

func tableRow(cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		text[i] = cell(c)
	}
	fmt.Printf("| %s |\n", strings.Join(text, " | "))
}

func cell(c any) string {
	switch c := c.(type) {
	case time.Duration:
		switch {
		case c >= 10*time.Second:
			return fmt.Sprintf("%.1f s", c.Seconds())
		case c.Abs() >= 100*time.Millisecond:
			return fmt.Sprintf("%d ms", c.Milliseconds())
		}
		return fmt.Sprintf("%.1f ms", float64(c)/1e6)
	case float64:
		switch {
		case math.IsNaN(c):
			return "–"
		case math.Abs(c) >= 100:
			return fmt.Sprintf("%.0f", c)
		case math.Abs(c) >= 10:
			return fmt.Sprintf("%.1f", c)
		}
		return fmt.Sprintf("%.2f", c)
	case percent:
		if math.IsNaN(float64(c)) {
			return "–"
		}
		return fmt.Sprintf("%.1f %%", 100*float64(c))
	}
	return fmt.Sprint(c)
}

// percent is a share; 1 is 100 %.
type percent float64

// note prints a paragraph below a table.
func note(format string, args ...any) { fmt.Printf("\n"+format+"\n", args...) }

// quantile returns the q-th quantile (nearest rank), or 0 if there are no
// values.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	d = slices.Sorted(slices.Values(d))
	return d[max(int(math.Ceil(q*float64(len(d))))-1, 0)]
}

// middle returns the median of the figures of repeated runs.
func middle(f []float64) float64 {
	if len(f) == 0 {
		return math.NaN()
	}
	f = slices.Sorted(slices.Values(f))
	return f[len(f)/2]
}
