package ssmtest

import "time"

type stateChanges struct {
	Changes []stateChange `xml:"instancesSet>item"`
}

type stateChange struct {
	ID       string        `xml:"instanceId"`
	Current  instanceState `xml:"currentState"`
	Previous instanceState `xml:"previousState"`
}

// startInstances starts what is stopped: it is pending for its BootTime, and
// its agent calls in AgentTime after that. What runs already is left as it is.
func (s *Server) startInstances(c *apiCall) (any, *APIError) {
	ids := c.list("InstanceId")
	if len(ids) == 0 {
		return nil, badRequest("MissingParameter", "The request must contain the parameter instancesSet")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		switch s.current(id).State {
		case "stopped", "running", "pending":
		default:
			return nil, badRequest("IncorrectInstanceState", "The instance '%s' is not in a state from which it can be started.", id)
		}
	}
	var r stateChanges
	for _, id := range ids {
		n := s.current(id)
		was := n.State
		if was == "stopped" {
			started := *n
			started.State = "pending"
			started.started = time.Now()
			started.Launched = started.started
			n = &started
			s.nodes[id] = n
		}
		r.Changes = append(r.Changes, stateChange{id, instanceState{stateCodes[n.State], n.State}, instanceState{stateCodes[was], was}})
	}
	return r, nil
}

// current returns a node, or nil, in the state that it has come to. s.mu is
// held.
func (s *Server) current(id string) *Node {
	n := s.nodes[id]
	if n != nil && n.State == "pending" && !n.started.IsZero() && time.Since(n.started) >= n.BootTime {
		running := *n
		running.State = "running"
		n = &running
		s.nodes[id] = n
	}
	return n
}
