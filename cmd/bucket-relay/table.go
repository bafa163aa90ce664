package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// toRight in front of a column's head aligns the column to the right.
const toRight = ">"

// table prints rows in columns. The last column is free text and never padded.
type table struct {
	right []bool     // by column: aligned to the right
	rows  [][]string // the heads first; all of the same length
}

func newTable(heads ...string) *table {
	t := &table{right: make([]bool, len(heads))}
	for i, head := range heads {
		heads[i], t.right[i] = strings.CutPrefix(head, toRight)
	}
	t.rows = append(t.rows, heads)
	return t
}

// add appends a row. Names come from other people's disks, so whatever could
// move the cursor is escaped.
func (t *table) add(cells ...string) {
	for i, c := range cells {
		cells[i] = printable(c)
	}
	t.rows = append(t.rows, cells)
}

// print writes the table. Width is counted in runes.
func (t *table) print(w io.Writer) {
	widths := make([]int, len(t.right))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			gap := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if t.right[i] {
				cell, gap = gap+cell, ""
			}
			line.WriteString(cell + gap + "  ")
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// printable escapes what is not meant to be seen: control characters, marks
// that turn the direction of writing, and bytes that are no UTF-8.
func printable(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, hidden) < 0 {
		return s
	}
	quoted := fmt.Sprintf("%+q", s)
	return quoted[1 : len(quoted)-1]
}

func hidden(r rune) bool { return !unicode.IsPrint(r) }

// bytesText words a size: "812 B", "1.2 GiB".
func bytesText(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1024, 0
	for value >= 999.95 && unit < len(units)-1 {
		value /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", value, units[unit])
}

// ageText words a duration in at most two units: "4s", "3m12s", "2h5m", "3d4h".
func ageText(d time.Duration) string {
	d = d.Round(time.Second)
	day := 24 * time.Hour
	switch {
	case d < time.Second:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
}

// seconds turns the API's seconds into a duration.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
