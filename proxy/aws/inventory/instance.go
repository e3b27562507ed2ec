// Package inventory knows which machines there are: what EC2 and Systems
// Manager say of them, and what was said a short while ago.
package inventory

import "time"

// Instance is a machine: an EC2 instance or a managed node, or both. What is
// not known, because there is no such thing or because nobody may ask, is the
// zero value. All text is as the service has it, which for names and tags is
// whatever somebody once typed: it is not fit for a terminal, a shell or a file
// as it is.
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
	Type       string            `json:"type,omitempty"` // as t3.micro
	Zone       string            `json:"zone,omitempty"` // availability zone
	Profile    string            `json:"instance_profile,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`

	// What Systems Manager says.
	Ping     string    `json:"ping,omitempty"` // Online, ConnectionLost or Inactive; "" if the agent has never called in
	Pinged   time.Time `json:"pinged,omitzero"`
	Agent    string    `json:"agent_version,omitempty"`
	Platform string    `json:"platform,omitempty"` // name and version, or EC2's word for it
	Computer string    `json:"computer_name,omitempty"`
}

// Online says whether the agent is connected, by its last ping.
func (i *Instance) Online() bool { return i.Ping == "Online" }
