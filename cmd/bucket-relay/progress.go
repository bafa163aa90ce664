package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bucket-relay/bucket-relay/node"
)

const (
	redrawEvery = 100 * time.Millisecond // on a terminal
	reportEvery = 5 * time.Second        // elsewhere: a line in a log
	rateWindow  = 3 * time.Second        // the rate is that of the last seconds
)

// progress shows how a send goes on: a bar that is redrawn on a terminal, a
// line now and then elsewhere, and a line for each file that is over. It
// implements node.CourierProgress and is safe for concurrent use.
//
// Nothing is drawn but when something happens, so it needs no goroutine.
type progress struct {
	mu          sync.Mutex
	out, err    io.Writer // files that arrived; everything else
	bar         bool      // err is a terminal
	width       int       // of the terminal, in columns
	quiet       bool      // no line per file: they are printed as JSON
	files, over int
	total, sent int64
	start, last time.Time // of the send; of the last redraw or report
	samples     []sample  // oldest first, spanning rateWindow
	drawn       int       // runes of the bar on the screen
}

// sample is how much was sent at a time.
type sample struct {
	at   time.Time
	sent int64
}

// newProgress returns the progress of a send of so many files.
func newProgress(out, err io.Writer, files int) *progress {
	now := time.Now()
	width, bar := terminalWidth(err)
	return &progress{out: out, err: err, bar: bar, width: width, files: files, start: now, last: now}
}

// Expect changes how much there is to send.
func (p *progress) Expect(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total += bytes
}

// Reading shows how far a file is read for its digest, which goes in front of
// it, as long as nothing is sent.
func (p *progress) Reading(file string, upTo, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sent > 0 || size == 0 || !p.dueLocked(time.Now()) {
		return
	}
	p.drawLocked(fmt.Sprintf("reading %s  %3.0f%%", printable(file), 100*float64(upTo)/float64(size)))
}

// Moved counts what was sent.
func (p *progress) Moved(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent += bytes
	p.showLocked(time.Now())
}

// Waits prints why an attempt failed and when the next one follows.
func (p *progress) Waits(file, collector string, err error, pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lineLocked(p.err, fmt.Sprintf("%s: %s: %s; next try in %s", printable(file), collector, explain(err), pause.Round(10*time.Millisecond)))
}

// done prints what became of one file.
func (p *progress) done(d node.Delivery) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over++
	if !p.quiet && len(d.Receipts) > 0 {
		p.lineLocked(p.out, deliveryText(d))
	}
	for _, id := range slices.Sorted(maps.Keys(d.Errors)) {
		p.lineLocked(p.err, fmt.Sprintf("%s: %snot sent: %s", printable(d.File), prefix(id), explain(d.Errors[id])))
	}
	if p.bar {
		p.last = time.Time{} // draw now
	}
	p.showLocked(time.Now())
}

func prefix(id string) string {
	if id == "" {
		return ""
	}
	return id + ": "
}

// finish takes the bar away and prints the sum.
func (p *progress) finish(ok int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.eraseLocked()
	if p.quiet || p.files == 1 {
		return
	}
	took := time.Since(p.start)
	fmt.Fprintf(p.err, "%d of %s acknowledged, %s in %s (%s/s)\n", ok, count(p.files, "file", "files"),
		bytesText(p.sent), shortTime(took), bytesText(int64(float64(p.sent)/max(took.Seconds(), 0.001))))
}

// lineLocked prints a line that stays, above the bar.
func (p *progress) lineLocked(w io.Writer, line string) {
	p.eraseLocked()
	fmt.Fprintln(w, line)
	p.last = time.Time{} // the bar comes back with the next event
	if !p.bar {
		p.last = time.Now()
	}
}

func (p *progress) eraseLocked() {
	if p.drawn > 0 {
		fmt.Fprint(p.err, "\r"+strings.Repeat(" ", p.drawn)+"\r")
		p.drawn = 0
	}
}

// showLocked draws the bar, or prints a line, when it is time for it.
func (p *progress) showLocked(now time.Time) {
	if p.over == p.files || !p.dueLocked(now) {
		return
	}
	line := p.textLocked(now)
	if p.bar {
		line = p.barLocked() + line
	}
	p.drawLocked(line)
}

// dueLocked reports whether it is time to show something, and notes that it is
// shown now.
func (p *progress) dueLocked(now time.Time) bool {
	every := reportEvery
	if p.bar {
		every = redrawEvery
	}
	if now.Sub(p.last) < every {
		return false
	}
	p.last = now
	return true
}

// drawLocked puts a line in the place of the one before it on a terminal, cut
// to its width, and below it elsewhere.
func (p *progress) drawLocked(line string) {
	if !p.bar {
		fmt.Fprintln(p.err, line)
		return
	}
	runes := []rune(line)
	runes = runes[:min(len(runes), max(p.width-1, 0))]
	fmt.Fprint(p.err, "\r"+string(runes)+strings.Repeat(" ", max(p.drawn-len(runes), 0)))
	p.drawn = max(p.drawn, len(runes))
}

// barLocked is "[======>      ] ", a quarter of the line wide.
func (p *progress) barLocked() string {
	cells := max(p.width/4, 10)
	full := int(float64(cells) * p.shareLocked())
	bar := strings.Repeat("=", full)
	if full < cells {
		bar += ">"
	}
	return fmt.Sprintf("[%-*.*s] ", cells, cells, bar)
}

func (p *progress) shareLocked() float64 {
	if p.total <= 0 {
		return 0
	}
	return min(max(float64(p.sent)/float64(p.total), 0), 1)
}

// textLocked says how far it is, how fast, and how long it will take.
func (p *progress) textLocked(now time.Time) string {
	text := fmt.Sprintf("%3.0f%%  %s of %s", 100*p.shareLocked(), bytesText(p.sent), bytesText(p.total))
	if p.files > 1 {
		text = fmt.Sprintf("%d/%d files  ", p.over, p.files) + text
	}
	rate := p.rateLocked(now)
	text += fmt.Sprintf("  %s/s", bytesText(int64(rate)))
	left := float64(p.total-p.sent) / max(rate, 1)
	if left > 0 && left < (100*time.Hour).Seconds() { // more is no forecast
		text += "  " + ageText(seconds(left)) + " left"
	}
	return text
}

// rateLocked returns the bytes per second of the last seconds.
func (p *progress) rateLocked(now time.Time) float64 {
	p.samples = append(p.samples, sample{now, p.sent})
	for len(p.samples) > 2 && now.Sub(p.samples[1].at) >= rateWindow {
		p.samples = p.samples[1:]
	}
	first := p.samples[0]
	if len(p.samples) == 1 {
		first = sample{at: p.start}
	}
	elapsed := now.Sub(first.at).Seconds()
	if elapsed <= 0 {
		return 0
	}
	return max(float64(p.sent-first.sent)/elapsed, 0)
}

// shortTime words how long something took: "4ms", "1.2s", "3m12s".
func shortTime(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return ageText(d)
}
