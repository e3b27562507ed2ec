package machine

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// CheckPort returns a port's number, given the number or a service's name. A
// number must be at least lowest.
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

// IsTarget reports whether host, as seen from the target, is the target itself.
// Other loopback addresses are not: a service on 127.0.0.53, such as a
// resolver, need not listen on localhost.
func IsTarget(host string) bool {
	if host == "" || strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && (ip.Equal(net.IPv4(127, 0, 0, 1)) || ip.Equal(net.IPv6loopback))
}
