package ssmtest

import (
	"encoding/json"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// completeAfter is the agent's time between HandshakeResponse and
// HandshakeComplete, in which it takes data, acknowledges it and throws it
// away.
const completeAfter = 3 * time.Millisecond

// The handshake's messages, as the agent writes them.
type (
	handshakeRequest struct {
		AgentVersion           string
		RequestedClientActions []clientAction
	}
	clientAction struct {
		ActionType       string
		ActionParameters any
	}
	sessionTypeParameters struct {
		SessionType string
		Properties  map[string]string
	}
	handshakeResponse struct {
		ClientVersion          string
		ProcessedClientActions []struct {
			ActionType   string
			ActionStatus int
			Error        string
		}
	}
	handshakeComplete struct {
		HandshakeTimeToComplete time.Duration
		CustomerMessage         string
	}
)

func (a *agent) requestHandshake() {
	a.outbox.sendJSON(ssmproto.HandshakeRequestType, handshakeRequest{
		AgentVersion: a.cfg.Version,
		RequestedClientActions: []clientAction{{
			ActionType:       "SessionType",
			ActionParameters: sessionTypeParameters{a.sessionType, a.properties},
		}},
	})
}

// handshakeStep is what is to do when the handshake's timer has run out.
func (a *agent) handshakeStep() {
	if !a.answered {
		a.session.srv.logf("%s: handshake timed out", a.session.id)
		a.end()
		return
	}
	a.outbox.sendJSON(ssmproto.HandshakeComplete, handshakeComplete{HandshakeTimeToComplete: time.Since(a.asked)})
	a.dial()
}

// handshakeAnswered takes the HandshakeResponse.
func (a *agent) handshakeAnswered(payload []byte) {
	if a.phase != handshaking || a.answered {
		a.deaf = true // a fault of the real one's
		return
	}
	var r handshakeResponse
	err := json.Unmarshal(payload, &r)
	ok := err == nil && len(r.ProcessedClientActions) == 1 &&
		r.ProcessedClientActions[0].ActionType == "SessionType" &&
		r.ProcessedClientActions[0].ActionStatus == 1
	if !ok {
		a.session.srv.logf("%s: handshake refused: %s", a.session.id, payload)
		a.end()
		return
	}
	a.answered, a.clientVersion = true, r.ClientVersion
	a.timer.Reset(completeAfter)
}
