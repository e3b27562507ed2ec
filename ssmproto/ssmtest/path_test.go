package ssmtest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// sides are where a path can be.
var sides = map[string]func(s *Server, up, down Path){
	"client's": (*Server).SetPath,
	"agent's":  (*Server).SetAgentPath,
}

// onBothSides runs a test for a path on either side of the service.
func onBothSides(t *testing.T, test func(t *testing.T, setPath func(s *Server, up, down Path))) {
	for side, setPath := range sides {
		t.Run("on the "+side+" side", func(t *testing.T) { test(t, setPath) })
	}
}

func TestPathDelaysMessages(t *testing.T) { onBothSides(t, pathDelays) }

func pathDelays(t *testing.T, setPath func(s *Server, up, down Path)) {
	const delay = 30 * time.Millisecond
	s, far := newServer(t, Config{})
	c, _ := connect(t, s, far)
	setPath(s, Path{Delay: delay}, Path{Delay: delay, Jitter: delay})
	began := time.Now()
	c.output("x")
	c.recvAck()
	if took := time.Since(began); took < 2*delay || took > 8*delay {
		t.Errorf("an acknowledgement took %v", took)
	}
	setPath(s, Path{}, Path{})
	began = time.Now()
	for range 10 {
		c.output("x")
		c.recvAck()
	}
	if took := time.Since(began); took > 10*delay {
		t.Errorf("without delay, ten took %v", took)
	}
}

// TestPingsGoNoFurtherThanTheService: a client cannot measure the agent's side
// by them.
func TestPingsGoNoFurtherThanTheService(t *testing.T) {
	const delay = 100 * time.Millisecond
	onBothSides(t, func(t *testing.T, setPath func(s *Server, up, down Path)) {
		s, far := newServer(t, Config{})
		c, _ := connect(t, s, far)
		setPath(s, Path{Delay: delay}, Path{})
		var pong time.Duration
		began := time.Now()
		c.ws.SetPongHandler(func(string) error { pong = time.Since(began); return nil })
		c.ws.WriteControl(websocket.PingMessage, nil, began.Add(wait))
		c.output("x")
		c.recvAck()
		if late := pong >= delay; pong == 0 || late != strings.Contains(t.Name(), "client's") {
			t.Errorf("the pong came after %v", pong)
		}
	})
}

func TestPathRateHoldsTheSenderBack(t *testing.T) { onBothSides(t, pathRate) }

func pathRate(t *testing.T, setPath func(s *Server, up, down Path)) {
	s, far := newServer(t, Config{Agent: Agent{NoSleep: true}})
	c, port := connect(t, s, far)
	const rate, size = 1 << 20, 256 << 10
	hold := func(what string, began time.Time) {
		t.Helper()
		if took := time.Since(began); took < 220*time.Millisecond || took > 800*time.Millisecond {
			t.Errorf("%d bytes took %v %s at %d a second", size, took, what, rate)
		}
	}
	setPath(s, Path{Rate: rate}, Path{})
	began := time.Now()
	payload := strings.Repeat("x", 1024)
	for range size / len(payload) {
		c.output(payload)
	}
	read(t, port, size)
	hold("up", began)

	setPath(s, Path{}, Path{Rate: rate})
	began = time.Now()
	go port.Write(make([]byte, size))
	seen := make(map[int64]bool)
	for got := 0; got < size; {
		if m := c.recvData(); !seen[m.Sequence] {
			seen[m.Sequence] = true
			got += len(m.Payload)
		}
	}
	hold("down", began)
}

func TestPathQueueDropsItsTail(t *testing.T) { onBothSides(t, pathQueue) }

func pathQueue(t *testing.T, setPath func(s *Server, up, down Path)) {
	s, far := newServer(t, Config{})
	c, _ := connect(t, s, far)
	setPath(s, Path{Rate: 10 << 20, Queue: 10 << 10}, Path{})
	payload := strings.Repeat("x", 1024)
	for range 100 {
		c.output(payload)
	}
	// A hundred came at once; the queue held nine.
	var acks []int64
	for {
		m, err := c.tryRecv(300 * time.Millisecond)
		if err != nil {
			break
		}
		if n, err := ssmproto.ParseAck(m.Payload); err == nil {
			acks = append(acks, n)
		}
	}
	if len(acks) < 5 || len(acks) > 90 || !slices.IsSorted(acks) {
		t.Errorf("acknowledged %v", acks)
	}
}

func TestPathDiceFallOnMessages(t *testing.T) { onBothSides(t, pathDice) }

func pathDice(t *testing.T, setPath func(s *Server, up, down Path)) {
	gather := func(t *testing.T, up Path) (acks []int64) {
		s, far := newServer(t, Config{})
		c, _ := connect(t, s, far)
		setPath(s, up, Path{})
		for range 100 {
			c.output("x")
		}
		for deadline := time.Now().Add(300 * time.Millisecond); ; {
			m, err := c.tryRecv(time.Until(deadline))
			if err != nil {
				return acks
			}
			if n, err := ssmproto.ParseAck(m.Payload); err == nil {
				acks = append(acks, n)
			}
		}
	}
	t.Run("none", func(t *testing.T) {
		if acks := gather(t, Path{Delay: time.Millisecond}); len(acks) != 100 || !slices.IsSorted(acks) {
			t.Errorf("acknowledged %v", acks)
		}
	})
	t.Run("drop all", func(t *testing.T) {
		if acks := gather(t, Path{Drop: 1}); len(acks) != 0 {
			t.Errorf("acknowledged %v", acks)
		}
	})
	t.Run("drop some", func(t *testing.T) {
		if acks := gather(t, Path{Drop: 0.3}); len(acks) < 40 || len(acks) > 95 || !slices.IsSorted(acks) {
			t.Errorf("acknowledged %v", acks)
		}
	})
	t.Run("duplicate", func(t *testing.T) {
		if acks := gather(t, Path{Duplicate: 1}); len(acks) != 200 || !slices.IsSorted(acks) {
			t.Errorf("acknowledged %v", acks)
		}
	})
	t.Run("reorder all", func(t *testing.T) { // nothing is held for ever
		if acks := gather(t, Path{Reorder: 1}); len(acks) != 100 {
			t.Errorf("acknowledged %v", acks)
		}
	})
	t.Run("reorder some", func(t *testing.T) {
		acks := gather(t, Path{Reorder: 0.2, Seed: 7})
		if len(acks) != 100 || slices.IsSorted(acks) {
			t.Errorf("acknowledged %v", acks)
		}
		for i, n := range acks { // one passed at most, and by no more than four
			if d := int(n) - i - 1; d < -5 || d > 5 {
				t.Errorf("%d comes at place %d", n, i+1)
			}
		}
	})
}

func TestChannelClosedComesLastThroughTheWorstPath(t *testing.T) { onBothSides(t, pathEnd) }

func pathEnd(t *testing.T, setPath func(s *Server, up, down Path)) {
	s, far := newServer(t, Config{Agent: Agent{NoSleep: true}})
	c, port := connect(t, s, far)
	setPath(s, Path{}, Path{Delay: 10 * time.Millisecond, Duplicate: 0.3, Reorder: 0.5, Jitter: 5 * time.Millisecond})
	port.Write(make([]byte, 64<<10))
	port.Close()
	got, seen := 0, make(map[int64]bool)
	for {
		m := c.recv()
		if m.Type == ssmproto.ChannelClosed {
			break
		}
		if m.Type == ssmproto.OutputStreamData {
			c.ack(m)
			if !seen[m.Sequence] {
				got += len(m.Payload)
			}
			seen[m.Sequence] = true
		}
	}
	if got != 64<<10 {
		t.Errorf("got %d bytes before it", got)
	}
	if err := c.end(); !CutBye.check(err) {
		t.Errorf("then %v", err)
	}
}

func TestWhatAClientSentBeforeItLeftArrives(t *testing.T) {
	s, far := newServer(t, Config{})
	c, _ := connect(t, s, far)
	s.SetPath(Path{Delay: 50 * time.Millisecond}, Path{})
	c.send(1, ssmproto.FlagPayload, "\x00\x00\x00\x02")
	c.ws.Close()
	c.ended()
}
