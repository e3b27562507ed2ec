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

	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// linkLimit is how many bytes wait, each way, between an agent's messages and
// its multiplexer before the writer does; as many again the reader may have
// taken. Both together are about what the real one's Unix socket holds.
const linkLimit = 128 << 10

// multiplexes says whether the session carries many connections. It is known
// once the client has answered the handshake.
func (a *Agent) multiplexes() bool {
	return a.forwarding() && compareVersions(a.job.Config.Version, "3.0.196.0") > 0 &&
		compareVersions(a.clientVersion, "1.1.70") >= 0
}

// compareVersions compares part by part, as numbers if both are, else as text.
// Of two that are the same as far as the shorter goes, the longer is later.
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

// serveMux starts the multiplexer and returns what takes the place of the port.
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
		session.Close() // which ends the port, and so the agent's session
	})
	return near
}

func (a *Agent) muxConfig() *smux.Config {
	cfg := smux.DefaultConfig()
	// With keep-alive, a session that the client leaves idle ends after 30 to 60 s.
	cfg.KeepAliveDisabled = compareVersions(a.job.Config.Version, "3.1.1511.0") > 0 &&
		compareVersions(a.clientVersion, "1.2.331.0") > 0
	return cfg
}

// acceptStreams dials the port for each stream, for one after the other as the
// real agent does: where a host does not answer, all wait.
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
			a.outbox.send(ssmproto.FlagPayload, binary.BigEndian.AppendUint32(nil, uint32(ssmproto.ConnectToPortError)))
			stream.Close()
		}
	}
}

// newLink returns the two ends of a connection with a bounded buffer each way.
// An end has one reader.
func newLink() (near, far *linkEnd) {
	up, down := newQueue(), newQueue()
	return &linkEnd{in: down, out: up}, &linkEnd{in: up, out: down}
}

type linkEnd struct{ in, out *queue }

func (e *linkEnd) Read(p []byte) (int, error)  { return e.in.read(p) }
func (e *linkEnd) Write(p []byte) (int, error) { return e.out.write(p) }

// Close ends both ways for both ends; what has been written can still be read.
func (e *linkEnd) Close() error {
	e.in.close()
	e.out.close()
	return nil
}

// queue is one way of a link. The reader takes all there is at once, so that
// small reads cost no lock.
type queue struct {
	taken, rest []byte // the reader's: what it has taken, and has not read of it

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

// write waits while the queue is full, and then takes all of p.
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
