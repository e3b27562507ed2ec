package ssmtest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// oldAgent forwards one connection after the other.
var oldAgent = Agent{Version: "3.0.196.0"}

func TestAnOldAgentHasOneConnectionAfterTheOther(t *testing.T) {
	noLeaks(t)
	s, far := newServer(t, Config{Agent: oldAgent})
	conn, session := forward(t, s, "")
	port := far()
	exchange := func(said string) {
		t.Helper()
		io.WriteString(conn, said)
		if got := read(t, port, len(said)); got != said {
			t.Errorf("the port got %q, not %q", got, said)
		}
		io.WriteString(port, said)
		if got := read(t, conn, len(said)); got != said {
			t.Errorf("the client got %q, not %q", got, said)
		}
	}
	exchange("first")
	conn.SendFlag(ssmproto.DisconnectToPort)
	eventually(t, "the agent has no connection", func() bool { return session.Connections() == 0 })
	port.SetReadDeadline(time.Now().Add(wait))
	if _, err := port.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the port's end: %v", err)
	}
	if session.Dials() != 1 {
		t.Errorf("%d dials before there is data", session.Dials())
	}
	io.WriteString(conn, "hello")
	port = far()
	if got := read(t, port, 5); got != "hello" {
		t.Errorf("the second port got %q", got)
	}
	exchange("second")
	port.Close() // which the client is not told of
	eventually(t, "the agent has no connection", func() bool { return session.Connections() == 0 })
	io.WriteString(conn, "again")
	port = far()
	if got := read(t, port, 5); got != "again" {
		t.Errorf("the third port got %q", got)
	}
	exchange("third")
	conn.SendFlag(0) // means nothing
	conn.SendFlag(ssmproto.DisconnectToPort)
	io.WriteString(conn, "at once")
	port = far()
	if got := read(t, port, 7); got != "at once" {
		t.Errorf("the fourth port got %q", got)
	}
	if session.Dials() != 4 || session.Connections() != 1 {
		t.Errorf("%d dials, %d connections", session.Dials(), session.Connections())
	}
	conn.SendFlag(ssmproto.TerminateSession)
	eventually(t, "the session ends", session.Ended)
	eventually(t, "the agent has no connection", func() bool { return session.Connections() == 0 })
}

func TestAnOldAgentThatCannotDialEndsTheSession(t *testing.T) {
	for _, good := range []int32{0, 1} {
		noLeaks(t)
		s, far := newServer(t, Config{Agent: oldAgent})
		dial := s.nodes[nodeID].Dial
		var dials atomic.Int32
		s.AddNode(Node{ID: nodeID, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if dials.Add(1) > good {
				return nil, errors.New("connection refused")
			}
			return dial(ctx, network, address)
		}})
		conn, session := forward(t, s, "")
		if good == 1 {
			far()
			conn.SendFlag(ssmproto.DisconnectToPort)
			io.WriteString(conn, "anybody there?")
		}
		select {
		case <-conn.Done():
		case <-time.After(wait):
			t.Error("the client is not told")
		}
		if !session.Ended() || session.Connections() != 0 {
			t.Errorf("ended: %v, with %d connections", session.Ended(), session.Connections())
		}
	}
}

func TestIdleSessionsEnd(t *testing.T) {
	noLeaks(t)
	s, far := newServer(t, Config{IdleTimeout: 100 * time.Millisecond})
	c, _ := connect(t, s, far)
	stop := make(chan struct{})
	pinged := make(chan struct{})
	go func() {
		defer close(pinged)
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(wait))
			}
		}
	}()
	m := c.recv()
	for m.Type != ssmproto.ChannelClosed {
		m = c.recv()
	}
	close(stop)
	<-pinged
	if !strings.Contains(string(m.Payload), idleReason) {
		t.Errorf("channel_closed: %s", m.Payload)
	}
	c.ended()
	answer, err := call(s, "ResumeSession", map[string]string{"SessionId": c.id})
	if token, ok := answer["TokenValue"]; err != nil || !ok || token != "" {
		t.Errorf("ResumeSession: %v, %v", answer, err)
	}
}

func TestWhatIsSentKeepsASessionAlive(t *testing.T) {
	const limit = 200 * time.Millisecond
	for name, send := range map[string]func(conn *ssmproto.Conn, port net.Conn){
		"a flag that means nothing": func(conn *ssmproto.Conn, _ net.Conn) { conn.SendFlag(0) },
		"data from the client":      func(conn *ssmproto.Conn, _ net.Conn) { io.WriteString(conn, "\x01\x03\x00\x00\x00\x00\x00\x00") },
		"data from the port":        func(_ *ssmproto.Conn, port net.Conn) { io.WriteString(port, "x") },
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			agent := Agent{}
			if name == "data from the port" {
				agent = oldAgent
			}
			s, far := newServer(t, Config{IdleTimeout: limit, Agent: agent})
			conn, session := forward(t, s, "")
			var port net.Conn
			if agent == oldAgent {
				port = far()
			}
			over := time.After(4 * limit)
			for alive := true; alive; {
				select {
				case <-session.Done():
					t.Fatal("the session has ended all the same")
				case <-over:
					alive = false
				case <-time.After(limit / 10):
					send(conn, port)
				}
			}
			select {
			case <-session.Done():
			case <-time.After(wait):
				t.Error("the session does not end without it")
			}
		})
	}
}

func TestReboot(t *testing.T) {
	noLeaks(t)
	s, far := newServer(t, Config{})
	s.AddNode(Node{ID: "i-0another"})
	c, port := connect(t, s, far)
	back := s.Reboot(nodeID)
	port.SetReadDeadline(time.Now().Add(wait))
	if _, err := port.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the port's end: %v", err)
	}
	startSession := func(node string) error {
		_, err := call(s, "StartSession", map[string]any{"Target": node, "DocumentName": "AWS-StartSSHSession"})
		return err
	}
	var refused *APIError
	if err := startSession(nodeID); !errors.As(err, &refused) || refused.Code != "TargetNotConnected" {
		t.Errorf("StartSession while it is away: %v", err)
	}
	if err := startSession("i-0another"); err != nil {
		t.Errorf("StartSession on another node: %v", err)
	}
	if c.session().Ended() || c.session().Connections() != 0 {
		t.Errorf("ended: %v, with %d connections", c.session().Ended(), c.session().Connections())
	}
	back()
	if !c.session().Ended() {
		t.Error("the session is there again")
	}
	answer, err := call(s, "ResumeSession", map[string]string{"SessionId": c.id})
	if token, ok := answer["TokenValue"]; err != nil || !ok || token != "" {
		t.Errorf("ResumeSession: %v, %v", answer, err)
	}
	pong := make(chan struct{})
	c.ws.SetPongHandler(func(string) error { close(pong); return nil })
	c.output("anybody there?")
	c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(wait))
	go func() {
		for {
			m, err := c.tryRecv(wait)
			if err != nil {
				return
			}
			t.Errorf("the client is told: %s", m.Type)
		}
	}()
	select {
	case <-pong:
	case <-time.After(wait):
		t.Error("the data channel has ended")
	}
	connect(t, s, far)
	c.ws.Close()
}
