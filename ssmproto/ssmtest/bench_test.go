package ssmtest

import (
	"io"
	"net"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest/wire"
)

const messageSize = 1024

// BenchmarkDown is the agent sending 1,024-byte messages without its pace.
func BenchmarkDown(b *testing.B) {
	s, far := newServer(b, Config{Agent: Agent{NoSleep: true}})
	c, port := connect(b, s, far)
	go func() {
		buf := make([]byte, 64<<10)
		for n := b.N * messageSize; n > 0; n -= len(buf) {
			if _, err := port.Write(buf[:min(len(buf), n)]); err != nil {
				return
			}
		}
	}()
	b.SetBytes(messageSize)
	b.ResetTimer()
	ack := make([]byte, 0, 1024)
	body := make([]byte, 0, 1024)
	for got := 0; got < b.N*messageSize; {
		m := c.recv()
		if m.Type != ssmproto.OutputStreamData {
			continue
		}
		got += len(m.Payload)
		body = ssmproto.AppendAck(body[:0], &m)
		ack = (&ssmproto.Message{Type: ssmproto.Acknowledge, SchemaVersion: 1, Created: 1, Flags: 3, Payload: body}).Append(ack[:0])
		if err := c.ws.WriteMessage(websocket.BinaryMessage, ack); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUp is a client sending 1,024-byte messages with 1,000 in flight.
func BenchmarkUp(b *testing.B) {
	s, far := newServer(b, Config{Agent: Agent{NoSleep: true}})
	c, port := connect(b, s, far)
	go discard(port)
	window := make(chan struct{}, 1000)
	go func() {
		payload := make([]byte, messageSize)
		var frame []byte
		for n := range b.N {
			window <- struct{}{}
			m := ssmproto.Message{
				Type: ssmproto.InputStreamData, SchemaVersion: 1, Created: 1, Sequence: int64(n) + 1,
				ID: wire.NewID(), PayloadType: ssmproto.Output, Payload: payload,
			}
			frame = m.Append(frame[:0])
			if c.ws.WriteMessage(websocket.BinaryMessage, frame) != nil {
				return
			}
		}
	}()
	b.SetBytes(messageSize)
	b.ResetTimer()
	for range b.N {
		c.recvAck()
		<-window
	}
}

func discard(port net.Conn) { io.Copy(io.Discard, port) }
