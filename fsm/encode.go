package fsm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"
	"unicode/utf8"
)

const (
	commandVersion = 1
	commandHeader  = 6       // kind, version, checksum
	maxPayload     = 1 << 20 // bytes of JSON in a command
	maxReqID       = 64      // bytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// payload is what follows the header of a command.
type payload struct {
	ReqID  string          `json:"req_id"`
	TimeMS int64           `json:"time_ms"`
	Actor  string          `json:"actor,omitempty"`
	Body   json.RawMessage `json:"body"`
}

// Encode renders a command for the log; see the package comment for the layout.
// Time is cut to milliseconds. ErrInvalid when ReqID or Body is missing or too
// large, or when Decode would not take the bytes: one such entry in the log
// stops every node.
func (c Command) Encode() ([]byte, error) {
	if c.ReqID == "" || len(c.ReqID) > maxReqID {
		return nil, fmt.Errorf("%w: request id of %d bytes, want 1 to %d", ErrInvalid, len(c.ReqID), maxReqID)
	}
	if !utf8.ValidString(c.ReqID) {
		return nil, fmt.Errorf("%w: request id %q is not UTF-8", ErrInvalid, c.ReqID)
	}
	if c.Body == nil {
		return nil, fmt.Errorf("%w: command without a body", ErrInvalid)
	}
	body, err := json.Marshal(c.Body)
	if err != nil {
		return nil, fmt.Errorf("encode command: %w", err)
	}
	raw, err := json.Marshal(payload{ReqID: c.ReqID, TimeMS: c.Time.UnixMilli(), Actor: c.Actor, Body: body})
	if err != nil {
		return nil, fmt.Errorf("encode command: %w", err)
	}
	if len(raw) > maxPayload {
		return nil, fmt.Errorf("%w: command of %d bytes, want at most %d", ErrInvalid, len(raw), maxPayload)
	}
	out := make([]byte, commandHeader, commandHeader+len(raw))
	out[0], out[1] = byte(c.Body.kind()), commandVersion
	out = append(out, raw...)
	binary.BigEndian.PutUint32(out[2:], commandSum(out))
	if _, err := decode(out); err != nil {
		return nil, fmt.Errorf("%w: command that cannot be read back: %w", ErrInvalid, err)
	}
	return out, nil
}

// commandSum covers everything but itself.
func commandSum(b []byte) uint32 {
	sum := crc32.Update(0, castagnoli, b[:2])
	return crc32.Update(sum, castagnoli, b[commandHeader:])
}

// Decode reads a command of the log. ErrUnknownCommand for anything that this
// version does not understand to the last byte.
func Decode(b []byte) (Command, error) {
	c, err := decode(b)
	if err != nil {
		return Command{}, fmt.Errorf("%w: %w", ErrUnknownCommand, err)
	}
	return c, nil
}

func decode(b []byte) (Command, error) {
	if len(b) < commandHeader || len(b) > commandHeader+maxPayload {
		return Command{}, fmt.Errorf("%d bytes", len(b))
	}
	kind, version := Kind(b[0]), b[1]
	if got, want := commandSum(b), binary.BigEndian.Uint32(b[2:]); got != want {
		return Command{}, fmt.Errorf("checksum %08x, want %08x", got, want)
	}
	if version != commandVersion {
		return Command{}, fmt.Errorf("version %d of kind %d", version, kind)
	}
	var p payload
	if err := strictJSON(b[commandHeader:], &p); err != nil {
		return Command{}, err
	}
	if p.ReqID == "" || len(p.ReqID) > maxReqID {
		return Command{}, fmt.Errorf("request id of %d bytes", len(p.ReqID))
	}
	body, err := decodeBody(kind, p.Body)
	if err != nil {
		return Command{}, err
	}
	return Command{ReqID: p.ReqID, Time: time.UnixMilli(p.TimeMS).UTC(), Actor: p.Actor, Body: body}, nil
}

// decodeBody reads the body of a kind.
func decodeBody(kind Kind, raw []byte) (Body, error) {
	switch kind {
	case KindNetworkInit:
		return bodyOf[NetworkInit](raw)
	case KindClusterPut:
		return bodyOf[ClusterPut](raw)
	case KindClusterDelete:
		return bodyOf[ClusterDelete](raw)
	case KindCollectorPut:
		return bodyOf[CollectorPut](raw)
	case KindCollectorState:
		return bodyOf[CollectorState](raw)
	case KindCollectorDelete:
		return bodyOf[CollectorDelete](raw)
	case KindHeartbeat:
		return bodyOf[Heartbeat](raw)
	case KindNodePut:
		return bodyOf[NodePut](raw)
	case KindNodeDelete:
		return bodyOf[NodeDelete](raw)
	}
	return nil, fmt.Errorf("kind %d", kind)
}

func bodyOf[B Body](raw []byte) (Body, error) {
	var b B
	if err := strictJSON(raw, &b); err != nil {
		return nil, fmt.Errorf("body of kind %d: %w", b.kind(), err)
	}
	return b, nil
}

// strictJSON decodes one JSON value and refuses what it does not know.
func strictJSON(raw []byte, into any) error {
	if bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		return errors.New("null")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("data after the end")
	}
	return nil
}
