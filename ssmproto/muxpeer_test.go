package ssmproto_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// frame is one of smux, with any version and command.
func frame(version, cmd byte, id uint32, data string) []byte {
	b := binary.LittleEndian.AppendUint16([]byte{version, cmd}, uint16(len(data)))
	return append(binary.LittleEndian.AppendUint32(b, id), data...)
}

const (
	syn = iota
	fin
	psh
	nop
	upd
)

// muxPeer is an agent whose multiplexer says what a test wants once it has been
// told of a connection.
func muxPeer(t *testing.T, say ...[]byte) (*ssmproto.Conn, *ssmproto.Mux) {
	said := bytes.Join(say, nil)
	r := newRig(t, ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}})
	r.AddNode(ssmtest.Node{ID: node, Mux: func(stream io.ReadWriter) {
		io.ReadFull(stream, make([]byte, 8))
		stream.Write(said)
		io.Copy(io.Discard, stream)
	}})
	c := r.forward(t, nil)
	return c, newMux(t, c, 0)
}

// TestMuxEndsOnNonsense: what no multiplexer of an agent's sends ends the
// session at once, with an error that says what it was.
func TestMuxEndsOnNonsense(t *testing.T) {
	for name, test := range map[string]struct {
		say  []byte
		want string
	}{
		"a connection of the agent's":     {frame(1, syn, 2, ""), "opened a connection (2)"},
		"a connection that is open":       {frame(1, syn, 3, ""), "opened a connection (3)"},
		"many connections":                {bytes.Repeat(frame(1, syn, 2, ""), 5000), "opened a connection (2)"},
		"data for nobody":                 {frame(1, psh, 5, "x"), "connection 5, which was never opened"},
		"data for one of the agent's own": {frame(1, psh, 2, "x"), "connection 2, which was never opened"},
		"data for none":                   {frame(1, psh, 0, "x"), "connection 0, which was never opened"},
		"an end for nobody":               {frame(1, fin, 1<<32-1, ""), "connection 4294967295, which was never opened"},
		"a window":                        {frame(1, upd, 3, "12345678"), "unknown command (4)"},
		"another version":                 {frame(2, psh, 3, "x"), "version 2, not 1"},
		"text":                            {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), "version 72, not 1"},
		"an end with a payload":           {frame(1, fin, 3, "x"), "command with a payload"},
		"a keep-alive with a payload":     {frame(1, nop, 0, "x"), "command with a payload"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, m := muxPeer(t, test.say)
			near := open(t, m)
			select {
			case <-c.Done():
			case <-time.After(20 * time.Second):
				t.Fatal("the session goes on")
			}
			if err := c.Err(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			near.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := near.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Read: %v", err)
			}
			if _, err := near.Write([]byte("x")); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Write: %v", err)
			}
		})
	}
}

// TestMuxBearsAFlood: what is allowed may come as often as the agent likes.
func TestMuxBearsAFlood(t *testing.T) {
	_, m := muxPeer(t,
		bytes.Repeat(frame(1, nop, 0, ""), 20_000),
		bytes.Repeat(frame(1, nop, 7, ""), 20_000),
		bytes.Repeat(frame(1, psh, 3, ""), 20_000),
		frame(1, psh, 3, strings.Repeat("y", 65_535)),
		bytes.Repeat(frame(1, psh, 3, "x"), 100),
		bytes.Repeat(frame(1, fin, 3, ""), 20_000),
		bytes.Repeat(frame(1, psh, 3, "late"), 20_000))
	near := open(t, m)
	near.SetDeadline(time.Now().Add(time.Minute))
	got, err := io.ReadAll(near)
	if want := strings.Repeat("y", 65_535) + strings.Repeat("x", 100); string(got) != want || err != nil {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
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
