package mux

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
)

// FuzzDemux: a stream is taken apart in the same way however it comes, and no
// part is anything but of it.
func FuzzDemux(f *testing.F) {
	stream := appendFrame(nil, psh, 3, []byte("data"))
	stream = appendFrame(stream, nop, 0, nil)
	stream = appendFrame(stream, fin, 3, nil)
	f.Add(stream, byte(1))
	f.Add(appendFrame(stream, syn, 2, nil), byte(7))
	f.Fuzz(func(t *testing.T, stream []byte, size byte) {
		apart := func(size int) (out []byte, failed string) {
			var d demux
			for rest := stream; len(rest) > 0; {
				p := rest[:min(size, len(rest))]
				rest = rest[len(p):]
				for len(p) > 0 {
					part, after, err := d.next(p)
					if err != nil {
						return out, err.Error()
					}
					if len(after) >= len(p) || len(part.data) > len(p) {
						t.Fatalf("%d bytes, of which %d, left %d", len(p), len(part.data), len(after))
					}
					switch {
					case part.cmd == nop:
					case part.data == nil:
						out = binary.LittleEndian.AppendUint32(append(out, byte(part.cmd)), part.id)
					default:
						out = append(out, part.data...)
					}
					p = after
				}
			}
			return out, ""
		}
		whole, failed := apart(len(stream) + 1)
		pieces, failedToo := apart(int(size) + 1)
		if !bytes.Equal(whole, pieces) || failed != failedToo {
			t.Errorf("%q, %s; in pieces %q, %s", whole, failed, pieces, failedToo)
		}
	})
}

// FuzzMux: whatever the agent sends, what waits is counted right, and nothing
// else is kept.
func FuzzMux(f *testing.F) {
	f.Add(appendFrame(appendFrame(nil, psh, 3, []byte("data")), fin, 3, nil))
	f.Add(appendFrame(nil, psh, 5, bytes.Repeat([]byte("x"), 60_000)))
	f.Fuzz(func(t *testing.T, said []byte) {
		m := &Mux{stream: newScript(), buffer: 1 << 30, conns: make(map[uint32]*conn), last: 9}
		m.room.L, m.sendable.L = &m.mu, &m.mu
		for id := uint32(3); id <= 7; id += 2 { // 9 is closed already
			m.conns[id] = newConn(m, id)
		}
		var in demux
		m.mu.Lock()
		m.take(&in, said)
		m.mu.Unlock()
		waiting := 0
		for _, s := range m.conns {
			waiting += s.in.n
		}
		if m.waiting != waiting || waiting > len(said) || len(m.conns) != 3 {
			t.Fatalf("%d bytes wait, %d are counted, of %d; %d connections", waiting, m.waiting, len(said), len(m.conns))
		}
		for _, s := range []*conn{m.conns[3], m.conns[5]} {
			if s.in.n > 0 {
				s.Read(make([]byte, 1+len(said)/2))
			}
			s.Close()
		}
		if last := m.conns[7]; m.waiting != last.in.n {
			t.Errorf("%d bytes are counted, %d wait", m.waiting, last.in.n)
		}
	})
}

// TestChunks: what is read is what was written, and memory is given back.
func TestChunks(t *testing.T) {
	var c chunks
	var in, out []byte
	for i := range 2000 {
		p := bytes.Repeat([]byte{byte(i)}, i*7%5000)
		c.write(p)
		in = append(in, p...)
		q := make([]byte, i*11%4900)
		n := c.read(q)
		out = append(out, q[:n]...)
		if kept := len(c.list) * chunkSize; kept > c.n+2*chunkSize {
			t.Fatalf("%d bytes take %d", c.n, kept)
		}
	}
	rest := make([]byte, c.n)
	c.read(rest)
	if !bytes.Equal(append(out, rest...), in) || c.n != 0 || len(c.list) > 1 {
		t.Errorf("%d bytes came out of %d; %d pieces are left", len(out)+len(rest), len(in), len(c.list))
	}
}

var _ net.Conn = (*conn)(nil)
