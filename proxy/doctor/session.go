package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// bannerLimit limits the time to wait for a server's first data, and then for a
// round trip.
const bannerLimit = 3 * time.Second

// trial is a session that is opened as a test.
type trial struct {
	conn   *ssmproto.Conn
	err    error // of opening it
	opened time.Duration
	closed bool
}

// close ends the session, once.
func (t *trial) close() {
	if t.conn != nil && !t.closed {
		t.conn.Close()
	}
	t.closed = true
}

// documentName returns the name of the trial's document.
func (d *doctor) documentName() string { return cmp.Or(d.o.Document, machine.SSHDocument) }

// session starts a session as "ssmpipe proxy" does. The next checks report how far
// it got.
func (d *doctor) session(ctx context.Context) Finding {
	d.trial.conn, d.trial.err = d.client.OpenConn(ctx, machine.SSHDocument, machine.Destination{Host: "", Port: d.o.Port})
	err, called := d.api.of("StartSession")
	d.trial.opened = time.Since(d.api.began)
	switch {
	case err == nil && called:
		return ok("%s, with %s", d.api.id, d.documentName())
	case machine.Denied(err):
		return d.lacking(StatusFailed, "ssm:StartSession", "everything", err, d.targetARN(), d.documentARN(d.documentName()))
	case err == nil:
		err = d.trial.err
	}
	return bad(StatusFailed, err, d.o.Next(err))
}

func (d *doctor) dataChannel(context.Context) Finding {
	err := d.trial.err
	var upgrade *ssmproto.UpgradeError
	var handshake *ssmproto.HandshakeError
	var closed *ssmproto.ClosedError
	switch {
	case err == nil, errors.As(err, &handshake), errors.As(err, &closed):
		return ok("open")
	case errors.As(err, &upgrade) && upgrade.Status == http.StatusForbidden:
		return d.lacking(StatusFailed, "ssmmessages:OpenDataChannel", "everything", err, d.sessionARN())
	}
	return bad(StatusFailed, err, d.o.Next(err))
}

func (d *doctor) handshake(context.Context) Finding {
	if err := d.trial.err; err != nil {
		return bad(StatusFailed, err, cmp.Or(d.o.Next(err), "update the SSM agent on the target if it is old, and try again"))
	}
	return ok("agent %s, ready after %d ms", d.trial.conn.AgentVersion(), d.trial.opened.Milliseconds())
}

// port checks what the server on the port sends, and measures the round trip time.
func (d *doctor) port(ctx context.Context) Finding {
	conn := d.trial.conn
	nobody := Finding{Status: StatusFailed, Detail: "the agent could not connect to it, or it hung up at once",
		Remedy: fmt.Sprintf("check that something listens on port %s there, also on localhost (\"ss -ltn\"), such as sshd, and see its log", d.o.Port)}
	said, err := firstLine(ctx, conn)
	silent := errors.Is(err, os.ErrDeadlineExceeded)
	way := ""
	if err == nil || silent {
		limited, stop := context.WithTimeout(ctx, bannerLimit)
		defer stop()
		rtt, lost := roundTrip(limited, conn)
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
	case way != "":
		f.Detail = "connected, but it says nothing by itself" + way
	case stream.Refused(err), errors.Is(err, io.EOF):
		return nobody
	default:
		return bad(StatusFailed, err, d.o.Next(err))
	}
	if d.o.Port == "22" {
		f.Status, f.Remedy = StatusWarning, "that is not how sshd behaves: see what listens there, and how busy it is"
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

// roundTrip measures how long the agent takes to acknowledge a message without
// effect: the best of three. An acknowledgement also proves that the agent is
// connected to the port (protocol: before, it acknowledges nothing).
func roundTrip(ctx context.Context, conn *ssmproto.Conn) (best time.Duration, err error) {
	for range 3 {
		begun := time.Now()
		conn.SendFlag(0)
		if err := conn.Flush(ctx); err != nil {
			return 0, err
		}
		if took := time.Since(begun); best == 0 || took < best {
			best = took
		}
	}
	return best, nil
}

// resumption tries the call that resumes a session after an outage, and discards
// the result.
func (d *doctor) resumption(ctx context.Context) Finding {
	_, err := ssm.NewFromConfig(d.cfg).ResumeSession(ctx, &ssm.ResumeSessionInput{SessionId: &d.api.id})
	if err != nil && !machine.Denied(err) && d.trial.conn.Err() != nil {
		return skipped("the session has ended")
	}
	return d.allowed("ssm:ResumeSession", StatusFailed, "sessions that outlive a lost connection, which each has once an hour",
		err, func() []string { return []string{d.sessionARN()} })
}

// termination ends the session, as every command does.
func (d *doctor) termination(context.Context) Finding {
	d.trial.close()
	err, called := d.api.of("TerminateSession")
	if !called {
		return skipped("the session has ended by itself")
	}
	return d.allowed("ssm:TerminateSession", StatusWarning, "leaving no session behind",
		err, func() []string { return []string{d.sessionARN()} })
}
