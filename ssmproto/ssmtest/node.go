package ssmtest

import (
	"context"
	"io"
	"net"
	"os/exec"
)

// Node is a machine with an agent.
type Node struct {
	ID string

	// Region is the node's region: Config.Region, which is the default, or one
	// of Config.Regions.
	Region string

	// Dial is how the agent connects to a port; nil means net.Dialer. The
	// address is "HOST:PORT", or "localhost:PORT" for the node itself. Any
	// error counts as a refused connection. The context ends with the session.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Hosts maps names to addresses as the node resolves them, for the agent's
	// check before it forwards to a host. localhost may be omitted.
	Hosts map[string]string

	// Command makes the program that the agent runs in sessions for a shell or
	// a command. It may set the program's directory and environment, but not
	// its input, output and process group. nil means exec.Command.
	Command func(name string, arg ...string) *exec.Cmd

	// Agent, if not nil, replaces Config.Agent.
	Agent *Agent

	// NotConnected makes StartSession fail with TargetNotConnected.
	NotConnected bool

	// Mux, if not nil, replaces smux on the multiplexed stream of sessions that
	// forward a port. A session ends when it returns.
	Mux func(stream io.ReadWriter)
}

// connectedNode returns a region's node, or nil if its agent is not connected.
func (s *Server) connectedNode(id, region string) *Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[id]
	if n == nil || n.Region != region || n.NotConnected || s.away[id] {
		return nil
	}
	return n
}
