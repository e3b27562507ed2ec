package ssmtest

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Cut is how a data channel is cut.
type Cut int

const (
	// CutBye is the service's hourly close: WebSocket close 1000 "Bye", after
	// the frame that is under way.
	CutBye Cut = iota
	// CutAbnormal ends the TCP connection with no close frame, perhaps within
	// a frame: the client sees 1006.
	CutAbnormal
	// CutReset resets the TCP connection.
	CutReset
)

// faults is what has been asked to go wrong and is looked at later.
type faults struct {
	offline   atomic.Bool
	cutEach   atomic.Pointer[func(link int) (int64, Cut)]
	onAPI     atomic.Pointer[func(operation string) *APIError]
	skew      atomic.Int64 // ns
	onUpgrade atomic.Pointer[func(link int) int]
	stall     gate
	still     gate
}

// Cut cuts every open data channel now. What was queued on it is lost.
func (s *Server) Cut(how Cut) {
	for _, k := range s.openSockets() {
		k.cut(how)
	}
}

// CutEach has every data channel to come cut after a number of bytes, counted
// on the connection after the upgrade's answer, both ways together (before
// TLS). link is the number of the upgrade, from 0 over the Server's life,
// refused ones counted too. afterBytes < 0 is never, and so is f == nil.
func (s *Server) CutEach(f func(link int) (afterBytes int64, how Cut)) {
	s.faults.cutEach.Store(&f)
}

// BlackHole makes the data channels that are open now swallow everything, both
// ways and for good: nothing arrives, pings are not answered, the TCP
// connections stay. Data channels to come work.
func (s *Server) BlackHole() {
	for _, k := range s.openSockets() {
		k.swallow()
	}
}

// StandStill stops the network between clients and the service, or lets it go on:
// nothing arrives, both ways, and nothing is lost, as when TCP sends again later
// what did not arrive. Connections to come, those of the API too, stand still
// before the first byte.
func (s *Server) StandStill(on bool) { s.faults.still.set(on) }

// Offline resets all connections and closes new ones at once, those of the API
// too, until it is called with false.
func (s *Server) Offline(down bool) {
	s.faults.offline.Store(down)
	if down {
		s.resetConns()
	}
}

// SetPath sets what the way from clients to the service and back is like, for
// present and future data channels. Messages under way keep their time of
// arrival. What is under way when a data channel ends is lost.
func (s *Server) SetPath(up, down Path) {
	s.mu.Lock()
	s.paths = paths{up, down}
	s.mu.Unlock()
	for _, k := range s.openSockets() {
		k.up.setPath(up)
		k.down.setPath(down)
	}
}

// SetAgentPath sets what the way from the service to agents (up) and back is
// like, for present and future sessions. Messages under way keep their time of
// arrival, and arrive also when the client's data channel has ended meanwhile:
// an agent learns that, too, by this way. The service answers clients' pings
// itself, unless its relay is full (see [Path].Queue) and reads no more.
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

// OnAPI has f asked before each call of an operation that is signed well; what
// it returns, unless nil, is the answer. Operations are named as in the API
// (StartSession, …). f is called concurrently; nil is off.
func (s *Server) OnAPI(f func(operation string) *APIError) {
	s.faults.onAPI.Store(&f)
}

// OnUpgrade has f asked before each WebSocket upgrade that is signed well; a
// result other than 0 is the HTTP status that refuses it. link counts as for
// CutEach. f is called concurrently; nil is off.
func (s *Server) OnUpgrade(f func(link int) int) {
	s.faults.onUpgrade.Store(&f)
}

// Calls is how often an API operation was called, named as for OnAPI, refused
// calls included.
func (s *Server) Calls(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[operation]
}

// StallAgent stops all agents, as SIGSTOP does, or lets them go on. The
// service still takes what clients send (and answers their pings), and the
// agents find it when they go on.
func (s *Server) StallAgent(on bool) {
	s.faults.stall.set(on)
}

// SetClock puts the service's clock that much ahead of the machine's, or, below
// zero, behind it. Requests signed at more than 5 min from it are refused.
func (s *Server) SetClock(ahead time.Duration) { s.faults.skew.Store(int64(ahead)) }

// Now is the service's time.
func (s *Server) Now() time.Time { return time.Now().Add(time.Duration(s.faults.skew.Load())) }

// KillAgents makes the agents of all sessions vanish without a word, as when
// the instances are stopped. Data channels stay open and ResumeSession answers;
// the sessions do not end by themselves. Sessions to come get new agents.
func (s *Server) KillAgents() {
	for _, session := range s.Sessions() {
		session.agent.Stop()
	}
}

// Reboot restarts a node. Its agents vanish as KillAgents makes them, and
// StartSession answers TargetNotConnected, until back is called: then the node
// is connected again and the sessions from before are gone. ResumeSession
// answers an empty TokenValue for them; nobody tells their clients.
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

// RebootUnnoticed is Reboot with a service that learns nothing of it: after back,
// too, it has the sessions from before, and ResumeSession answers as ever. Their
// data channels stay open and nobody acknowledges what comes over them.
func (s *Server) RebootUnnoticed(nodeID string) (back func()) {
	s.setAway(nodeID, true)
	for _, session := range s.Sessions() {
		if session.Target() == nodeID {
			session.agent.Stop()
		}
	}
	return func() { s.setAway(nodeID, false) }
}

// Rebooting tells whether a node is on its way between Reboot and back.
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
// answers an empty TokenValue for them.
func (s *Server) ExpireSessions() {
	for _, session := range s.Sessions() {
		session.End(idleReason)
	}
}

// gate holds back whoever passes while it is shut. The zero value is open.
type gate struct {
	mu     sync.Mutex
	opened atomic.Pointer[chan struct{}] // nil: open; else closed on opening
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

// pass returns when the gate is open, or false when stop is closed first.
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
