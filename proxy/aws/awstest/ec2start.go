package awstest

import (
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

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
func (s *Server) startInstances(c *apiCall) (any, *ssmtest.APIError) {
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
