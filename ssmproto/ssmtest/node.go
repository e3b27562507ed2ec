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

	// Region is where it is: Config.Region, which "" stands for, or one of
	// Config.Regions.
	Region string

	// Dial is what the agent's dialling of a port does; nil is net.Dialer's.
	// The address is "HOST:PORT", "localhost:PORT" for the node's own. An error
	// is a connection refused. The context ends with the session.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Hosts are the addresses of names as the node sees them, for what the agent
	// looks at before it forwards to a host. localhost need not be there.
	Hosts map[string]string

	// Command makes what the agent runs in sessions for a shell or a command: the
	// program's directory and environment are the caller's to set, its input,
	// output and process group are not. nil is exec.Command.
	Command func(name string, arg ...string) *exec.Cmd

	// Agent, if not nil, replaces Config.Agent.
	Agent *Agent

	// NotConnected makes StartSession answer TargetNotConnected.
	NotConnected bool

	// Mux, if not nil, speaks on the multiplexed stream of sessions that forward
	// a port, in place of smux. A session ends when it returns.
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
