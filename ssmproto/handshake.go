package ssmproto

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ssmpipe/ssmpipe/ssmproto/clip"
	"github.com/ssmpipe/ssmpipe/ssmproto/core"
)

// DefaultClientVersion is the version that the handshake reports. It is one of
// the reference client's, by which agents decide which features to use. With
// this one they use multiplexing, and no smux keep-alive, if they know of them.
const DefaultClientVersion = "1.2.896.0"

// SessionType is a session's type, as the agent reports it.
type SessionType string

// The session types of today's agents.
const (
	PortSession           SessionType = "Port"
	ShellSession          SessionType = "Standard_Stream"
	InteractiveSession    SessionType = "InteractiveCommands"
	NonInteractiveSession SessionType = "NonInteractiveCommands"
)

// Actions that an agent may request.
const (
	actionSessionType = "SessionType"
	actionKMS         = "KMSEncryption"
)

// Bounds of what an agent may request, each far above what agents do request:
// they limit the work that we do and the size of our response.
const (
	maxActions   = 8
	maxName      = 64   // of an action, a session type or an agent's version, in bytes
	maxKeyID     = 2048 // KMS's own limit
	maxChallenge = 1024
)

type actionStatus int

const (
	actionSuccess     actionStatus = 1
	actionFailed      actionStatus = 2
	actionUnsupported actionStatus = 3
)

type handshakeRequest struct {
	AgentVersion           string
	RequestedClientActions []struct {
		ActionType       string
		ActionParameters json.RawMessage
	}
}

type handshakeResponse struct {
	ClientVersion          string
	ProcessedClientActions []processedAction
	Errors                 []string
}

type processedAction struct {
	ActionType   string
	ActionStatus actionStatus
	ActionResult any
	Error        string
}

type handshakeComplete struct {
	HandshakeTimeToComplete int64 // nanoseconds
	CustomerMessage         string
}

type encChallenge struct{ Challenge []byte }

type kmsParameters struct {
	KMSKeyID  string `json:"KMSKeyId"`
	Challenge string
}

type kmsResult struct {
	KMSCipherTextKey         []byte
	KMSCipherTextHash        []byte // null in what the reference client sends
	ChallengeAcknowledgement bool   `json:",omitempty"`
}

// handshake is the result of a handshake.
type handshake struct {
	agentVersion string
	sessionType  SessionType
	properties   map[string]any
	message      string // for the user, from HandshakeComplete
	cipher       *core.Cipher
}

// answer processes a HandshakeRequest. The response names the actions that it
// refuses, so that the agent can end the session and say why. The key function
// may take a network round trip, and is called at most once.
func (h *handshake) answer(ctx context.Context, request []byte, clientVersion string,
	key func(ctx context.Context, keyID, challenge string) (plain, sealed []byte, err error)) (response []byte, err error) {

	var req handshakeRequest
	if err := json.Unmarshal(request, &req); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	if n := len(req.RequestedClientActions); n > maxActions {
		return nil, fmt.Errorf("the agent asks for %d actions", n)
	}
	h.agentVersion = clip.To(req.AgentVersion, maxName)
	res := handshakeResponse{ClientVersion: clientVersion}
	seen := make(map[string]bool)
	for _, action := range req.RequestedClientActions {
		done := processedAction{ActionType: clip.To(action.ActionType, maxName), ActionStatus: actionSuccess}
		var failed error
		switch {
		case seen[action.ActionType]:
			failed = fmt.Errorf("the agent asks for %s twice", done.ActionType)
		case action.ActionType == actionSessionType:
			failed = h.takeSessionType(action.ActionParameters)
		case action.ActionType == actionKMS:
			done.ActionResult, failed = h.takeKey(ctx, action.ActionParameters, key)
		default:
			failed = fmt.Errorf("unsupported action %q", done.ActionType)
			done.ActionStatus = actionUnsupported
		}
		seen[action.ActionType] = true
		if failed != nil {
			if done.ActionStatus == actionSuccess {
				done.ActionStatus = actionFailed
			}
			done.Error = clip.Text(failed.Error())
			res.Errors = append(res.Errors, done.Error)
			err = errors.Join(err, failed)
		}
		res.ProcessedClientActions = append(res.ProcessedClientActions, done)
	}
	if err == nil && h.sessionType == "" {
		err = errors.New("the agent names no session type")
	}
	response, jsonErr := json.Marshal(res)
	return response, errors.Join(err, jsonErr)
}

func (h *handshake) takeSessionType(parameters []byte) error {
	var p struct {
		SessionType SessionType
		Properties  map[string]any
	}
	if err := json.Unmarshal(parameters, &p); err != nil {
		return fmt.Errorf("session type: %w", err)
	}
	switch p.SessionType {
	case PortSession, ShellSession, InteractiveSession, NonInteractiveSession:
		h.sessionType, h.properties = p.SessionType, p.Properties
		return nil
	}
	return fmt.Errorf("unsupported session type %q", clip.To(string(p.SessionType), maxName))
}

func (h *handshake) takeKey(ctx context.Context, parameters []byte,
	key func(ctx context.Context, keyID, challenge string) (plain, sealed []byte, err error)) (any, error) {

	var p kmsParameters
	if err := json.Unmarshal(parameters, &p); err != nil {
		return nil, fmt.Errorf("encryption: %w", err)
	}
	if len(p.KMSKeyID) > maxKeyID || len(p.Challenge) > maxChallenge {
		return nil, errors.New("encryption: the agent's key id or challenge is too long")
	}
	if key == nil {
		return nil, errors.New("the session requires KMS encryption, which is not set up")
	}
	plain, sealed, err := key(ctx, p.KMSKeyID, p.Challenge)
	if err != nil {
		return nil, fmt.Errorf("data key of %s: %w", p.KMSKeyID, err)
	}
	h.cipher, err = core.NewCipher(plain)
	if err != nil {
		return nil, err
	}
	return kmsResult{KMSCipherTextKey: sealed, ChallengeAcknowledgement: p.Challenge != ""}, nil
}

// answerChallenge returns the proof that we have the data key.
func (h *handshake) answerChallenge(request []byte) ([]byte, error) {
	var c encChallenge
	if err := json.Unmarshal(request, &c); err != nil {
		return nil, fmt.Errorf("challenge: %w", err)
	}
	if h.cipher == nil {
		return nil, errors.New("the agent sent an encryption challenge without asking for encryption")
	}
	if len(c.Challenge) > maxChallenge {
		return nil, errors.New("the agent's encryption challenge is too long")
	}
	sealed, err := h.cipher.Challenge(c.Challenge)
	if err != nil {
		return nil, err
	}
	return json.Marshal(encChallenge{sealed})
}
