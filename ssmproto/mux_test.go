package ssmproto_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

func TestMuxCarriesManyConnections(t *testing.T) {
	r := newRig(t, ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}})
	m := newMux(t, r.forward(t, nil), 0)
	near, far := r.pairs(t, m, 40)
	session := r.Sessions()[0]
	exchangeAll(t, near, far, 200<<10)
	if m.Len() != 40 || session.Connections() != 40 {
		t.Errorf("%d open, %d at the agent", m.Len(), session.Connections())
	}
	for _, c := range near[:20] {
		c.Close()
	}
	for _, c := range far[20:] {
		c.Close()
	}
	for i := range near[:20] {
		if n, err := far[i].Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the far side of a closed connection: %d, %v", n, err)
		}
		if n, err := near[20+i].Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a connection closed by the far side: %d, %v", n, err)
		}
	}
	waitFor(t, "end of all connections", func() bool { return session.Connections() == 0 })
}

func TestMuxLosesNothingByCuts(t *testing.T) {
	r := newRig(t, ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true, ResendEvery: 5 * time.Millisecond}})
	var links atomic.Int32
	r.CutEach(func(link int) (int64, ssmtest.Cut) {
		links.Store(int32(link))
		return 300_000 + int64(link)*777, ssmtest.Cut(link % 3)
	})
	m := newMux(t, r.forward(t, nil), 0)
	near, far := r.pairs(t, m, 6)
	exchangeAll(t, near, far, 300<<10)
	if links.Load() < 5 {
		t.Errorf("only %d cuts", links.Load())
	}
	r.CutEach(nil)
	exchangeAll(t, near, far, 1<<10) // all of them still go on
}

func TestMuxTellsTheRefusedConnectionOnly(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	var refuse atomic.Bool
	r.AddNode(ssmtest.Node{ID: node, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != "db.example:5432" || refuse.Load() {
			return nil, errors.New("connection refused")
		}
		return new(net.Dialer).DialContext(ctx, network, r.listener.Addr().String())
	}})
	m := newMux(t, r.forward(t, nil), 0)
	near, far := r.pairs(t, m, 3)
	refuse.Store(true)
	for range 3 {
		c := open(t, m)
		c.Write([]byte("hello?"))
		for range 2 {
			if n, err := c.Read(make([]byte, 1)); n != 0 || err != ssmproto.ErrNotConnected {
				t.Errorf("got %d, %v", n, err)
			}
		}
		c.Close()
	}
	refuse.Store(false)
	more, moreFar := r.pairs(t, m, 3)
	exchangeAll(t, append(near, more...), append(far, moreFar...), 10<<10)
	unused, unusedFar := r.pairs(t, m, 1)
	unusedFar[0].Close()
	if n, err := unused[0].Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a connection that ends without a byte: %d, %v", n, err)
	}
}

// TestMuxTellsAClosedConnectionSo: closing a connection uses up no refusal of
// another's.
func TestMuxTellsAClosedConnectionSo(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	m := newMux(t, r.forward(t, nil), 0)
	near, _ := r.pairs(t, m, 1)
	read := make(chan error)
	go func() {
		_, err := near[0].Read(make([]byte, 1))
		read <- err
	}()
	near[0].Close()
	if err := <-read; err != net.ErrClosed {
		t.Errorf("Read under way: %v", err)
	}
	if _, err := near[0].Read(make([]byte, 1)); err != net.ErrClosed {
		t.Errorf("Read after Close: %v", err)
	}
}

// TestMuxTellsTheSessionsEndFromAConnections: only what the far side has ended
// ends with io.EOF, and what has come is delivered before either.
func TestMuxTellsTheSessionsEndFromAConnections(t *testing.T) {
	for reason, want := range map[string]error{"": ssmproto.ErrSessionEnded, "maintenance": &ssmproto.ClosedError{Reason: "maintenance"}} {
		r := newRig(t, ssmtest.Config{})
		conn := r.forward(t, nil)
		m := newMux(t, conn, 0)
		near, far := r.pairs(t, m, 8)
		session := r.Sessions()[0]
		var wg sync.WaitGroup
		for i := range near {
			far[i].Write([]byte("last words"))
			wg.Go(func() {
				got, err := io.ReadAll(near[i])
				if string(got) != "last words" || err == nil || err.Error() != want.Error() {
					t.Errorf("%q: %q, %v", reason, got, err)
				}
			})
		}
		waitFor(t, "data at the agent", func() bool { return session.BytesDown() == 80 })
		check(t, exchange(near[0], far[0], []byte("x"), nil)) // and all of it has been sent
		marker := open(t, m)
		markerFar := r.far(t)
		check(t, exchange(marker, markerFar, nil, []byte("x")))
		session.End(reason)
		wg.Wait()
		if _, err := near[0].Write([]byte("x")); err == nil || err.Error() != want.Error() {
			t.Errorf("%q: Write: %v", reason, err)
		}
		if _, err := m.Open(context.Background()); err == nil || err.Error() != want.Error() {
			t.Errorf("%q: Open: %v", reason, err)
		}
	}
}

// TestMuxServerSpeaksFirst: what the far side says as soon as it is connected to
// is for who connects.
func TestMuxServerSpeaksFirst(t *testing.T) {
	r := newRig(t, ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}})
	r.AddNode(ssmtest.Node{ID: node, Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			io.WriteString(far, "hello")
			far.Close()
		}()
		return near, nil
	}})
	m := newMux(t, r.forward(t, nil), 0)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 250 {
				c, err := m.Open(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				c.SetReadDeadline(time.Now().Add(20 * time.Second))
				got, err := io.ReadAll(c)
				c.Close()
				if string(got) != "hello" || err != nil {
					t.Errorf("%q, %v", got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestMuxCloseEndsAll(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	r.OnAPI(func(operation string) *ssmtest.APIError {
		if operation == "TerminateSession" {
			return &ssmtest.APIError{Status: 500, Code: "InternalServerError"}
		}
		return nil
	})
	m := newMux(t, r.forward(t, nil), time.Minute)
	near, far := r.pairs(t, m, 4)
	var wg sync.WaitGroup
	for i := range near {
		wg.Go(func() {
			if n, err := near[i].Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("Read: %d, %v", n, err)
			}
		})
	}
	// They are read before the end: the agent copies between the session and its
	// connections on its own, and drops at the end what it has not copied.
	near[0].Write([]byte("last words"))
	words := make([]byte, len("last words"))
	if _, err := io.ReadFull(far[0], words); err != nil || string(words) != "last words" {
		t.Errorf("the far side got %q, %v", words, err)
	}
	if err := m.Close(); err == nil || !strings.Contains(err.Error(), "InternalServerError") {
		t.Errorf("Close does not tell that the session could not be terminated: %v", err)
	}
	wg.Wait()
	if got, err := io.ReadAll(far[0]); len(got) > 0 {
		t.Errorf("the far side got %q, %v", got, err)
	}
	for _, c := range near {
		if n, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("Read afterwards: %d, %v", n, err)
		}
	}
	check(t, m.Close())
	if _, err := m.Open(context.Background()); err == nil {
		t.Error("opened after Close")
	}
	waitFor(t, "end of all connections", func() bool { return r.Sessions()[0].Connections() == 0 })
}

func TestMuxKeepAlive(t *testing.T) {
	const idle = 200 * time.Millisecond
	r := newRig(t, ssmtest.Config{IdleTimeout: idle})
	kept := r.forward(t, nil)
	newMux(t, kept, idle/10)
	left := r.forward(t, nil)
	newMux(t, left, 0)
	over := time.After(4 * idle)
	select {
	case <-left.Done():
	case <-time.After(10 * time.Second):
		t.Error("a session without keep-alive goes on")
	}
	select {
	case <-over:
	case <-kept.Done():
		t.Errorf("ended: %v", kept.Err())
	}
}

func TestVersionsThatMultiplex(t *testing.T) {
	for _, test := range []struct {
		agent, client string
		want          bool
	}{
		{"", "", true},
		{"3.0.196.1", "1.1.70", true},
		{"3.0.1000.0", "1.1.70.0", true},
		{"10.0.0.0", "1.10.0.0", true},
		{"", "my-client/1.0", true},
		{"3.0.196.0", "", false},
		{"2.3.722.0", "", false},
		{"", "1.1.69.9", false},
		{"", "1.1.7", false},
		{"", "0.0.1", false},
	} {
		t.Run(test.agent+" with "+test.client, func(t *testing.T) {
			r := newRig(t, ssmtest.Config{Agent: ssmtest.Agent{Version: test.agent}})
			c := r.forward(t, &ssmproto.Config{ClientVersion: test.client})
			if got := c.Multiplexed(); got != test.want {
				t.Fatalf("multiplexed: %v", got)
			}
			// What the two ends think must be the same.
			near := net.Conn(c)
			if test.want {
				near = open(t, newMux(t, c, 0))
			}
			check(t, exchange(near, r.far(t), []byte("up"), []byte("down")))
		})
	}
	r := newRig(t, ssmtest.Config{})
	if r.dial(t, nil).Multiplexed() {
		t.Error("an ssh session is multiplexed")
	}
}
