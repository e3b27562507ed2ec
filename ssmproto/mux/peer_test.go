package mux

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// script is a Stream to an agent whose multiplexer says what a test wants.
type script struct {
	net.Conn
	far net.Conn

	ended chan struct{}
	once  sync.Once
	err   error // set before ended is closed
}

func newScript() *script {
	s := &script{ended: make(chan struct{})}
	s.Conn, s.far = net.Pipe()
	return s
}

func (s *script) Done() <-chan struct{} { return s.ended }
func (s *script) Refusal() error        { return nil }

func (s *script) Err() error {
	select {
	case <-s.ended:
		return s.err
	default:
		return nil
	}
}

func (s *script) Fail(err error) {
	s.once.Do(func() {
		s.err = err
		close(s.ended)
		s.Conn.Close()
		s.far.Close()
	})
}

func (s *script) Close() error {
	s.Fail(net.ErrClosed)
	return nil
}

// frame is one of smux, with any version and command.
func frame(version byte, cmd command, id uint32, data string) []byte {
	b := binary.LittleEndian.AppendUint16([]byte{version, byte(cmd)}, uint16(len(data)))
	return append(binary.LittleEndian.AppendUint32(b, id), data...)
}

// upd is a command of smux's other version.
const upd = nop + 1

// dial returns a connection over a Mux to an agent that says the given frames
// once it has been told of the connection.
func dial(t *testing.T, say ...[]byte) (net.Conn, *script) {
	t.Helper()
	s := newScript()
	m := New(s, Config{})
	t.Cleanup(func() { m.Close() })
	go io.Copy(io.Discard, s.far)
	c, err := m.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	go s.far.Write(bytes.Join(say, nil))
	return c, s
}

// TestNonsenseEndsTheStream: what no multiplexer of an agent's sends ends the
// stream at once, with an error that says what it was.
func TestNonsenseEndsTheStream(t *testing.T) {
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
			near, s := dial(t, test.say)
			select {
			case <-s.Done():
			case <-time.After(20 * time.Second):
				t.Fatal("the stream goes on")
			}
			if err := s.Err(); err == nil || !strings.Contains(err.Error(), test.want) {
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

// TestFlood: what is allowed may come as often as the agent likes.
func TestFlood(t *testing.T) {
	near, _ := dial(t,
		bytes.Repeat(frame(1, nop, 0, ""), 20_000),
		bytes.Repeat(frame(1, nop, 7, ""), 20_000),
		bytes.Repeat(frame(1, psh, 3, ""), 20_000),
		frame(1, psh, 3, strings.Repeat("y", 65_535)),
		bytes.Repeat(frame(1, psh, 3, "x"), 100),
		bytes.Repeat(frame(1, fin, 3, ""), 20_000),
		bytes.Repeat(frame(1, psh, 3, "late"), 20_000))
	near.SetDeadline(time.Now().Add(time.Minute))
	got, err := io.ReadAll(near)
	if want := strings.Repeat("y", 65_535) + strings.Repeat("x", 100); string(got) != want || err != nil {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
}
