package ssmtest

import (
	"bytes"
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest/agent"
)

func TestSessionCarriesBytesBothWaysAndCountsThem(t *testing.T) {
	s, far := newServer(t, Config{})
	c, port := connect(t, s, far)
	c.output("some ")
	c.output("bytes")
	if got := read(t, port, 10); got != "some bytes" {
		t.Errorf("the port got %q", got)
	}
	session := c.session()
	eventually(t, "counted", func() bool { return session.BytesUp() == 10 && session.BytesDown() == 5 })
	if session.Target() != nodeID || session.Document() != "AWS-StartSSHSession" || session.Reason() != "a test" ||
		session.Parameters()["portNumber"][0] != "22022" || session.State() != "Connected" ||
		session.Links() != 1 || session.Resumes() != 0 || session.ClientVersion() != "1.2.896.0" || s.ActiveSessions() != 1 {
		t.Errorf("%+v", session)
	}
	if _, err := call(s, "TerminateSession", map[string]string{"SessionId": c.id}); err != nil {
		t.Fatal(err)
	}
	if answer, err := call(s, "TerminateSession", map[string]string{"SessionId": c.id}); err != nil || answer["SessionId"] != c.id {
		t.Errorf("terminated again: %v, %v", answer, err)
	}
	c.ended()
	if session.State() != "Terminated" || s.ActiveSessions() != 0 {
		t.Errorf("state %s, %d active", session.State(), s.ActiveSessions())
	}
	if _, err := port.Read(make([]byte, 1)); err == nil {
		t.Error("the port is still open")
	}
}

func TestDataBeforeHandshakeCompleteIsAcknowledgedAndThrownAway(t *testing.T) {
	s, far := newServer(t, Config{})
	c := start(t, s)
	c.recvData()
	c.send(0, ssmproto.HandshakeResponse, handshakeAnswer)
	c.send(1, ssmproto.Output, "lost")
	for _, want := range []int64{0, 1} {
		if n := c.recvAck(); n != want {
			t.Fatalf("acknowledged %d, want %d", n, want)
		}
	}
	if m := c.recvData(); m.PayloadType != ssmproto.HandshakeComplete {
		t.Fatalf("got %+v", m)
	}
	port := far()
	eventually(t, "kept data arrives", func() bool { // until the port is dialled, it is dropped
		c.send(2, ssmproto.Output, "kept")
		return c.session().BytesUp() > 0
	})
	if got := read(t, port, 4); got != "kept" {
		t.Errorf("the port got %q", got)
	}
}

func TestDataBeforeThePortIsDialledIsNeitherAcknowledgedNorKept(t *testing.T) {
	s, _ := newServer(t, Config{})
	near, port := net.Pipe()
	dial := make(chan struct{})
	s.AddNode(Node{ID: nodeID, Dial: func(_ context.Context, network, address string) (net.Conn, error) {
		if network != "tcp" || address != "localhost:22022" {
			t.Errorf("dials %s %s", network, address)
		}
		<-dial
		return near, nil
	}})
	c := start(t, s)
	c.handshake()
	c.send(1, ssmproto.Output, "early")
	c.send(0, ssmproto.HandshakeResponse, handshakeAnswer) // a duplicate
	if n := c.recvAck(); n != 0 {
		t.Fatalf("acknowledged %d before the port was dialled", n)
	}
	close(dial)
	got := make(chan string, 1)
	go func() {
		b := make([]byte, 10)
		n, _ := port.Read(b)
		got <- string(b[:n])
	}()
	eventually(t, "the data arrives once the port is there", func() bool {
		c.send(1, ssmproto.Output, "late")
		return c.session().BytesUp() > 0
	})
	if got := <-got; got != "late" {
		t.Errorf("the port got %q", got)
	}
}

func TestAgentAcknowledgesEarlyMessagesAndDuplicatesAndWritesInOrder(t *testing.T) {
	s, far := newServer(t, Config{Agent: Agent{ReorderLimit: 2}})
	c, port := connect(t, s, far)
	c.send(3, ssmproto.Output, "c")
	c.send(2, ssmproto.Output, "b")
	c.send(4, ssmproto.Output, "d") // beyond the limit
	c.send(3, ssmproto.Output, "c")
	c.send(1, ssmproto.Output, "a")
	c.send(1, ssmproto.Output, "a")
	var acks []int64
	for range 5 {
		acks = append(acks, c.recvAck())
	}
	if want := []int64{3, 2, 3, 1, 1}; !slices.Equal(acks, want) {
		t.Errorf("acknowledged %v, want %v", acks, want)
	}
	if got := read(t, port, 3); got != "abc" {
		t.Errorf("the port got %q", got)
	}
	c.send(4, ssmproto.Output, "d")
	if got := read(t, port, 1); got != "d" {
		t.Errorf("the port got %q", got)
	}
}

func TestAgentResendsTheFrontUntilItIsAcknowledged(t *testing.T) {
	s, far := newServer(t, Config{})
	c, port := connect(t, s, far)
	port.Write([]byte("first"))
	first := c.recv()
	port.Write([]byte("second"))
	second := c.recv()
	c.ack(second)
	for range 2 {
		began := time.Now()
		again := c.recv()
		if !bytes.Equal(again.Append(nil), first.Append(nil)) {
			t.Fatalf("sent again: %+v, not %+v", again, first)
		}
		if waited := time.Since(began); waited < 50*time.Millisecond {
			t.Errorf("sent again after %v", waited)
		}
	}
	c.ack(first)
	c.ack(first)
	port.Write([]byte("third"))
	for m := c.recvData(); string(m.Payload) != "third"; m = c.recvData() {
		if m.Sequence != first.Sequence { // one may have crossed the acknowledgement
			t.Fatalf("got %d %q", m.Sequence, m.Payload)
		}
	}
}

func TestAgentDoesNotKeepWhatIsBeyondItsLimit(t *testing.T) {
	s, far := newServer(t, Config{Agent: Agent{ReorderLimit: 1, ResendEvery: time.Millisecond}})
	c, port := connect(t, s, far)
	port.Write([]byte("kept"))
	kept := c.recv()
	port.Write([]byte("not kept"))
	for {
		if m := c.recv(); m.Sequence == kept.Sequence+1 {
			break
		}
	}
	c.ack(kept)
	if m, err := c.tryRecv(400 * time.Millisecond); err == nil && m.Sequence != kept.Sequence {
		t.Errorf("sent again: %d %q", m.Sequence, m.Payload)
	}
}

func TestAgentSendsAMessageAMillisecond(t *testing.T) {
	s, far := newServer(t, Config{Agent: Agent{MessageSize: 10}})
	c, port := connect(t, s, far)
	began := time.Now()
	port.Write(make([]byte, 1000))
	for got := 0; got < 1000; {
		m := c.recvData()
		if len(m.Payload) > 10 {
			t.Fatalf("a message of %d bytes", len(m.Payload))
		}
		got += len(m.Payload)
	}
	if took := time.Since(began); took < 99*agent.Pace {
		t.Errorf("100 messages took %v", took)
	}
}

func TestVeryOldAgentBeginsWithOutput(t *testing.T) {
	s, far := newServer(t, Config{Agent: Agent{NoHandshake: true}})
	c := start(t, s)
	far().Write([]byte("banner"))
	if m := c.recv(); m.PayloadType != ssmproto.Output || m.Sequence != 0 || m.Flags != ssmproto.SYN || string(m.Payload) != "banner" {
		t.Errorf("got %+v", m)
	}
}

func TestSessionEnds(t *testing.T) {
	slow := Agent{HandshakeTimeout: 50 * time.Millisecond}
	for _, test := range []struct {
		name   string
		agent  Agent
		end    func(c *raw, far func() net.Conn)
		output string
	}{
		{"when the port ends, with all of its data", Agent{}, func(c *raw, far func() net.Conn) {
			c.answer()
			port := far()
			port.Write([]byte("the end"))
			port.Close()
			if m := c.recvData(); string(m.Payload) != "the end" {
				c.t.Errorf("got %q", m.Payload)
			}
		}, ""},
		{"when nobody acknowledges the last data", Agent{}, func(c *raw, far func() net.Conn) {
			c.answer()
			port := far()
			port.Write([]byte("the end"))
			port.Close()
		}, ""},
		{"on TerminateSession's flag", Agent{}, func(c *raw, _ func() net.Conn) {
			c.answer()
			eventually(c.t, "it ends once the port is dialled", func() bool {
				c.send(1, ssmproto.FlagPayload, "\x00\x00\x00\x02")
				return c.session().Ended()
			})
		}, ""},
		{"on DisconnectToPort's flag", Agent{}, func(c *raw, _ func() net.Conn) {
			c.answer()
			eventually(c.t, "it ends once the port is dialled", func() bool {
				c.send(1, ssmproto.FlagPayload, "\x00\x00\x00\x01")
				return c.session().Ended()
			})
		}, ""},
		{"when the handshake is not answered", slow, func(*raw, func() net.Conn) {}, ""},
		{"when the handshake is refused", Agent{}, func(c *raw, _ func() net.Conn) {
			c.send(0, ssmproto.HandshakeResponse, strings.Replace(handshakeAnswer, `Status":1`, `Status":3`, 1))
		}, `----------ERROR-------\nEncountered error while initiating handshake. SessionType failed on client with status 3 error: `},
		{"when the service says so", Agent{}, func(c *raw, _ func() net.Conn) { c.session().End("maintenance") }, "maintenance"},
		{"when it expires", Agent{}, func(c *raw, _ func() net.Conn) { c.s.ExpireSessions() }, idleReason},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, far := newServer(t, Config{Agent: test.agent})
			c := start(t, s)
			if test.agent == (Agent{}) {
				c.recvData() // the agent has begun
			}
			test.end(c, far)
			for {
				m := c.recv()
				if m.Type == ssmproto.ChannelClosed {
					if !bytes.Contains(m.Payload, []byte(`"Output":"`+test.output+`"`)) {
						t.Errorf("channel_closed: %s", m.Payload)
					}
					break
				}
			}
			c.ended()
			if s.ActiveSessions() != 0 {
				t.Error("a session is left")
			}
			answer, err := call(s, "ResumeSession", map[string]string{"SessionId": c.id})
			if token, ok := answer["TokenValue"]; err != nil || !ok || token != "" {
				t.Errorf("ResumeSession: %v, %v", answer, err)
			}
		})
	}
}

func TestASecondHandshakeResponseBlocksTheAgent(t *testing.T) {
	s, far := newServer(t, Config{})
	c, port := connect(t, s, far)
	c.send(1, ssmproto.HandshakeResponse, handshakeAnswer)
	c.recvAck()
	c.send(2, ssmproto.Output, "x")
	port.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := port.Read(make([]byte, 1)); err == nil {
		t.Error("data still arrives")
	}
}

func TestAnUnreadClientStopsTheAgentFromReadingItsPort(t *testing.T) {
	s, far := newServer(t, Config{Agent: Agent{NoSleep: true}})
	c, port := connect(t, s, far)
	port.SetWriteDeadline(time.Now().Add(wait))
	const most = 64 << 20 // well beyond what the kernel buffers
	go func() {
		buf := make([]byte, 64<<10)
		for n := 0; n < most; n += len(buf) {
			if _, err := port.Write(buf); err != nil {
				return
			}
		}
	}()
	last := int64(-1)
	still := 0
	eventually(t, "the agent stops reading", func() bool {
		if n := c.session().BytesDown(); n != last {
			last, still = n, 0
		}
		still++
		return last > 0 && still > 50
	})
	if last >= most {
		t.Errorf("the agent read all %d bytes", last)
	}
}

func TestAnUnreadPortStopsTheClientButNotItsPings(t *testing.T) {
	s, far := newServer(t, Config{})
	c, _ := connect(t, s, far)
	payload := strings.Repeat("x", 1024)
	for range 6 << 10 { // more than the kernel buffers, less than the agent
		c.output(payload)
	}
	pong := make(chan struct{})
	c.ws.SetPongHandler(func(string) error { close(pong); return nil })
	c.ws.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(wait))
	go func() {
		for {
			if _, err := c.tryRecv(wait); err != nil {
				return
			}
		}
	}()
	select {
	case <-pong:
	case <-time.After(wait):
		t.Error("no pong")
	}
}
