// Package inventory lists the machines that exist, as described by EC2 and
// Systems Manager, and caches recent answers.
package inventory

import "time"

// Instance is a machine: an EC2 instance, a managed node, or both. A field is
// zero if the value is unknown, because it does not exist or because we lack
// the permission to ask. All text is unchanged from the service. Names and tags
// can be any text that a person entered, so they must be escaped for a
// terminal, a shell or a file.
type Instance struct {
	ID     string `json:"id"`
	Region string `json:"region"`
	Name   string `json:"name,omitempty"` // the Name tag, or a managed node's name

	// What EC2 says.
	State      string            `json:"state,omitempty"` // pending, running, stopping, stopped, shutting-down or terminated
	Launched   time.Time         `json:"launched,omitzero"`
	PrivateIP  string            `json:"private_ip,omitempty"`
	PrivateDNS string            `json:"private_dns,omitempty"`
	PublicIP   string            `json:"public_ip,omitempty"`
	Type       string            `json:"type,omitempty"` // such as t3.micro
	Zone       string            `json:"zone,omitempty"` // availability zone
	Profile    string            `json:"instance_profile,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`

	// What Systems Manager says.
	Ping     string    `json:"ping,omitempty"` // Online, ConnectionLost or Inactive; "" if the agent has never connected
	Pinged   time.Time `json:"pinged,omitzero"`
	Agent    string    `json:"agent_version,omitempty"`
	Platform string    `json:"platform,omitempty"` // name and version, or EC2's name for it
	Computer string    `json:"computer_name,omitempty"`
}

// Online reports whether the agent is connected, according to its last ping.
func (i *Instance) Online() bool { return i.Ping == "Online" }
