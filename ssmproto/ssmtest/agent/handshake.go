package agent

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/core"
)

// completeAfter is the time between HandshakeResponse and HandshakeComplete, in
// which the agent acknowledges data and discards it.
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
		Properties  any
	}
	shellProperties struct {
		Windows shellConfig `json:"windows"`
		Linux   shellConfig `json:"linux"`
		MacOS   shellConfig `json:"macos"`
	}
	shellConfig struct {
		Commands              string `json:"commands"`
		RunAsElevated         bool   `json:"runAsElevated"`
		SeparateOutputStream  string `json:"separateOutputStream,omitempty"`
		StdOutSeparatorPrefix string `json:"stdOutSeparatorPrefix,omitempty"`
		StdErrSeparatorPrefix string `json:"stdErrSeparatorPrefix,omitempty"`
	}
	handshakeResponse struct {
		ClientVersion          string
		ProcessedClientActions []struct {
			ActionType   string
			ActionStatus int
			ActionResult json.RawMessage
			Error        string
		}
	}
	handshakeComplete struct {
		HandshakeTimeToComplete time.Duration
		CustomerMessage         string
	}
)

func (a *Agent) requestHandshake() {
	actions := []clientAction{{"SessionType", sessionTypeParameters{a.job.SessionType, a.handshakeProperties()}}}
	if a.encrypts() {
		actions = append(actions, a.requestKey())
	}
	a.outbox.sendJSON(core.HandshakeRequestType, handshakeRequest{a.job.Config.Version, actions})
}

// handshakeProperties returns the Properties in the handshake.
func (a *Agent) handshakeProperties() any {
	switch a.job.SessionType {
	case PortSession:
		return a.job.Properties
	case ShellSession:
		return nil
	default:
		c := shellConfig{
			Commands:              a.job.Properties["command"],
			SeparateOutputStream:  a.job.Properties["separateOutputStream"],
			StdOutSeparatorPrefix: a.job.Properties["stdoutSeparatorPrefix"],
			StdErrSeparatorPrefix: a.job.Properties["stderrSeparatorPrefix"],
		}
		return shellProperties{c, c, c}
	}
}

// handshakeStep is called when the handshake's timer expires.
func (a *Agent) handshakeStep() {
	if !a.answered || a.challenge != nil {
		a.job.Service.Logf("handshake timed out")
		a.end()
		return
	}
	a.completeHandshake()
}

func (a *Agent) completeHandshake() {
	a.timer.Stop()
	complete := handshakeComplete{HandshakeTimeToComplete: time.Since(a.asked)}
	if a.cipher != nil {
		complete.CustomerMessage = "This session is encrypted using AWS KMS."
	}
	a.outbox.sendJSON(core.HandshakeComplete, complete)
	a.dial()
}

// handshakeAnswered handles the HandshakeResponse.
func (a *Agent) handshakeAnswered(payload []byte) {
	if a.phase != handshaking || a.answered {
		a.deaf = true // as the real agent does
		return
	}
	var r handshakeResponse
	err := json.Unmarshal(payload, &r)
	processed := make(map[string]bool)
	for _, action := range r.ProcessedClientActions {
		processed[action.ActionType] = true
		if action.ActionStatus != 1 {
			a.refuse(fmt.Sprintf("%s failed on client with status %d error: %s", action.ActionType, action.ActionStatus, action.Error))
			return
		}
		if action.ActionType == "KMSEncryption" && a.encrypts() {
			if err := a.takeKey(action.ActionResult); err != nil {
				a.refuse(err.Error())
				return
			}
		}
	}
	if err != nil || !processed["SessionType"] || a.encrypts() != (a.cipher != nil) {
		a.refuse(fmt.Sprintf("the answer is %s", payload))
		return
	}
	a.answered, a.clientVersion = true, r.ClientVersion
	if a.cipher != nil {
		a.sendChallenge()
		return
	}
	a.timer.Reset(completeAfter)
}
