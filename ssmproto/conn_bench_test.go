package ssmproto_test

import (
	"io"
	"net"
	"testing"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// The same bytes over a Conn, the agent's sleep off, and over plain TCP.
// Service and agent run in this process too, so their work is in the figures.

func BenchmarkConnUp(b *testing.B)   { benchmarkConn(b, true, false) }
func BenchmarkConnDown(b *testing.B) { benchmarkConn(b, false, false) }

func BenchmarkConnUpTLS(b *testing.B)   { benchmarkConn(b, true, true) }
func BenchmarkConnDownTLS(b *testing.B) { benchmarkConn(b, false, true) }

func benchmarkConn(b *testing.B, up, tls bool) {
	r := newRig(b, ssmtest.Config{TLS: tls, Agent: ssmtest.Agent{NoSleep: true}})
	near, far := net.Conn(r.dial(b, nil)), r.far(b)
	if !up {
		near, far = far, near
	}
	pump(b, near, far)
}

func BenchmarkTCP(b *testing.B) {
	r := newRig(b, ssmtest.Config{})
	near, err := net.Dial("tcp", r.listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer near.Close()
	pump(b, near, r.far(b))
}

func pump(b *testing.B, from, to net.Conn) {
	const chunk = 64 << 10
	b.SetBytes(chunk)
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		buf := make([]byte, chunk)
		for range b.N {
			if _, err := from.Write(buf); err != nil {
				b.Error(err)
				return
			}
		}
	}()
	if _, err := io.CopyN(io.Discard, to, int64(b.N)*chunk); err != nil {
		b.Fatal(err)
	}
}
