package ssmtest

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Cut is a way to cut a data channel.
type Cut int

const (
	// CutBye is the service's hourly close: WebSocket close 1000 "Bye", after
	// the current frame.
	CutBye Cut = iota
	// CutAbnormal ends the TCP connection without a close frame, possibly
	// within a frame: the client sees 1006.
	CutAbnormal
	// CutReset resets the TCP connection.
	CutReset
)

// faults holds the faults that have been requested.
type faults struct {
	offline   atomic.Bool
	cutEach   atomic.Pointer[func(link int) (int64, Cut)]
	onAPI     atomic.Pointer[func(operation string) *APIError]
	skew      atomic.Int64 // ns
	onUpgrade atomic.Pointer[func(link int) int]
	stall     gate
	still     gate
}

// Cut cuts every open data channel now. Data queued on it is lost.
func (s *Server) Cut(how Cut) {
	for _, k := range s.openSockets() {
		k.cut(how)
	}
}

// CutEach cuts every future data channel after a number of bytes, counted on
// the connection after the upgrade's response, both directions together (before
// TLS). link is the number of the upgrade, from 0 over the Server's life,
// including refused ones. If afterBytes < 0 the channel is never cut; a nil f
// cuts none.
func (s *Server) CutEach(f func(link int) (afterBytes int64, how Cut)) {
	s.faults.cutEach.Store(&f)
}

// BlackHole makes the data channels that are open now discard everything, in
// both directions and for good: nothing arrives, pings are not answered, the
// TCP connections stay open. Future data channels work.
func (s *Server) BlackHole() {
	for _, k := range s.openSockets() {
		k.swallow()
	}
}

// StandStill stalls the network between clients and the service, or lets it go
// on: nothing arrives, in either direction, and nothing is lost, as when TCP
// retransmits it later. New connections, including those of the API, stall
// before the first byte.
func (s *Server) StandStill(on bool) { s.faults.still.set(on) }

// Offline resets all connections and closes new ones at once, including those
// of the API, until it is called with false.
func (s *Server) Offline(down bool) {
	s.faults.offline.Store(down)
	if down {
		s.resetConns()
	}
}

// SetPath sets the properties of the path from clients to the service (up) and
// back, for present and future data channels. Messages in flight keep their
// time of arrival. Messages in flight when a data channel ends are lost.
func (s *Server) SetPath(up, down Path) {
	s.mu.Lock()
	s.paths = paths{up, down}
	s.mu.Unlock()
	for _, k := range s.openSockets() {
		k.up.setPath(up)
		k.down.setPath(down)
	}
}

// SetAgentPath sets the properties of the path from the service to agents (up)
// and back, for present and future sessions. Messages in flight keep their time
// of arrival, and arrive even if the client's data channel has ended meanwhile:
// the agent learns of that over this path, too. The service answers clients'
// pings itself, unless its relay is full (see [Path].Queue) and it has stopped
// reading.
func (s *Server) SetAgentPath(up, down Path) {
	s.mu.Lock()
	s.agentPaths = paths{up, down}
	sessions := slices.Clone(s.sessions)
	s.mu.Unlock()
	for _, session := range sessions {
		session.up.setPath(up)
		session.down.setPath(down)
	}
}

// OnAPI sets a function that is called before each operation whose signature is
// valid; if it returns an error, that is the response. Operations are named as
// in the API (StartSession, …). f is called concurrently; nil removes it.
func (s *Server) OnAPI(f func(operation string) *APIError) {
	s.faults.onAPI.Store(&f)
}

// OnUpgrade sets a function that is called before each WebSocket upgrade whose
// signature is valid; if it returns an HTTP status other than 0, the upgrade is
// refused with that. link counts as for CutEach. f is called concurrently; nil
// removes it.
func (s *Server) OnUpgrade(f func(link int) int) {
	s.faults.onUpgrade.Store(&f)
}

// Calls returns how often an API operation, named as for OnAPI, was called,
// including refused calls.
func (s *Server) Calls(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[operation]
}

// StallAgent stops all agents, as SIGSTOP does, or lets them go on. The service
// still receives from clients (and answers their pings), and the agents find
// the messages when they go on.
func (s *Server) StallAgent(on bool) {
	s.faults.stall.set(on)
}

// SetClock sets how far the service's clock is ahead of the machine's; if
// negative, behind it. Requests signed more than 5 min before or after its time
// are refused.
func (s *Server) SetClock(ahead time.Duration) { s.faults.skew.Store(int64(ahead)) }

// Now returns the service's time.
func (s *Server) Now() time.Time { return time.Now().Add(time.Duration(s.faults.skew.Load())) }

// KillAgents makes the agents of all sessions vanish silently, as when the
// instances are stopped. Data channels stay open and ResumeSession works; the
// sessions do not end by themselves. Future sessions get new agents.
func (s *Server) KillAgents() {
	for _, session := range s.Sessions() {
		session.agent.Stop()
	}
}

// Reboot restarts a node. Its agents vanish as with KillAgents, and
// StartSession fails with TargetNotConnected until back is called: then the
// node is connected again and its earlier sessions are gone. ResumeSession
// returns an empty TokenValue for them; their clients are not told.
func (s *Server) Reboot(nodeID string) (back func()) {
	s.setAway(nodeID, true)
	var gone []*Session
	for _, session := range s.Sessions() {
		if session.Target() == nodeID && !session.Ended() {
			session.agent.Stop()
			gone = append(gone, session)
		}
	}
	return func() {
		for _, session := range gone {
			session.vanish()
		}
		s.setAway(nodeID, false)
	}
}

// RebootUnnoticed is like Reboot, but the service does not notice: even after
// back it has the earlier sessions, and ResumeSession works as before. Their
// data channels stay open, and messages on them are not acknowledged.
func (s *Server) RebootUnnoticed(nodeID string) (back func()) {
	s.setAway(nodeID, true)
	for _, session := range s.Sessions() {
		if session.Target() == nodeID {
			session.agent.Stop()
		}
	}
	return func() { s.setAway(nodeID, false) }
}

// Rebooting reports whether a node is between Reboot and back.
func (s *Server) Rebooting(nodeID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.away[nodeID]
}

func (s *Server) setAway(nodeID string, away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away[nodeID] = away
}

// ExpireSessions ends all sessions as the idle timeout does. ResumeSession
// returns an empty TokenValue for them.
func (s *Server) ExpireSessions() {
	for _, session := range s.Sessions() {
		session.End(idleReason)
	}
}

// gate blocks callers of pass while it is shut. The zero value is open.
type gate struct {
	mu     sync.Mutex
	opened atomic.Pointer[chan struct{}] // nil: open; otherwise closed when it opens
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	ch := g.opened.Load()
	switch {
	case shut && ch == nil:
		c := make(chan struct{})
		g.opened.Store(&c)
	case !shut && ch != nil:
		g.opened.Store(nil)
		close(*ch)
	}
}

// pass returns true once the gate is open, or false if stop is closed first.
func (g *gate) pass(stop <-chan struct{}) bool {
	for {
		ch := g.opened.Load()
		if ch == nil {
			return true
		}
		select {
		case <-*ch:
		case <-stop:
			return false
		}
	}
}
