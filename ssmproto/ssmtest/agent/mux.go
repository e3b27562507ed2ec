package agent

import (
	"cmp"
	"context"
	"encoding/binary"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/xtaci/smux"

	"github.com/ssmpipe/ssmpipe/ssmproto/core"
)

// linkLimit is how many bytes may be queued, in each direction, between an
// agent's messages and its multiplexer before the writer waits; the reader may
// have taken as many again. Both together are about what the real agent's Unix
// socket holds.
const linkLimit = 128 << 10

// multiplexes reports whether the session carries many connections. It is known
// once the client has answered the handshake.
func (a *Agent) multiplexes() bool {
	return a.forwarding() && compareVersions(a.job.Config.Version, "3.0.196.0") > 0 &&
		compareVersions(a.clientVersion, "1.1.70") >= 0
}

// compareVersions compares part by part, as numbers if both parts are numbers
// and otherwise as text. If one version is a prefix of the other, the longer is
// later.
func compareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		order := cmp.Compare(as[i], bs[i])
		x, errX := strconv.Atoi(as[i])
		y, errY := strconv.Atoi(bs[i])
		if errX == nil && errY == nil {
			order = cmp.Compare(x, y)
		}
		if order != 0 {
			return order
		}
	}
	return cmp.Compare(len(as), len(bs))
}

// serveMux starts the multiplexer and returns the connection to it, which takes
// the place of the port.
func (a *Agent) serveMux() io.ReadWriteCloser {
	near, far := newLink()
	if a.job.Mux != nil {
		context.AfterFunc(a.ctx, func() { far.Close() })
		a.job.Service.Go(func() {
			a.job.Mux(far)
			far.Close()
		})
		return near
	}
	session, err := smux.Server(far, a.muxConfig())
	if err != nil {
		panic(err) // the configuration is smux's own
	}
	context.AfterFunc(a.ctx, func() { session.Close() })
	a.job.Service.Go(func() {
		a.acceptStreams(session)
		session.Close() // this ends the port, and so the agent's session
	})
	return near
}

func (a *Agent) muxConfig() *smux.Config {
	cfg := smux.DefaultConfig()
	// With keep-alive enabled, an idle session ends after 30 to 60 s.
	cfg.KeepAliveDisabled = compareVersions(a.job.Config.Version, "3.1.1511.0") > 0 &&
		compareVersions(a.clientVersion, "1.2.331.0") > 0
	return cfg
}

// acceptStreams dials the port for each stream, one after the other like the
// real agent: if a host does not answer, all wait.
func (a *Agent) acceptStreams(session *smux.Session) {
	for {
		stream, err := session.AcceptStream()
		if err != nil || !a.running() {
			return
		}
		port, err := a.dialPort()
		switch {
		case err == nil:
			a.job.Service.Go(func() {
				io.Copy(stream, port)
				stream.Close()
			})
			a.job.Service.Go(func() {
				io.Copy(port, stream)
				port.Close()
			})
		case !a.running():
			return
		default:
			a.outbox.send(core.FlagPayload, binary.BigEndian.AppendUint32(nil, uint32(core.ConnectToPortError)))
			stream.Close()
		}
	}
}

// newLink returns the two ends of a connection with a bounded buffer in each
// direction. Each end must have only one reader.
func newLink() (near, far *linkEnd) {
	up, down := newQueue(), newQueue()
	return &linkEnd{in: down, out: up}, &linkEnd{in: up, out: down}
}

type linkEnd struct{ in, out *queue }

func (e *linkEnd) Read(p []byte) (int, error)  { return e.in.read(p) }
func (e *linkEnd) Write(p []byte) (int, error) { return e.out.write(p) }

// Close closes both directions for both ends; data already written can still be
// read.
func (e *linkEnd) Close() error {
	e.in.close()
	e.out.close()
	return nil
}

// queue is one direction of a link. The reader takes everything at once, so
// that small reads need no lock.
type queue struct {
	taken, rest []byte // the reader's: data taken, and the part of it not read yet

	mu      sync.Mutex
	changed sync.Cond
	buf     []byte
	closed  bool
}

func newQueue() *queue {
	q := &queue{}
	q.changed.L = &q.mu
	return q
}

// write waits while the queue is full, and then accepts all of p.
func (q *queue) write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.buf) > linkLimit && !q.closed {
		q.changed.Wait()
	}
	if q.closed {
		return 0, io.ErrClosedPipe
	}
	q.buf = append(q.buf, p...)
	q.changed.Broadcast()
	return len(p), nil
}

func (q *queue) read(p []byte) (int, error) {
	if len(q.rest) == 0 {
		q.mu.Lock()
		for len(q.buf) == 0 && !q.closed {
			q.changed.Wait()
		}
		q.taken, q.buf = q.buf, q.taken[:0]
		q.rest = q.taken
		q.changed.Broadcast()
		q.mu.Unlock()
		if len(q.rest) == 0 {
			return 0, io.EOF
		}
	}
	n := copy(p, q.rest)
	q.rest = q.rest[n:]
	return n, nil
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.changed.Broadcast()
}
