package machine

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// CheckPort returns a port's number, of which the lowest is lowest.
func CheckPort(text string, lowest uint64) (string, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		if p, err := net.LookupPort("tcp", text); err == nil && text != "" && p > 0 {
			return strconv.Itoa(p), nil
		}
	}
	if err != nil || n < lowest {
		return "", fmt.Errorf("%q is not a port", text)
	}
	return text, nil
}

// IsTarget says whether a host is the target itself, as seen from there. Other
// loopback addresses are not: what listens on 127.0.0.53, a resolver perhaps,
// need not listen on localhost.
func IsTarget(host string) bool {
	if host == "" || strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && (ip.Equal(net.IPv4(127, 0, 0, 1)) || ip.Equal(net.IPv6loopback))
}
