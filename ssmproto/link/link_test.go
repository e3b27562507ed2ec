package link

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// serve serves one WebSocket after the other on l by talk, and returns when the
// test is over.
func serve(t *testing.T, l net.Listener, talk func(*websocket.Conn)) {
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !websocket.IsWebSocketUpgrade(r) {
			return
		}
		conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		talk(conn)
	})}}
	s.Start()
	t.Cleanup(s.Close)
}

// over is a Transport that connects by dial.
func over(dial func() (net.Conn, error)) *http.Transport {
	return &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return dial() }}
}

// tcp serves talk over TCP and returns a Transport that leads there.
func tcp(t *testing.T, talk func(*websocket.Conn)) *http.Transport {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, talk)
	return over(func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) })
}

func dialTest(t *testing.T, transport *http.Transport) *Link {
	t.Helper()
	l, err := Dial(t.Context(), Request{URL: "ws://service.test/", First: []byte("hello")}, transport, nil, func() {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.End() })
	return l
}

// read reads from l until it has had n messages or l ends.
func read(l *Link, n int) (got [][]byte, err error) {
	for {
		for {
			m, err := l.Next()
			if err != nil {
				return got, err
			}
			if m == nil {
				break
			}
			if got = append(got, bytes.Clone(m)); len(got) == n {
				return got, nil
			}
		}
		if err := l.Fill(); err != nil {
			return got, err
		}
		l.Alive()
	}
}

func TestLinkCarriesMessages(t *testing.T) {
	l := dialTest(t, tcp(t, func(c *websocket.Conn) {
		for { // echo, the first message too
			_, p, err := c.ReadMessage()
			if err != nil {
				return
			}
			c.WriteMessage(websocket.BinaryMessage, p)
		}
	}))
	if l.Pending() {
		t.Error("something is to be written that nobody queued")
	}
	want := []string{"hello", "one", strings.Repeat("t", 100_000), ""}
	for _, m := range want[1:] {
		l.Queue([]byte(m))
	}
	if !l.Pending() {
		t.Error("nothing is to be written")
	}
	if err := l.Write(); err != nil {
		t.Fatal(err)
	}
	got, err := read(l, len(want))
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if string(got[i]) != want[i] {
			t.Errorf("message %d: %.20q, want %.20q", i, got[i], want[i])
		}
	}
}

// TestWhatTheSocketHoldsIsReadFirst: a link that is given up still hands over
// what has come.
func TestWhatTheSocketHoldsIsReadFirst(t *testing.T) {
	sent := make(chan struct{})
	l := dialTest(t, tcp(t, func(c *websocket.Conn) {
		for range 100 {
			c.WriteMessage(websocket.BinaryMessage, make([]byte, 1000))
		}
		close(sent)
		c.ReadMessage()
		c.ReadMessage()
	}))
	<-sent
	why := errors.New("no more")
	l.giveUp(why)
	got, err := read(l, 101)
	if len(got) != 100 || err != why || l.GivenUp() != why {
		t.Errorf("%d messages of 100, then %v", len(got), err)
	}
	l.Queue([]byte("x"))
	if err := l.Write(); err != why {
		t.Errorf("Write: %v", err)
	}
}

// pipes is a listener in this process, for tests that have a time of their own.
type pipes struct {
	conns chan net.Conn
	ended chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), ended: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}

func (p *pipes) dial() (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.ended) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

// TestSleepPutsTheLinkInDoubt: a link that died while the machine was asleep,
// which the clocks tell, is given up soon, and one that did not is not. Nor is
// one whose process was stopped, however long.
func TestSleepPutsTheLinkInDoubt(t *testing.T) {
	for _, test := range []struct {
		name       string
		stop, wall time.Duration // what passed unnoticed
		mute       bool          // the service does not answer any more
		want       time.Duration // until the link is given up; 0: never
	}{
		{name: "awake, and the link is fine"},
		{name: "awake", mute: true, want: 15 * time.Second},
		{name: "asleep, and the link is fine", wall: time.Hour},
		{name: "asleep", wall: time.Hour, mute: true, want: 8 * time.Second},
		{name: "stopped, and the link is fine", stop: time.Hour},
		{name: "stopped", stop: time.Hour, mute: true, want: 8 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, muted := newPipes(), make(chan struct{})
				serve(t, p, func(c *websocket.Conn) { // which answers pings
					c.SetReadDeadline(time.Now().Add(time.Hour))
					c.SetPingHandler(func(data string) error {
						select {
						case <-muted:
							return nil
						default:
							return c.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Hour))
						}
					})
					for {
						if _, _, err := c.ReadMessage(); err != nil {
							return
						}
					}
				})
				wake := make(chan struct{}, 1)
				l, err := Dial(t.Context(), Request{URL: "ws://service.test/"}, over(p.dial), nil, func() {
					select {
					case wake <- struct{}{}:
					default:
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				var all sync.WaitGroup
				l.Watch(t.Context(), Watch{Patience: PingAfter, Limit: 10 * time.Minute, Go: all.Go, OnSilent: func(time.Duration, bool) {}})
				ended, stop := make(chan error, 1), make(chan struct{})
				all.Go(func() {
					_, err := read(l, 1)
					ended <- err
				})
				all.Go(func() {
					for {
						select {
						case <-wake:
							l.Write()
						case <-stop:
							return
						}
					}
				})
				time.Sleep(2 * time.Second) // it has looked, and been answered
				if test.mute {
					close(muted)
				}
				w := &l.watch
				w.mu.Lock()
				if !w.looked {
					t.Error("it has not looked")
				}
				w.due, w.dueWall = w.due.Add(-test.stop), w.dueWall.Add(-test.stop-test.wall)
				w.heardAt.Add(-int64(test.stop))
				w.mu.Unlock()
				begun := time.Now()
				select {
				case err := <-ended:
					if took := time.Since(begun); test.want == 0 || took > test.want || took < test.want/4 || err != ErrDeadPeer {
						t.Errorf("given up after %v, %v", took, err)
					}
				case <-time.After(time.Minute):
					if test.want > 0 {
						t.Error("it was not given up")
					}
				}
				l.End()
				close(stop)
				all.Wait()
			})
		})
	}
}
