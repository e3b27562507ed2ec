//go:build unix && !linux

package agent

// sessionMembers would be the processes of a session; the system does not list
// them simply. Jobs with groups of their own are hung up with their terminal.
func sessionMembers(int) []int { return nil }
