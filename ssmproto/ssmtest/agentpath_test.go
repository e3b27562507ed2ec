package ssmtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// TestEveryByteArrivesThroughABadPathOfTheAgents with a client that mends it,
// and with the client's side bad as well.
func TestEveryByteArrivesThroughABadPathOfTheAgents(t *testing.T) {
	s, far := newServer(t, Config{TLS: true, Agent: Agent{NoSleep: true, ResendEvery: time.Millisecond}})
	bad := Path{Drop: 0.02, Duplicate: 0.02, Reorder: 0.05, Delay: 2 * time.Millisecond, Jitter: time.Millisecond, Rate: 8 << 20, Queue: 256 << 10}
	s.SetAgentPath(bad, bad)
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	near, err := ssmproto.Dial(ctx, s.NewClient(nodeID, "22"), &ssmproto.Config{Transport: s.Transport()})
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	port := far()
	for _, client := range []Path{{}, bad} {
		s.SetPath(client, client)
		errs := make(chan error, 2)
		go func() { errs <- carry("up", near, port, 1<<20) }()
		// The agent mends one loss at a time, so little comes down.
		go func() { errs <- carry("down", port, near, 128<<10) }()
		if err := errors.Join(<-errs, <-errs); err != nil {
			t.Fatal(err)
		}
	}
}

// carry writes n random bytes to one end and compares what comes out of the
// other.
func carry(what string, from io.Writer, to io.Reader, n int) error {
	want := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(len(what))}).Read(want)
	go from.Write(want)
	got := make([]byte, len(want))
	if n, err := io.ReadFull(to, got); err != nil {
		return fmt.Errorf("%s: %d bytes, then %w", what, n, err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s: the bytes differ", what)
	}
	return nil
}

// TestTheRelayHoldsABoundedAmountAndLosesNothing when the way to the agent is
// the bottleneck.
func TestTheRelayHoldsABoundedAmountAndLosesNothing(t *testing.T) {
	const rate, size = 8 << 20, 6 << 20
	s, far := newServer(t, Config{})
	c, port := connect(t, s, far)
	s.SetAgentPath(Path{Rate: rate, Delay: 5 * time.Millisecond}, Path{})
	sent := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(sent)
	go func() {
		for piece := range slices.Chunk(sent, 1024) {
			c.output(string(piece))
		}
	}()
	stop, most := make(chan struct{}), make(chan int)
	up := c.session().up
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				most <- n
				return
			case <-time.After(time.Millisecond):
				up.mu.Lock()
				n = max(n, up.bytes)
				up.mu.Unlock()
			}
		}
	}()
	got := read(t, port, size)
	close(stop)
	if got != string(sent) {
		t.Error("the bytes differ")
	}
	// Beside what waits, 5 ms are under way.
	if n := <-most; n < relayLimit/2 || n > relayLimit*3/2 {
		t.Errorf("the relay held up to %d bytes, want about %d", n, relayLimit)
	}
}

// TestAFullRelayStopsTheClient by its TCP connection.
func TestAFullRelayStopsTheClient(t *testing.T) {
	s, far := newServer(t, Config{})
	c, _ := connect(t, s, far)
	s.SetAgentPath(Path{Rate: 1000}, Path{})
	sendUntilStopped(t, c)
}

// TestAStalledAgentStopsTheClient, and no pipe on the way holds much more than
// the relay does.
func TestAStalledAgentStopsTheClient(t *testing.T) {
	s, far := newServer(t, Config{})
	c, _ := connect(t, s, far)
	way := Path{Delay: time.Millisecond}
	s.SetPath(way, way)
	s.SetAgentPath(way, way)
	s.StallAgent(true)
	sendUntilStopped(t, c)
	for name, pipe := range map[string]*pipe{"the client's": c.session().socket.Load().up, "the agent's": c.session().up} {
		pipe.mu.Lock()
		if pipe.bytes > 4*relayLimit {
			t.Errorf("%s pipe holds %d bytes", name, pipe.bytes)
		}
		pipe.mu.Unlock()
	}
}

func sendUntilStopped(t *testing.T, c *raw) {
	t.Helper()
	const most = 64 << 20 // well beyond what the kernel buffers
	var sent atomic.Int64
	go func() {
		payload := strings.Repeat("x", 1024)
		for sent.Load() < most {
			c.output(payload)
			sent.Add(1024)
		}
	}()
	last, still := int64(0), 0
	eventually(t, "the client is stopped", func() bool {
		if n := sent.Load(); n != last {
			last, still = n, 0
		}
		still++
		return last > relayLimit && still > 50
	})
	if last >= most {
		t.Errorf("the service took all %d bytes", last)
	}
}

func TestPathHoldsForSessionsToCome(t *testing.T) {
	const delay = 50 * time.Millisecond
	onBothSides(t, func(t *testing.T, setPath func(s *Server, up, down Path)) {
		s, far := newServer(t, Config{})
		setPath(s, Path{Delay: delay}, Path{Delay: delay})
		began := time.Now()
		c := start(t, s)
		if m := c.recvData(); m.PayloadType != ssmproto.HandshakeRequestType || time.Since(began) < delay {
			t.Errorf("%+v came after %v", m, time.Since(began))
		}
		began = time.Now()
		c.answer()
		if took := time.Since(began); took < 2*delay {
			t.Errorf("the handshake took %v", took)
		}
		far()
	})
}

// TestTheAgentsEndGoesItsWay, behind what the agent has sent.
func TestTheAgentsEndGoesItsWay(t *testing.T) {
	const delay = 100 * time.Millisecond
	s, far := newServer(t, Config{})
	c, port := connect(t, s, far)
	s.SetAgentPath(Path{}, Path{Delay: delay})
	began := time.Now()
	port.Close()
	c.ended()
	if took := time.Since(began); took < delay {
		t.Errorf("the service knew after %v", took)
	}
}

// TestWhatIsUnderWayToTheAgentOutlivesTheSocket: it has left the client's side.
func TestWhatIsUnderWayToTheAgentOutlivesTheSocket(t *testing.T) {
	s, far := newServer(t, Config{})
	c, port := connect(t, s, far)
	s.SetAgentPath(Path{Delay: 50 * time.Millisecond}, Path{})
	c.output("x")
	eventually(t, "it is under way", func() bool {
		up := c.session().up
		up.mu.Lock()
		defer up.mu.Unlock()
		// The acknowledgement of the port's hello may be there, too.
		return slices.ContainsFunc(up.queue, func(p parcel) bool { return bytes.HasSuffix(p.data, []byte("x")) })
	})
	s.Cut(CutReset)
	if got := read(t, port, 1); got != "x" {
		t.Errorf("the port got %q", got)
	}
}

// TestTheAgentLearnsOfACutByItsPath: until then it goes on reading its port, and
// what it sends is lost.
func TestTheAgentLearnsOfACutByItsPath(t *testing.T) {
	s, far := newServer(t, Config{})
	c, port := connect(t, s, far)
	session := c.session()
	s.SetAgentPath(Path{Delay: time.Hour}, Path{})
	s.Cut(CutReset)
	for n := session.BytesDown() + 1; n < 10; n++ {
		port.Write([]byte("x"))
		eventually(t, "it reads on", func() bool { return session.BytesDown() == n })
	}
}
