package agent

import (
	"context"
	"io"
	"net"
	"os/exec"
)

// The types of sessions that the agent names in its handshake.
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
	ToHost      string            // the host to forward to that the client named; "": none

	// The node. ssmtest.Node describes these fields and what nil means.
	NodeID  string
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Hosts   map[string]string
	Command func(name string, arg ...string) *exec.Cmd
	Mux     func(stream io.ReadWriter)

	// From ssmtest.Config.
	ShellProfile string
	KeyID        string
	Decrypt      func(sealed []byte, keyID string, encryptionContext map[string]string) (plain []byte, err error)

	Service Service
}

// Service is what an agent needs from its service.
type Service interface {
	// Go runs f on a goroutine that the service waits for when it closes.
	Go(f func())

	// Logf logs an event, in one line.
	Logf(format string, args ...any)

	// Running waits while the agents are stalled. It returns false if stop is
	// closed first.
	Running(stop <-chan struct{}) bool

	// ToClient sends frames to the client. It waits while more than limit bytes
	// are queued for the client.
	ToClient(frames []byte, limit int)

	// End ends the session, with a reason for the user, after everything sent
	// before it.
	End(reason string)

	// Stopped is called when the agent has been stopped: it sends nothing more,
	// and needs to receive nothing more.
	Stopped()

	// Resized is called with the size of the client's terminal.
	Resized(cols, rows int)
}
