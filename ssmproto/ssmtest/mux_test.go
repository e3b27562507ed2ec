package ssmtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/xtaci/smux"

	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// forward opens a forwarding session to a node with a client that is not under
// test here.
func forward(t testing.TB, s *Server, host string) (*ssmproto.Conn, *Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	conn, err := ssmproto.Dial(ctx, s.NewForwardClient(nodeID, host, "22022"), &ssmproto.Config{Transport: s.Transport()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	sessions := s.Sessions()
	return conn, sessions[len(sessions)-1]
}

// forwardMux is forward with a bare multiplexer.
func forwardMux(t testing.TB, s *Server, host string) (*smux.Session, *Session) {
	t.Helper()
	conn, session := forward(t, s, host)
	cfg := smux.DefaultConfig()
	cfg.KeepAliveDisabled = true
	mux, err := smux.Client(patientConn{conn}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mux.Close() })
	return mux, session
}

// opening is held, as a reader, while a stream is opened: smux drops what comes
// for it before OpenStream is done.
var opening sync.RWMutex

// patientConn hands nothing to smux while a stream is opened.
type patientConn struct{ net.Conn }

func (c patientConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	opening.Lock()
	defer opening.Unlock()
	return n, err
}

func openStream(t testing.TB, mux *smux.Session) *smux.Stream {
	t.Helper()
	opening.RLock()
	defer opening.RUnlock()
	stream, err := mux.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// noLeaks fails the test if goroutines are left when all is cleaned up.
func noLeaks(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		eventually(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= before })
	})
}

// echo is a Dial of hosts that each answer with their address and then all that
// they are sent.
func echo(_ context.Context, _, address string) (net.Conn, error) {
	if address == "closed.example:22022" {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		io.WriteString(far, address)
		io.Copy(far, far)
	}()
	return near, nil
}

func TestForwardDocuments(t *testing.T) {
	const port, host = "AWS-StartPortForwardingSession", "AWS-StartPortForwardingSessionToRemoteHost"
	s, _ := newServer(t, Config{})
	for _, test := range []struct {
		document   string
		parameters map[string][]string
		properties string // "": refused
	}{
		{port, map[string][]string{"portNumber": {"19999"}, "localPortNumber": {"20013"}},
			`{"localPortNumber":"20013","portNumber":"19999","type":"LocalPortForwarding"}`},
		{port, nil, `{"localPortNumber":"0","portNumber":"80","type":"LocalPortForwarding"}`},
		{host, map[string][]string{"portNumber": {"5432"}, "host": {"db.example"}},
			`{"host":"db.example","localPortNumber":"0","portNumber":"5432","type":"LocalPortForwarding"}`},
		{host, nil, `{"host":"localhost","localPortNumber":"0","portNumber":"80","type":"LocalPortForwarding"}`},
		{port, map[string][]string{"host": {"db.example"}}, ""},
		{port, map[string][]string{"portNumber": {"0"}}, ""},
		{port, map[string][]string{"localPortNumber": {"65536"}}, ""},
		{port, map[string][]string{"localPortNumber": {"1", "2"}}, ""},
		{host, map[string][]string{"host": {""}}, ""},
		{host, map[string][]string{"host": {"a;b.example"}}, ""},
	} {
		if test.properties == "" {
			_, err := call(s, "StartSession", map[string]any{"Target": nodeID, "DocumentName": test.document, "Parameters": test.parameters})
			var refused *APIError
			if !errors.As(err, &refused) || refused.Code != "InvalidParameters" {
				t.Errorf("%s %v: %v", test.document, test.parameters, err)
			}
			continue
		}
		want := `{"AgentVersion":"3.3.0.0","RequestedClientActions":[{"ActionType":"SessionType","ActionParameters":` +
			`{"SessionType":"Port","Properties":` + test.properties + `}}]}`
		if m := startDocument(t, s, test.document, test.parameters).recvData(); string(m.Payload) != want {
			t.Errorf("%s %v: %s", test.document, test.parameters, m.Payload)
		}
	}
}

func TestEachStreamIsAConnectionToTheSessionsHost(t *testing.T) {
	noLeaks(t)
	s, _ := newServer(t, Config{Agent: Agent{NoSleep: true}})
	s.AddNode(Node{ID: nodeID, Dial: echo})
	const streams = 20
	for host, address := range map[string]string{"": "localhost:22022", "db.example": "db.example:22022", "::1": "[::1]:22022"} {
		mux, session := forwardMux(t, s, host)
		var open []*smux.Stream
		var wg sync.WaitGroup
		for i := range streams {
			stream := openStream(t, mux)
			open = append(open, stream)
			wg.Go(func() {
				said := fmt.Sprintf("I am %d", i)
				io.WriteString(stream, said)
				got := make([]byte, len(address)+len(said))
				if _, err := io.ReadFull(stream, got); err != nil || string(got) != address+said {
					t.Errorf("%q: got %q, %v", host, got, err)
				}
			})
		}
		wg.Wait()
		if n := session.Connections(); n != streams {
			t.Errorf("%d connections of %d", n, streams)
		}
		for _, stream := range open {
			stream.Close()
		}
		eventually(t, "all connections end", func() bool { return session.Connections() == 0 })
		if n := session.Dials(); n != streams {
			t.Errorf("%d dials", n)
		}
		if session.Ended() {
			t.Error("the session has ended with its connections")
		}
	}
}

func TestARefusedConnectionLeavesTheSessionAlone(t *testing.T) {
	noLeaks(t)
	s, far := newServer(t, Config{})
	dial := s.nodes[nodeID].Dial
	refuse := make(chan bool, 1)
	s.AddNode(Node{ID: nodeID, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if <-refuse {
			return nil, errors.New("connection refused")
		}
		return dial(ctx, network, address)
	}})
	mux, session := forwardMux(t, s, "")
	refuse <- false
	good := openStream(t, mux)
	port := far()
	refuse <- true
	if n, err := openStream(t, mux).Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("refused, but read %d, %v", n, err)
	}
	io.WriteString(good, "still here")
	if got := read(t, port, 10); got != "still here" {
		t.Errorf("the port got %q", got)
	}
	if session.Connections() != 1 || session.Dials() != 1 || session.Ended() {
		t.Errorf("%d connections, %d dials, ended: %v", session.Connections(), session.Dials(), session.Ended())
	}
}

// TestAnEndOfAConnectionIsItsWholeEnd: the agent passes on no half-close.
func TestAnEndOfAConnectionIsItsWholeEnd(t *testing.T) {
	for name, end := range map[string]func(stream *smux.Stream, port net.Conn){
		"the stream's":          func(stream *smux.Stream, _ net.Conn) { stream.Close() },
		"the stream's one way":  func(stream *smux.Stream, _ net.Conn) { stream.CloseWrite() },
		"the port's":            func(_ *smux.Stream, port net.Conn) { port.Close() },
		"the port's one way":    func(_ *smux.Stream, port net.Conn) { port.(*net.TCPConn).CloseWrite() },
		"the session's, a flag": nil,
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			s, far := newServer(t, Config{})
			conn, session := forward(t, s, "")
			mux, err := smux.Client(patientConn{conn}, smux.DefaultConfig())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { mux.Close() })
			stream := openStream(t, mux)
			port := far()
			io.WriteString(port, "last words")
			io.WriteString(stream, "last words")
			if up, down := read(t, port, 10), read(t, stream, 10); up != down {
				t.Errorf("%q, %q", up, down)
			}
			if end == nil {
				conn.SendFlag(ssmproto.TerminateSession)
			} else {
				end(stream, port)
			}
			eventually(t, "the agent has no connection", func() bool { return session.Connections() == 0 })
			if end == nil {
				eventually(t, "the session ends", session.Ended)
				return
			}
			port.SetReadDeadline(time.Now().Add(wait))
			if _, err := port.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the port's end: %v", err)
			}
			stream.SetReadDeadline(time.Now().Add(wait))
			if _, err := stream.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the stream's end: %v", err)
			}
			conn.SendFlag(ssmproto.DisconnectToPort) // means nothing here
			stream = openStream(t, mux)
			io.WriteString(stream, "another")
			if got := read(t, far(), 7); got != "another" {
				t.Errorf("the port got %q", got)
			}
		})
	}
}

// TestASlowDialHoldsUpTheNext: the real agent dials one after the other.
func TestASlowDialHoldsUpTheNext(t *testing.T) {
	noLeaks(t)
	s, _ := newServer(t, Config{})
	dials := make(chan struct{}, 2)
	release := make(chan struct{})
	s.AddNode(Node{ID: nodeID, Dial: func(context.Context, string, string) (net.Conn, error) {
		dials <- struct{}{}
		<-release
		return nil, errors.New("timed out")
	}})
	mux, _ := forwardMux(t, s, "")
	openStream(t, mux)
	openStream(t, mux)
	<-dials
	select {
	case <-dials:
		t.Error("two dials at once")
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	<-dials
}

func TestAnUnreadMuxStopsTheAgentFromReadingItsPorts(t *testing.T) {
	noLeaks(t)
	s, far := newServer(t, Config{Agent: Agent{NoSleep: true}})
	mux, session := forwardMux(t, s, "")
	stream := openStream(t, mux)
	port := far()
	const most = 64 << 20
	var wg sync.WaitGroup
	defer wg.Wait()
	defer port.Close()
	wg.Go(func() { port.Write(make([]byte, most)) })
	last, still := int64(-1), 0
	eventually(t, "the agent stops reading", func() bool {
		if n := session.BytesDown(); n != last {
			last, still = n, 0
		}
		still++
		return last > 0 && still > 50
	})
	if last >= most {
		t.Errorf("the agent read all %d bytes", last)
	}
	if n, err := io.CopyN(io.Discard, stream, most); err != nil {
		t.Errorf("read %d of %d bytes: %v", n, most, err)
	}
}

func TestVersionsDecideOnTheMultiplexer(t *testing.T) {
	const syn, push = "\x01\x00\x00\x00\x03\x00\x00\x00", "\x01\x02\x05\x00\x03\x00\x00\x00hello"
	for _, test := range []struct {
		agent, client string
		mux           bool
	}{
		{"3.3.0.0", "1.2.896.0", true},
		{"3.0.196.1", "1.1.70", true},
		{"3.0.1000.0", "1.1.70.0", true},
		{"10.0.0.0", "1.10.0.0", true},
		{"3.3.0.0", "my-client/1.0", true},
		{"3.0.196.0", "1.2.896.0", false},
		{"2.3.722.0", "1.2.896.0", false},
		{"3.3.0.0", "1.1.69.9", false},
		{"3.3.0.0", "1.1.7", false},
		{"3.3.0.0", "0.0.1", false},
		{"3.3.0.0", "", false},
	} {
		t.Run(test.agent+" with "+test.client, func(t *testing.T) {
			s, far := newServer(t, Config{Agent: Agent{Version: test.agent}})
			c := startDocument(t, s, "AWS-StartPortForwardingSession", nil)
			c.recvData()
			c.answerAs(test.client)
			eventually(t, "the data arrives", func() bool {
				c.send(1, ssmproto.Output, syn+push)
				return c.session().BytesUp() > 0
			})
			want := syn + push
			if test.mux {
				want = "hello"
			}
			if got := read(t, far(), len(want)); got != want {
				t.Errorf("the port got %q, not %q", got, want)
			}
		})
	}
}
