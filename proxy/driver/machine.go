package driver

import "time"

// Machine is a machine as a cloud describes it. A field is zero if the value is
// unknown, because it does not exist or because we lack the permission to ask.
// All text is unchanged from the service. Names and tags can be any text that a
// person entered, so they must be escaped for a terminal, a shell or a file.
type Machine struct {
	ID     string `json:"id"`
	Region string `json:"region"`
	Name   string `json:"name,omitempty"`

	// What the cloud says of the machine.
	State      string            `json:"state,omitempty"` // pending, running, stopping, stopped, shutting-down or terminated
	Launched   time.Time         `json:"launched,omitzero"`
	PrivateIP  string            `json:"private_ip,omitempty"`
	PrivateDNS string            `json:"private_dns,omitempty"`
	PublicIP   string            `json:"public_ip,omitempty"`
	Type       string            `json:"type,omitempty"` // such as t3.micro
	Zone       string            `json:"zone,omitempty"` // availability zone
	Profile    string            `json:"instance_profile,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`

	// What the service says of the agent on it.
	Ping     string    `json:"ping,omitempty"` // Online, ConnectionLost or Inactive; "" if the agent has never connected
	Pinged   time.Time `json:"pinged,omitzero"`
	Agent    string    `json:"agent_version,omitempty"`
	Platform string    `json:"platform,omitempty"` // name and version, or the cloud's name for it
	Computer string    `json:"computer_name,omitempty"`
}

// Online reports whether the agent is connected, according to its last ping.
func (m *Machine) Online() bool { return m.Ping == "Online" }
