package membership

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// bridge takes what is to be logged while locks are held, the library's or ours,
// and lets its loop write it: a terminal that hangs must not hold up gossip.
// Lines beyond its bound are dropped and counted.
type bridge struct {
	out   *slog.Logger
	heard func(text string) // told each line of the library first; may be nil
	lines chan slog.Record

	mu      sync.Mutex
	dropped int
	repeats map[string]time.Time // when a kind of line was last logged above debug
}

const (
	bridgeLines = 256
	maxLine     = 512             // bytes of a line of the library: it prints whole metadata
	repeatEvery = 1 * time.Minute // a kind of line that comes every second is logged so often
	maxKinds    = 64
)

func newBridge(out *slog.Logger) *bridge {
	if out == nil {
		out = slog.New(slog.DiscardHandler)
	}
	return &bridge{out: out, lines: make(chan slog.Record, bridgeLines), repeats: make(map[string]time.Time)}
}

// log queues a line. It never blocks.
func (b *bridge) log(level slog.Level, msg string, attrs ...slog.Attr) {
	if !b.out.Enabled(context.Background(), level) {
		return
	}
	r := slog.NewRecord(time.Now(), level, msg, 0)
	r.AddAttrs(attrs...)
	select {
	case b.lines <- r:
	default:
		b.mu.Lock()
		b.dropped++
		b.mu.Unlock()
	}
}

// logLoop writes what is queued until ctx ends, and then the rest.
func (b *bridge) logLoop(ctx context.Context) {
	for {
		select {
		case r := <-b.lines:
			b.write(r)
		case <-ctx.Done():
			for len(b.lines) > 0 {
				b.write(<-b.lines)
			}
			return
		}
	}
}

func (b *bridge) write(r slog.Record) {
	_ = b.out.Handler().Handle(context.Background(), r) // nobody to tell
	b.mu.Lock()
	dropped := b.dropped
	b.dropped = 0
	b.mu.Unlock()
	if dropped > 0 {
		b.out.Warn("lines of the log were dropped", "lines", dropped)
	}
}

// logger is what the library writes to.
func (b *bridge) logger() *log.Logger { return log.New(b, "", 0) }

// Write implements io.Writer: one line of the library, "[LEVEL] memberlist: text".
func (b *bridge) Write(p []byte) (int, error) {
	level, text := parseLine(p)
	if b.heard != nil {
		b.heard(text)
	}
	if level > slog.LevelDebug && b.repeated(text) {
		level = slog.LevelDebug
	}
	b.log(level, "gossip library", slog.String("text", text[:min(len(text), maxLine)]))
	return len(p), nil
}

// repeated reports whether a line of the same kind was logged lately. A kind is
// the text up to its first detail.
func (b *bridge) repeated(text string) bool {
	kind, _, _ := strings.Cut(text, ": ")
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if last, ok := b.repeats[kind]; ok && now.Sub(last) < repeatEvery {
		return true
	}
	if len(b.repeats) >= maxKinds {
		clear(b.repeats)
	}
	b.repeats[kind] = now
	return false
}

// chatter begins lines that say nothing an operator could act on: probes by TCP
// that end, and nodes that this package refuses and reports itself.
var chatter = []string{
	"failed to receive: EOF", "Failed fallback TCP ping", "ignoring alive message", "Failed push/pull merge",
	"Got ping for unexpected node", "Conflicting address", "Failed to resolve",
}

// parseLine takes level and text from a line of the library. What it calls INFO
// this package logs itself, and its ERR is retried by itself, so a warning.
func parseLine(p []byte) (slog.Level, string) {
	text := string(bytes.TrimSpace(p))
	level := slog.LevelWarn
	if rest, ok := strings.CutPrefix(text, "["); ok {
		if name, after, ok := strings.Cut(rest, "] "); ok {
			text = after
			if name == "DEBUG" || name == "INFO" {
				level = slog.LevelDebug
			}
		}
	}
	text = strings.TrimPrefix(text, "memberlist: ")
	for _, prefix := range chatter {
		if strings.HasPrefix(text, prefix) {
			return slog.LevelDebug, text
		}
	}
	return level, text
}
