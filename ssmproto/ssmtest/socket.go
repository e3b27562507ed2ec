package ssmtest

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest/wire"
)

const (
	// bufferSize is how much is read from the network at a time.
	bufferSize = 64 << 10

	// openTimeout is how long a client may take for its first message.
	openTimeout = 30 * time.Second

	// lingerTime is how long a closed connection waits for the client to close
	// its end.
	lingerTime = 2 * time.Second
)

// socket is one data channel. Its handler's goroutine reads; another writes all
// queued frames at once. Gorilla does the upgrade and the reading; server
// frames are not masked, so writing one takes only a header and a copy.
type socket struct {
	srv     *Server
	link    int
	conn    *conn
	ws      *websocket.Conn
	session *Session
	up      *pipe // from the client
	down    *pipe // to the client

	// Used only by the reader: the message being read, and a batch of messages
	// for the session, which is passed on when reading more would block.
	message, batch []byte

	cutAfter int64 // bytes; < 0: never
	cutHow   Cut
	used     atomic.Int64 // bytes, both directions

	hole    atomic.Bool   // discard everything
	over    atomic.Bool   // nothing more is queued or sent to the agent
	written chan struct{} // closed when writeLoop has ended

	mu      sync.Mutex
	more    sync.Cond // there is something to write, or the socket has ended
	room    sync.Cond // the queue has been emptied, or is no longer used
	out     []byte    // whole frames
	aborted bool      // over, and the queue is not written
}

// readLoop reads until the client or a fault ends the connection.
func (k *socket) readLoop() {
	k.conn.SetReadDeadline(time.Now().Add(openTimeout))
	var m openMessage
	kind, data, err := k.ws.ReadMessage()
	if err != nil {
		return
	}
	if kind == websocket.TextMessage {
		err = json.Unmarshal(data, &m)
	} else {
		err = errors.New("the first message is not text")
	}
	if err == nil {
		k.conn.SetReadDeadline(time.Time{})
		err = k.session.attach(k, m)
	}
	if err != nil {
		k.srv.logf("%s: link %d refused: %v", k.session.id, k.link, err)
		k.farewell(websocket.ClosePolicyViolation, err.Error())
		io.Copy(io.Discard, k.ws.NetConn())
		return
	}
	k.srv.logf("%s: link %d open", k.session.id, k.link)
	for k.readMessage() == nil {
	}
	// What the client sent before it closed still arrives, when it is due.
	k.flushUp()
	k.up.drain()
}

// readMessage reads a message and appends it to the batch. (It does not read
// into the batch itself, because reading may flush that.)
func (k *socket) readMessage() error {
	kind, r, err := k.ws.NextReader()
	if err != nil {
		return err
	}
	b := k.message[:0]
	for err == nil {
		if len(b) == cap(b) {
			b = slices.Grow(b, bufferSize)
		}
		var n int
		n, err = r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
	}
	k.message = b
	if err != io.EOF {
		return err
	}
	if kind == websocket.BinaryMessage {
		k.batch = wire.AppendMessage(k.batch, b)
	}
	return nil
}

// read is the connection's Read. It is called when everything read before has
// been parsed, which is the time to pass that on.
func (k *socket) read(p []byte) (int, error) {
	k.flushUp()
	for {
		n, err := k.conn.Conn.Read(p)
		if n > 0 && !k.hole.Load() && !k.over.Load() {
			allowed, cut := k.spend(n)
			if cut {
				k.cut(k.cutHow)
			}
			if allowed > 0 {
				return allowed, nil
			}
		}
		if err != nil {
			return 0, err
		}
	}
}

// flushUp passes the batch to the session, or its messages to the pipe if the
// path is not perfect.
func (k *socket) flushUp() {
	if len(k.batch) == 0 || k.hole.Load() || k.over.Load() {
		k.batch = k.batch[:0]
		return
	}
	if !k.up.slow.Load() {
		k.session.toAgent(&k.batch)
		return
	}
	for m := range wire.Messages(k.batch) {
		k.up.push(parcel{kind: frame, data: m})
	}
	k.batch = k.batch[:0]
}

// fromClient receives parcels from the path from the client.
func (k *socket) fromClient(p parcel) {
	switch {
	case k.hole.Load() || k.over.Load():
	case p.kind == ping:
		k.down.push(parcel{kind: service, data: wire.AppendControl(nil, websocket.PongMessage, p.data)})
	default:
		one := wire.AppendMessage(nil, p.data)
		k.session.toAgent(&one)
	}
}

// toNetwork receives parcels from the path to the client.
func (k *socket) toNetwork(p parcel) {
	if p.kind == farewell {
		k.farewell(websocket.CloseNormalClosure, "Bye")
		return
	}
	k.write(p.data, p.limit)
}

// write queues whole frames for the client. If limit is not 0, it first waits
// while more than limit bytes are queued.
func (k *socket) write(frames []byte, limit int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for limit > 0 && len(k.out) > limit && !k.over.Load() && !k.hole.Load() {
		k.room.Wait()
	}
	if k.over.Load() || k.hole.Load() {
		return
	}
	k.out = append(k.out, frames...)
	k.more.Signal()
}

// writeLoop writes the queue, all of it at once.
func (k *socket) writeLoop() {
	defer close(k.written)
	var buf []byte
	for {
		k.mu.Lock()
		for len(k.out) == 0 && !k.over.Load() {
			k.more.Wait()
		}
		if k.aborted {
			k.mu.Unlock()
			return
		}
		if len(k.out) == 0 {
			k.mu.Unlock()
			k.conn.SetReadDeadline(time.Now().Add(lingerTime))
			k.conn.tcp.CloseWrite()
			return
		}
		buf, k.out = k.out, buf[:0]
		k.room.Broadcast()
		last := k.over.Load()
		k.mu.Unlock()
		if k.hole.Load() {
			continue
		}
		n, cut := len(buf), false
		if !last { // the close frame of a cut is not cut again
			n, cut = k.spend(n)
			if cut && k.cutHow == CutBye {
				n = wire.FrameEnd(buf, n)
			}
		}
		if _, err := k.conn.Conn.Write(buf[:n]); err != nil {
			k.end(true)
			return
		}
		if cut {
			k.cut(k.cutHow)
		}
	}
}

// spend counts n bytes against the connection's limit. It returns how many of
// them are within the limit, and whether the connection is to be cut after
// them.
func (k *socket) spend(n int) (allowed int, cut bool) {
	used := k.used.Add(int64(n))
	if k.cutAfter < 0 || used < k.cutAfter {
		return n, false
	}
	return int(max(0, int64(n)-(used-k.cutAfter))), true
}

// cut ends the connection in one of three ways; to the client it ends at once.
// It tells the agent.
func (k *socket) cut(how Cut) {
	if how != CutReset && (k.hole.Load() || k.over.Load()) {
		return // nothing gets through, or the socket is already ending
	}
	switch how {
	case CutBye:
		k.mu.Lock()
		if !k.over.Load() {
			k.out = k.out[:0]
			k.sayGoodbye(websocket.CloseNormalClosure, "Bye")
		}
		k.mu.Unlock()
		k.conn.SetDeadline(time.Now().Add(lingerTime))
	case CutAbnormal:
		k.end(true)
		k.conn.SetDeadline(time.Now().Add(lingerTime))
		k.conn.tcp.CloseWrite()
	case CutReset:
		k.end(true)
		k.conn.reset()
	}
	k.session.detach(k)
}

// farewell ends the socket from the server's side, after everything queued.
func (k *socket) farewell(code int, text string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.hole.Load() { // a black hole does not even let the end through
		k.sayGoodbye(code, text)
	}
}

// sayGoodbye queues a close frame, after which nothing is sent. Data that still
// arrives from the client is discarded. k.mu is held.
func (k *socket) sayGoodbye(code int, text string) {
	if k.over.Load() {
		return
	}
	text = text[:min(len(text), 120)] // a control frame carries at most 125 bytes
	k.out = append(k.out, wire.AppendControl(nil, websocket.CloseMessage, websocket.FormatCloseMessage(code, text))...)
	k.finish()
}

// end ends the socket: nothing more is queued or passed on. The queue is still
// written, unless abort is set.
func (k *socket) end(abort bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.aborted = k.aborted || abort
	k.finish()
}

// finish marks the socket as over and wakes the writer. k.mu is held.
func (k *socket) finish() {
	k.over.Store(true)
	k.more.Broadcast()
	k.room.Broadcast()
	k.up.close()
	k.down.close()
}

// swallow makes the socket a black hole.
func (k *socket) swallow() {
	k.mu.Lock()
	k.hole.Store(true)
	k.room.Broadcast()
	k.mu.Unlock()
}
