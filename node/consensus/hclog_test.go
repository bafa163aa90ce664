package consensus

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func TestRaftsMessagesDoNotCollideWithSlogsKeys(t *testing.T) {
	var out bytes.Buffer
	l := newHCLog(slog.New(slog.NewJSONHandler(&out, nil))).With("time", 1)
	l.Warn("clearing log suffix", "level", 2, "msg", 3, "leader-address", "a:1",
		"error", errors.New("why"), "servers", hclog.Fmt("%d of %d", 1, 2), "alone")
	var got struct {
		Level, Msg, Event string
		Raft              map[string]any
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Level != "WARN" || got.Msg != "raft" || got.Event != "clearing log suffix" {
		t.Errorf("%+v", got)
	}
	for key, want := range map[string]any{
		"time": 1.0, "level": 2.0, "msg": 3.0, "leader_address": "a:1", "error": "why", "servers": "1 of 2", "extra": "alone",
	} {
		if got.Raft[key] != want {
			t.Errorf("%s is %v, want %v", key, got.Raft[key], want)
		}
	}
}

func TestRaftsChatterIsForDebugging(t *testing.T) {
	var out bytes.Buffer
	l := newHCLog(slog.New(slog.NewTextHandler(&out, nil)))
	l.Error("failed to heartbeat to", "peer", "n2")
	l.Debug("accepted connection")
	if out.Len() > 0 {
		t.Errorf("logged: %s", out.String())
	}
	l.Error("failed to commit logs")
	if out.Len() == 0 {
		t.Error("an error of raft's was not logged")
	}
}
