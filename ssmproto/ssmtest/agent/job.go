package agent

import (
	"context"
	"io"
	"net"
	"os/exec"
)

// The types of sessions that the agent asks for in its handshake.
const (
	PortSession           = "Port"
	ShellSession          = "Standard_Stream"
	InteractiveSession    = "InteractiveCommands"
	NonInteractiveSession = "NonInteractiveCommands"
)

// LocalPortForwarding is the property "type" of the sessions that forward a port.
const LocalPortForwarding = "LocalPortForwarding"

// Job is what an agent does for one session.
type Job struct {
	Config      Config
	SessionID   string
	SessionType string
	Properties  map[string]string // of the session's document
	ToHost      string            // that the client named to forward to; "": none

	// The node. ssmtest.Node says what the functions are and what nil means.
	NodeID  string
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Hosts   map[string]string
	Command func(name string, arg ...string) *exec.Cmd
	Mux     func(stream io.ReadWriter)

	// Of ssmtest.Config.
	ShellProfile string
	KeyID        string
	Decrypt      func(sealed []byte, keyID string, encryptionContext map[string]string) (plain []byte, err error)

	Service Service
}

// Service is what an agent needs of the service that it works for.
type Service interface {
	// Go runs f on a goroutine that the service waits for when it closes.
	Go(f func())

	// Logf tells of what happens, a line each.
	Logf(format string, args ...any)

	// Running waits while the agents are stalled. It returns false if stop is
	// closed first.
	Running(stop <-chan struct{}) bool

	// ToClient sends frames to the client. It waits while more than limit bytes
	// wait for the client to read.
	ToClient(frames []byte, limit int)

	// End ends the session, with a reason for the user, once what was sent before
	// is out.
	End(reason string)

	// Stopped is told that the agent has been stopped: nothing comes from it any
	// more, and nothing need go to it.
	Stopped()

	// Resized is told the size of the client's terminal.
	Resized(cols, rows int)
}
