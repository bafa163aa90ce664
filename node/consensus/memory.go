package consensus

import (
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// missedBeats is how many heartbeats an external collector may miss.
const missedBeats = 3

// memory is what a leader remembers from one look to the next: since when it
// has missed something. It begins empty with every leadership, so that a new
// leader gives everybody the full time, and goes by this node's monotonic clock
// alone, so that no step of a clock removes anything.
type memory struct {
	looked       time.Time            // when it last did
	seen         map[string]time.Time // last time that gossip or raft heard of a server
	deadSince    map[string]time.Time
	heard        map[string]time.Time // last time that a nonvoter answered, or was added
	unheardSince map[string]time.Time
	beats        map[fsm.CollectorID]heartbeat
}

// heartbeat is the last one of a collector: its time in the table, and when
// this node would have seen it.
type heartbeat struct {
	last time.Time
	at   time.Time
}

func newMemory() *memory {
	return &memory{
		seen: make(map[string]time.Time), deadSince: make(map[string]time.Time),
		heard: make(map[string]time.Time), unheardSince: make(map[string]time.Time),
		beats: make(map[fsm.CollectorID]heartbeat),
	}
}

// look takes in what the leader sees now and completes s with what it has missed
// for how long.
func (m *memory) look(s *situation, beats map[fsm.CollectorID]fsm.Beat) {
	p := indexed(*s)
	known := make(map[string]bool)
	for _, id := range p.everybody() {
		known[id] = true
		m.lookForLife(p, id)
		m.lookForAnswers(p, id)
	}
	for _, times := range []map[string]time.Time{m.seen, m.deadSince, m.heard, m.unheardSince} {
		for id := range times {
			if !known[id] {
				delete(times, id)
			}
		}
	}
	s.deadSince, s.unheardSince = m.deadSince, m.unheardSince
	s.silent = m.lookForBeats(s.now, beats)
	m.looked = s.now
}

// lookForLife notes since when a node is dead: neither gossip sees it nor raft
// has heard of it. When gossip has seen it die, the time is gossip's.
func (m *memory) lookForLife(p *picture, id string) {
	if p.alive(id) || p.inContact(id) {
		m.seen[id] = p.now
		delete(m.deadSince, id)
		return
	}
	if _, known := m.deadSince[id]; known {
		return
	}
	since := p.now
	if member, ok := p.member[id]; ok && member.Since.Before(since) {
		since = member.Since
	}
	if seen, ok := m.seen[id]; ok && since.Before(seen) {
		since = seen
	}
	m.deadSince[id] = since
}

// lookForAnswers notes since when a nonvoter that gossip sees gives raft no answer.
func (m *memory) lookForAnswers(p *picture, id string) {
	server, in := p.server[id]
	if !in || server.Voter || p.inContact(id) || !p.alive(id) {
		m.heard[id] = p.now
		delete(m.unheardSince, id)
		return
	}
	if _, known := m.unheardSince[id]; !known {
		since, ok := m.heard[id]
		if !ok {
			since = p.now
		}
		m.unheardSince[id] = since
	}
}

// lookForBeats lists the collectors that missed their heartbeats. A heartbeat
// that came since the last look is dated by its own time, as far as that lies
// between the two looks.
func (m *memory) lookForBeats(now time.Time, beats map[fsm.CollectorID]fsm.Beat) []silentCollector {
	var silent []silentCollector
	for id := range m.beats {
		if _, ok := beats[id]; !ok {
			delete(m.beats, id)
		}
	}
	for _, id := range sortedKeys(beats) {
		beat := beats[id]
		known, ok := m.beats[id]
		if !ok || !known.last.Equal(beat.Last) {
			at := now
			if !m.looked.IsZero() {
				at = now.Add(-min(max(0, now.Sub(beat.Last)), now.Sub(m.looked)))
			}
			known = heartbeat{last: beat.Last, at: at}
			m.beats[id] = known
		}
		if beat.Every > 0 && now.Sub(known.at) > missedBeats*beat.Every {
			silent = append(silent, silentCollector{id: id, lastMS: beat.Last.UnixMilli()})
		}
	}
	return silent
}

// nextSilence is when the next collector will have missed its heartbeats; zero:
// none will.
func (m *memory) nextSilence(beats map[fsm.CollectorID]fsm.Beat) time.Time {
	var next time.Time
	for id, beat := range beats {
		due := m.beats[id].at.Add(missedBeats*beat.Every + time.Millisecond)
		if beat.Every > 0 && (next.IsZero() || due.Before(next)) {
			next = due
		}
	}
	return next
}
