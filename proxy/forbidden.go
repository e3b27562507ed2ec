package proxy

import (
	"errors"
	"strings"

	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// isForbidden says whether the agent has refused to forward to a host, in its
// words "Forwarding to IP address 127.0.0.1 is forbidden." Agents from 3.3.4851 on
// refuse loopback addresses and names that lead to them, all agents the instance's
// metadata service.
func isForbidden(err error) bool {
	var closed *ssmproto.ClosedError
	return errors.As(err, &closed) &&
		strings.Contains(closed.Reason, "Forwarding to") && strings.Contains(closed.Reason, "is forbidden")
}

// nextForbidden is what to do then.
const nextForbidden = "the agent forwards to no loopback or metadata address, nor to a name that leads to one there, such as the machine's own; for a port of the machine itself give localhost as the host, or none"
