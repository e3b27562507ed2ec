package forward

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/machine"
)

// A Spec says where to listen and where to forward connections, as OpenSSH's
// -L and -D do.
type Spec struct {
	Network string // of Listen: tcp or unix
	Listen  string // an address, with port 0 for any free port, or a socket's path
	Host    string // a host that the target reaches; "" means the target itself
	Port    string // on the host
	Dynamic bool   // the client names the destination by SOCKS
}

// ErrSpec is wrapped by errors about an invalid specification.
var ErrSpec = errors.New("bad forwarding specification")

// ParseLocal parses [BIND:]PORT:HOST:HOSTPORT or SOCKET:HOST:HOSTPORT. IPv6
// addresses are in brackets. BIND defaults to loopback; if it is empty or *, it
// means all addresses.
func ParseLocal(text string) (Spec, error) {
	f, err := fields(text)
	if err != nil {
		return Spec{}, err
	}
	var s Spec
	switch {
	case len(f) == 3 && strings.Contains(f[0], "/"):
		s = Spec{Network: "unix", Listen: f[0]}
	case len(f) == 3:
		s, err = listenOn("localhost", f[0])
	case len(f) == 4:
		s, err = listenOn(f[0], f[1])
		f = f[1:]
	default:
		err = errors.New("it is not [BIND:]PORT:HOST:HOSTPORT")
	}
	if err == nil {
		s.Host, s.Port = f[1], f[2]
		if machine.IsTarget(s.Host) {
			s.Host = ""
		}
		s.Port, err = machine.CheckPort(s.Port, 1)
	}
	if err != nil {
		return Spec{}, fmt.Errorf("%w %q: %w", ErrSpec, text, err)
	}
	return s, nil
}

// ParseDynamic parses [BIND:]PORT or SOCKET, the address of a SOCKS server.
func ParseDynamic(text string) (s Spec, err error) {
	f, err := fields(text)
	if err != nil {
		return s, err
	}
	switch {
	case len(f) == 1 && strings.Contains(f[0], "/"):
		s = Spec{Network: "unix", Listen: f[0]}
	case len(f) == 1:
		s, err = listenOn("localhost", f[0])
	case len(f) == 2:
		s, err = listenOn(f[0], f[1])
	default:
		err = errors.New("it is not [BIND:]PORT")
	}
	if err != nil {
		return Spec{}, fmt.Errorf("%w %q: %w", ErrSpec, text, err)
	}
	s.Dynamic = true
	return s, nil
}

// fields splits text at colons outside brackets, and removes the brackets.
func fields(text string) ([]string, error) {
	var list []string
	for rest := text; ; {
		var field string
		if strings.HasPrefix(rest, "[") {
			end := strings.Index(rest, "]")
			if end < 0 || end+1 < len(rest) && rest[end+1] != ':' {
				return nil, fmt.Errorf("%w %q: the brackets do not match", ErrSpec, text)
			}
			field, rest = rest[1:end], rest[end+1:]
			if net.ParseIP(strings.SplitN(field, "%", 2)[0]) == nil {
				return nil, fmt.Errorf("%w %q: %q is not an IP address", ErrSpec, text, field)
			}
		} else {
			end := strings.IndexByte(rest, ':')
			if end < 0 {
				end = len(rest)
			}
			field, rest = rest[:end], rest[end:]
		}
		list = append(list, field)
		if rest == "" {
			return list, nil
		}
		rest = rest[1:] // the colon
	}
}

func listenOn(bind, port string) (Spec, error) {
	port, err := machine.CheckPort(port, 0)
	if bind == "*" {
		bind = ""
	}
	return Spec{Network: "tcp", Listen: net.JoinHostPort(bind, port)}, err
}

// Destination returns HOST:PORT as the target sees it.
func (s *Spec) Destination() string {
	host := s.Host
	if host == "" {
		host = "localhost"
	}
	return net.JoinHostPort(host, s.Port)
}
