package tunnel

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// A program that has finished sending may still wait for the answer. smux
	// ends both directions at once, so the far side is told of the end only when
	// the answer is complete: after answerTime without a first byte, or pauseTime
	// after the last one.
	answerTime = time.Minute
	pauseTime  = time.Second

	// LingerTime is how long to wait for a program that keeps sending after the
	// far side has gone.
	LingerTime = time.Second

	relaySize = 32 << 10
)

// Relay copies between a program's connection and far until both directions
// have ended, and closes both. It returns nil if the connection ended normally.
func Relay(local, far net.Conn) error {
	r := &relaying{local: local, far: far}
	if c, ok := far.(*Conn); ok {
		r.conn = c
	}
	defer local.Close()
	defer far.Close()
	upEnded, downEnded := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(upEnded)
		r.up()
	}()
	go func() { downEnded <- r.down() }()
	var err error
	select {
	case err = <-downEnded:
		if err != nil {
			Abort(local)
		} else {
			closeWrite(local)
			local.SetReadDeadline(time.Now().Add(LingerTime))
		}
		<-upEnded
	case <-upEnded:
		err = r.answer(downEnded)
	}
	return err
}

// relaying is the state of one Relay call.
type relaying struct {
	local, far net.Conn
	conn       *Conn // far, if it is one

	mu       sync.Mutex
	owed     bool      // the program has sent something since the last answer
	last     time.Time // when the last answer came
	answered bool      // data has come since the program finished sending
}

// up copies from the program to the far side.
func (r *relaying) up() {
	buf := make([]byte, relaySize)
	for {
		n, err := r.local.Read(buf)
		if n > 0 {
			r.mu.Lock()
			r.owed = true
			r.mu.Unlock()
			if _, err := r.far.Write(buf[:n]); err != nil {
				// The other direction reports the cause. Data that the program
				// still sends is discarded, so that it can go on receiving.
				io.Copy(io.Discard, r.local)
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// down copies from the far side to the program.
func (r *relaying) down() error {
	buf := make([]byte, relaySize)
	for {
		n, err := r.far.Read(buf)
		if n > 0 {
			r.mu.Lock()
			r.owed, r.answered, r.last = false, true, time.Now()
			r.mu.Unlock()
			if r.conn != nil {
				r.conn.writing.Store(time.Now().UnixNano())
			}
			_, werr := r.local.Write(buf[:n])
			if r.conn != nil {
				r.conn.writing.Store(0)
			}
			if werr != nil {
				return nil // the program has gone, which is not an error
			}
		}
		switch {
		case err == io.EOF, isTimeout(err):
			return nil
		case err != nil:
			return err
		}
	}
}

// answer waits, after the program has finished sending, for the far side's
// answer, and then ends the connection.
func (r *relaying) answer(downEnded <-chan error) error {
	r.mu.Lock()
	r.answered = false
	r.mu.Unlock()
	for limit := time.Now().Add(answerTime); r.waitsForAnswer(limit); {
		select {
		case err := <-downEnded:
			return err
		case <-time.After(pauseTime / 4):
		}
	}
	r.far.SetReadDeadline(time.Unix(1, 0))
	r.local.SetWriteDeadline(time.Now().Add(LingerTime))
	return <-downEnded
}

func (r *relaying) waitsForAnswer(limit time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answered {
		return time.Since(r.last) < pauseTime
	}
	return r.owed && time.Now().Before(limit)
}

// closeWrite tells the program that no more data will come.
func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}

// Abort ends a program's connection in a way that the program can tell from a
// normal end.
func Abort(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
