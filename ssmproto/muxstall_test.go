package ssmproto_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestMuxEndsOnNonsense: what no multiplexer of an agent's sends ends the
// session at once, with an error that says what it was.
func TestMuxEndsOnNonsense(t *testing.T) {
	r := newRig(t, ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}})
	r.AddNode(ssmtest.Node{ID: node, Mux: func(stream io.ReadWriter) {
		io.ReadFull(stream, make([]byte, 8))
		stream.Write([]byte{1, 2, 0, 0, 5, 0, 0, 0})
		io.Copy(io.Discard, stream)
	}})
	c := r.forward(t, nil)
	near := open(t, newMux(t, c, 0))
	near.SetDeadline(time.Now().Add(20 * time.Second))
	_, err := near.Read(make([]byte, 1))
	var wrong *ssmproto.MuxError
	if !errors.As(err, &wrong) || !strings.Contains(err.Error(), "connection 5, which was never opened") {
		t.Errorf("Read: %v", err)
	}
	<-c.Done()
	if c.Err() != err {
		t.Errorf("the session ended with %v", c.Err())
	}
}

// TestMuxClosesWithoutTheNetwork: where nothing goes out and nobody reads, no
// connection's end waits, nor does a Write beyond its deadline or an Open beyond
// its context.
func TestMuxClosesWithoutTheNetwork(t *testing.T) {
	r := newRig(t, ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}})
	m := newMux(t, r.forward(t, nil), time.Millisecond)
	near, far := r.pairs(t, m, 3)
	far[0].Write(make([]byte, 4<<20))
	r.StallAgent(true)
	defer r.StallAgent(false)
	near[1].SetWriteDeadline(time.Now().Add(time.Second))
	sent := random(64<<20, 1)
	n, err := near[1].Write(sent)
	if !isTimeout(err) {
		t.Fatalf("%d bytes were taken, %v", n, err)
	}
	clear(sent) // they are ours again
	var wg sync.WaitGroup
	wg.Go(func() { near[2].Write([]byte("x")) })
	begun := time.Now()
	for _, c := range near {
		check(t, c.Close())
	}
	wg.Wait()
	check(t, m.Close())
	// 2 s for the session's end, and a machine that is busy.
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("the end took %v", took)
	}
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// TestMuxBuffer: programs that do not read hold up the session, and nothing
// else, and what they have not read costs no more memory than it is long.
func TestMuxBuffer(t *testing.T) {
	r := newRig(t, ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}})
	c := r.forward(t, nil)
	m := ssmproto.NewMux(c, ssmproto.MuxConfig{Buffer: 100_000})
	t.Cleanup(func() { m.Close() })
	near, far := r.pairs(t, m, 2)
	sent := random(3<<20, 1)
	go func() {
		far[0].Write(sent)
		far[0].Close()
	}()
	waitFor(t, "a session that stands still", func() bool { return m.Stalled() > 0 })
	got := make(chan []byte)
	go func() {
		b, err := io.ReadAll(near[0])
		check(t, err)
		got <- b
	}()
	if !bytes.Equal(<-got, sent) {
		t.Error("what was sent is not what came")
	}
	if m.Stalled() > 0 {
		t.Error("it stands still although all has been read")
	}
	// The end of who does not read frees the others.
	go far[1].Write(sent)
	waitFor(t, "a session that stands still", func() bool { return m.Stalled() > 0 })
	near[1].Close()
	more, moreFar := r.pairs(t, m, 1)
	check(t, exchange(more[0], moreFar[0], []byte("up"), []byte("down")))
}
