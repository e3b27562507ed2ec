package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// serviceIP is the service's address in a network namespace, where all
// addresses are on the loopback interface. The client's address ends in 2, and
// later in 3.
const serviceIP = "10.77.0.1"

// inNamespace returns a command that runs in a network namespace of its own, in
// which it may drop packets, or an error if that is not possible.
func inNamespace(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	for _, tool := range []string{"unshare", "ip", "iptables", "ss"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%w: %v", errSkip, err)
		}
	}
	unshare := []string{"--net"}
	if os.Getuid() != 0 {
		unshare = append(unshare, "--map-root-user")
	}
	if out, err := exec.CommandContext(ctx, "unshare", append(unshare, "iptables", "-L")...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: no namespace in which packets can be dropped: %s", errSkip, strings.TrimSpace(string(out)))
	}
	return exec.CommandContext(ctx, "unshare", append(append(unshare, name), args...)...), nil
}

// The steps of a row. Packets between the service, at $PORT, and its clients
// are dropped or not; all others in the namespace pass.
const (
	setUp = `
ip link set lo mtu 1500 up # as on a real network: loopback's segments are of 64 KB
ip address add 10.77.0.1/32 dev lo
ip address add 10.77.0.2/32 dev lo
ip route replace table local local 10.77.0.1 dev lo src 10.77.0.2`

	dropAll = `
iptables -A INPUT -p tcp --dport $PORT -j DROP
iptables -A INPUT -p tcp --sport $PORT -j DROP`

	dropNone = `
iptables -F INPUT`

	// A firewall on the path was restarted and drops packets silently.
	dropOpen = `
for p in $(ss -Htn state established dport = :$PORT | awk '{ sub(/.*:/, "", $3); print $3 }'); do
	iptables -I INPUT -p tcp --dport $p -j DROP
	iptables -I INPUT -p tcp --sport $p -j DROP
done
iptables -D INPUT -p tcp --dport $PORT -j DROP
iptables -D INPUT -p tcp --sport $PORT -j DROP`

	// The client has joined another network.
	moveAway = `
ip address add 10.77.0.3/32 dev lo
ip route replace table local local 10.77.0.1 dev lo src 10.77.0.3
ip address del 10.77.0.2/32 dev lo
iptables -F INPUT`
)

// shell runs one of the steps.
func shell(script, port string) error {
	cmd := exec.Command("sh", "-ec", script)
	cmd.Env = append(os.Environ(), "PORT="+port)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
