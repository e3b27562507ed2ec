package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

// bannerLimit limits the time to wait for a server's first data, and then for a
// round trip.
const bannerLimit = 3 * time.Second

// Port implements driver.Doctor. It checks what the server on the port sends, and
// measures the round trip time if the stream can.
func (d *doctor) Port(ctx context.Context) Finding {
	nobody := Finding{Status: StatusFailed, Detail: "the agent could not connect to it, or it closed the connection at once",
		Remedy: fmt.Sprintf("check that something, such as sshd, listens on port %s there, also on localhost (\"ss -ltn\"), and see its log", d.o.Port)}
	var conn net.Conn = d.session
	if d.session.Multiplexed() {
		one, err := d.session.Open(ctx)
		switch {
		case stream.Refused(err):
			return nobody
		case err != nil:
			return d.Problem(StatusFailed, err)
		}
		defer one.Close()
		conn = one
	}
	said, err := firstLine(ctx, conn)
	silent := errors.Is(err, os.ErrDeadlineExceeded)
	way := ""
	if p, can := d.session.(pinger); can && (err == nil || silent) {
		limited, stop := context.WithTimeout(ctx, bannerLimit)
		defer stop()
		rtt, lost := roundTrip(limited, p)
		switch {
		case lost == nil:
			way = fmt.Sprintf(", round trip %.1f ms", float64(rtt.Microseconds())/1000)
		case silent && errors.Is(lost, context.DeadlineExceeded):
			nobody.Detail = "the agent has not been able to connect to it so far"
			return nobody
		case silent:
			err = lost
		}
	}
	f := ok("")
	switch {
	case strings.HasPrefix(said, "SSH-"):
		f.Detail = said + way
		return f
	case said != "":
		f.Detail = fmt.Sprintf("says %q%s", said, way)
	case way != "" && !d.session.Multiplexed():
		f.Detail = "connected, but it sends nothing by itself" + way
	case errors.Is(err, os.ErrDeadlineExceeded):
		f.Detail = "it sends nothing by itself" + way
	case stream.Refused(err), errors.Is(err, io.EOF):
		return nobody
	default:
		return d.Problem(StatusFailed, err)
	}
	if d.o.Port == "22" {
		f.Status, f.Remedy = StatusWarning, "sshd does not behave like that: check what listens there, and how busy it is"
	}
	return f
}

// firstLine returns the line that identifies SSH or, if there is none, the first
// line. An error means that nothing was received.
func firstLine(ctx context.Context, conn net.Conn) (string, error) {
	conn.SetReadDeadline(time.Now().Add(bannerLimit))
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 0, 4<<10) // RFC 4253 section 4.2 lets servers send other lines first
	for {
		n, err := conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		text := strings.TrimSpace(string(buf))
		for line := range strings.Lines(string(buf)) {
			if strings.HasPrefix(line, "SSH-") && strings.HasSuffix(line, "\n") {
				return strings.TrimSpace(line), nil
			}
		}
		switch {
		case err != nil && text == "":
			return "", err
		case err != nil, len(buf) == cap(buf):
			const screen = 80
			first, _, _ := strings.Cut(text, "\n")
			return first[:min(len(first), screen)], nil
		}
	}
}

// A pinger is a stream that can measure how long the machine takes to answer. An
// answer also proves that the machine is connected to the port, unless the stream
// is multiplexed.
type pinger interface {
	Ping(context.Context) (time.Duration, error)
}

// roundTrip measures how long an answer takes: the best of three.
func roundTrip(ctx context.Context, p pinger) (best time.Duration, err error) {
	for range 3 {
		took, err := p.Ping(ctx)
		if err != nil {
			return 0, err
		}
		if best == 0 || took < best {
			best = took
		}
	}
	return best, nil
}
