package forward

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// SOCKS version 5 (RFC 1928), limited to the CONNECT command. There is no
// authentication: any program that can connect to the socket may use it.

const socksVersion = 5

// Replies, section 6.
const (
	socksOK          = 0
	socksFailure     = 1
	socksNoCommand   = 7
	socksNoAddress   = 8
	socksNoMethod    = 0xff // section 3
	socksConnect     = 1
	socksIPv4        = 1
	socksName        = 3
	socksIPv6        = 4
	socksNoAuth      = 0
	socksReplyLength = 10
)

// socksTime is how long a client may take to send its request.
const socksTime = 30 * time.Second

var errSOCKS = errors.New("not a SOCKS5 client")

// acceptSOCKS reads a client's request and returns the destination. The client
// then waits for replySOCKS; after an error it has already been answered.
func acceptSOCKS(c net.Conn) (machine.Destination, error) {
	c.SetDeadline(time.Now().Add(socksTime))
	defer c.SetDeadline(time.Time{})
	var buf [256]byte
	if _, err := io.ReadFull(c, buf[:2]); err != nil {
		return machine.Destination{}, err
	}
	if buf[0] != socksVersion {
		return machine.Destination{}, errSOCKS
	}
	methods := buf[:buf[1]]
	if _, err := io.ReadFull(c, methods); err != nil {
		return machine.Destination{}, err
	}
	method := byte(socksNoMethod)
	for _, m := range methods {
		if m == socksNoAuth {
			method = socksNoAuth
		}
	}
	if _, err := c.Write([]byte{socksVersion, method}); err != nil {
		return machine.Destination{}, err
	}
	if method != socksNoAuth {
		return machine.Destination{}, fmt.Errorf("%w without authentication", errSOCKS)
	}

	if _, err := io.ReadFull(c, buf[:4]); err != nil {
		return machine.Destination{}, err
	}
	version, command, kind := buf[0], buf[1], buf[3]
	if version != socksVersion {
		return machine.Destination{}, errSOCKS
	}
	host, err := readSOCKSHost(c, kind, buf[:])
	if err != nil {
		if errors.Is(err, errSOCKS) {
			replySOCKS(c, socksNoAddress)
		}
		return machine.Destination{}, err
	}
	if _, err := io.ReadFull(c, buf[:2]); err != nil {
		return machine.Destination{}, err
	}
	port := binary.BigEndian.Uint16(buf[:2])
	if command != socksConnect {
		replySOCKS(c, socksNoCommand)
		return machine.Destination{}, fmt.Errorf("%w for TCP connections: command %d", errSOCKS, command)
	}
	if port == 0 {
		replySOCKS(c, socksFailure)
		return machine.Destination{}, fmt.Errorf("%w: port 0", errSOCKS)
	}
	if machine.IsTarget(host) {
		host = ""
	}
	return machine.Destination{Host: host, Port: strconv.Itoa(int(port))}, nil
}

func readSOCKSHost(c net.Conn, kind byte, buf []byte) (string, error) {
	switch kind {
	case socksIPv4:
		_, err := io.ReadFull(c, buf[:4])
		return net.IP(buf[:4]).String(), err
	case socksIPv6:
		_, err := io.ReadFull(c, buf[:16])
		return net.IP(buf[:16]).String(), err
	case socksName:
		if _, err := io.ReadFull(c, buf[:1]); err != nil {
			return "", err
		}
		name := buf[:buf[0]]
		if _, err := io.ReadFull(c, name); err != nil {
			return "", err
		}
		if len(name) == 0 || safetext.Printable(string(name)) != string(name) {
			return "", fmt.Errorf("%w: host name %q", errSOCKS, name)
		}
		return string(name), nil
	}
	return "", fmt.Errorf("%w: address type %d", errSOCKS, kind)
}

// replySOCKS answers the client. The bound address in the reply is left zero, as
// is common, because it is not known here.
func replySOCKS(c net.Conn, code byte) error {
	reply := [socksReplyLength]byte{socksVersion, code, 0, socksIPv4}
	_, err := c.Write(reply[:])
	return err
}
