package consensus

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// hclogger hands raft's messages on to slog. Each becomes the attribute event of
// a message "raft", with what raft adds to it in a group of that name, so that
// no key of raft's can be taken for one of ours or of slog's own. Raft's keys
// are put in snake case.
type hclogger struct {
	log  *slog.Logger
	name string
	args []any // from With
}

var _ hclog.Logger = (*hclogger)(nil)

func newHCLog(l *slog.Logger) hclog.Logger { return &hclogger{log: l} }

// chatter is what raft logs for each request to a peer that does not answer,
// many times a second. The contacts log it once.
var chatter = map[string]bool{
	"failed to appendEntries to":                       true,
	"failed to heartbeat to":                           true,
	"failed to make requestVote RPC":                   true,
	"failed to make requestPreVote RPC":                true,
	"failed to make requestVote RPC to":                true,
	"failed to install snapshot":                       true,
	"failed to send snapshot to":                       true,
	"failed to contact":                                true,
	"unable to get address for server, using fallback": true,
	"failed to decode incoming command":                true,
}

func (h *hclogger) Log(level hclog.Level, msg string, args ...any) {
	l := slogLevel(level)
	if chatter[msg] {
		l = slog.LevelDebug
	}
	if !h.log.Enabled(context.Background(), l) {
		return
	}
	all := append(append([]any(nil), h.args...), args...)
	h.log.LogAttrs(context.Background(), l, "raft",
		slog.String("event", msg), slog.Attr{Key: "raft", Value: slog.GroupValue(attrs(all)...)})
}

func slogLevel(l hclog.Level) slog.Level {
	switch l {
	case hclog.Info:
		return slog.LevelInfo
	case hclog.Warn:
		return slog.LevelWarn
	case hclog.Error:
		return slog.LevelError
	case hclog.NoLevel, hclog.Trace, hclog.Debug, hclog.Off:
	}
	return slog.LevelDebug
}

// attrs pairs up keys and values; a value without a key is called extra.
func attrs(args []any) []slog.Attr {
	out := make([]slog.Attr, 0, (len(args)+1)/2)
	for len(args) > 0 {
		if len(args) == 1 {
			return append(out, slog.Any("extra", plain(args[0])))
		}
		out = append(out, slog.Any(snake(fmt.Sprint(args[0])), plain(args[1])))
		args = args[2:]
	}
	return out
}

var snakes = strings.NewReplacer("-", "_", " ", "_")

func snake(key string) string { return strings.ToLower(snakes.Replace(key)) }

// plain is a value that does not change after the call and prints in every format.
func plain(v any) any {
	switch v := v.(type) {
	case hclog.Format:
		if len(v) > 0 {
			if format, ok := v[0].(string); ok {
				return fmt.Sprintf(format, v[1:]...)
			}
		}
		return fmt.Sprint(v...)
	case string, bool, int, int64, uint64, float64:
		return v
	}
	return fmt.Sprint(v)
}

func (h *hclogger) Trace(msg string, args ...any) { h.Log(hclog.Trace, msg, args...) }
func (h *hclogger) Debug(msg string, args ...any) { h.Log(hclog.Debug, msg, args...) }
func (h *hclogger) Info(msg string, args ...any)  { h.Log(hclog.Info, msg, args...) }
func (h *hclogger) Warn(msg string, args ...any)  { h.Log(hclog.Warn, msg, args...) }
func (h *hclogger) Error(msg string, args ...any) { h.Log(hclog.Error, msg, args...) }

func (h *hclogger) enabled(l hclog.Level) bool {
	return h.log.Enabled(context.Background(), slogLevel(l))
}

func (h *hclogger) IsTrace() bool { return h.enabled(hclog.Trace) }
func (h *hclogger) IsDebug() bool { return h.enabled(hclog.Debug) }
func (h *hclogger) IsInfo() bool  { return h.enabled(hclog.Info) }
func (h *hclogger) IsWarn() bool  { return h.enabled(hclog.Warn) }
func (h *hclogger) IsError() bool { return h.enabled(hclog.Error) }

func (h *hclogger) ImpliedArgs() []any { return h.args }
func (h *hclogger) Name() string       { return h.name }

func (h *hclogger) With(args ...any) hclog.Logger {
	return &hclogger{log: h.log, name: h.name, args: append(append([]any(nil), h.args...), args...)}
}

func (h *hclogger) Named(name string) hclog.Logger      { return h.ResetNamed(name) }
func (h *hclogger) ResetNamed(name string) hclog.Logger { return &hclogger{h.log, name, h.args} }

func (h *hclogger) SetLevel(hclog.Level)  {} // slog decides
func (h *hclogger) GetLevel() hclog.Level { return hclog.Debug }

// StandardLogger and StandardWriter are for libraries that raft does not use.
func (h *hclogger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(h.log.Handler(), slog.LevelDebug)
}

func (h *hclogger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return io.Discard }
