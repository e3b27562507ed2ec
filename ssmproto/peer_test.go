package ssmproto_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// peer is a service and an agent in one that says what a test wants it to: on
// each link, counted from 0, it reads our hello, calls say, and closes.
type peer struct {
	*httptest.Server
	say     func(p *peer, link int, ws *websocket.Conn)
	links   atomic.Int64
	resumed atomic.Int64
	ended   atomic.Int64
}

func newPeer(t testing.TB, say func(p *peer, link int, ws *websocket.Conn)) *peer {
	t.Helper()
	checkLeaks(t)
	p := &peer{say: say}
	var upgrader websocket.Upgrader
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		if _, _, err := ws.ReadMessage(); err == nil {
			p.say(p, int(p.links.Add(1)-1), ws)
		}
	}))
	t.Cleanup(p.Server.Close)
	return p
}

func (p *peer) grant() ssmproto.Grant {
	return ssmproto.Grant{URL: "ws" + strings.TrimPrefix(p.URL, "http"), Token: "t"}
}

func (p *peer) Open(context.Context) (ssmproto.Grant, error) { return p.grant(), nil }
func (p *peer) Resume(context.Context) (ssmproto.Grant, error) {
	p.resumed.Add(1)
	return p.grant(), nil
}
func (p *peer) Terminate(context.Context) error { p.ended.Add(1); return nil }

func (p *peer) dial(t testing.TB, cfg *ssmproto.Config) (*ssmproto.Conn, error) {
	t.Helper()
	if cfg == nil {
		cfg = &ssmproto.Config{}
	}
	cfg.Transport = &http.Transport{}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	c, err := ssmproto.Dial(ctx, p, cfg)
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// data sends a message of the agent's.
func data(ws *websocket.Conn, seq int, typ ssmproto.PayloadType, payload string) error {
	m := ssmproto.Message{Type: ssmproto.OutputStreamData, SchemaVersion: 1, Created: 1,
		Sequence: int64(seq), PayloadType: typ, Payload: []byte(payload)}
	return ws.WriteMessage(websocket.BinaryMessage, m.Append(nil))
}

// greet sends what the service says on every new link.
func greet(ws *websocket.Conn) error {
	m := ssmproto.Message{Type: ssmproto.StartPublication, SchemaVersion: 1, Short: true}
	return ws.WriteMessage(websocket.BinaryMessage, m.Append(nil))
}

// TestGreetingProvesNothing: a service that accepts each link, greets us and
// closes makes one outage, which has a back-off and an end.
func TestGreetingProvesNothing(t *testing.T) {
	p := newPeer(t, func(p *peer, link int, ws *websocket.Conn) {
		if link == 0 {
			data(ws, 0, ssmproto.Output, "$ ")
			return
		}
		greet(ws)
	})
	begun := time.Now()
	told := false
	conn, err := p.dial(t, &ssmproto.Config{ResumeTimeout: time.Second, OnOutage: func(o ssmproto.Outage) { told = true }})
	if err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(30*time.Second, func() { conn.Close() })
	defer limit.Stop()
	_, err = io.ReadAll(conn)
	var resume *ssmproto.ResumeError
	if !errors.As(err, &resume) {
		t.Errorf("got %v", err)
	}
	conn.Close()
	if !told {
		t.Error("nobody was told of the outage")
	}
	if n := p.resumed.Load(); n > 10 && time.Since(begun) < 4*time.Second {
		t.Errorf("%d calls in %v", n, time.Since(begun))
	}
}

// TestResumptionsHaveAFloor: links that prove good and end at once are not
// resumed without end at full speed.
func TestResumptionsHaveAFloor(t *testing.T) {
	p := newPeer(t, func(p *peer, link int, ws *websocket.Conn) {
		data(ws, link, ssmproto.Output, fmt.Sprintf("%d\n", link))
	})
	conn, err := p.dial(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	var first, last int
	if _, err := fmt.Fscanf(conn, "%d\n", &first); err != nil {
		t.Fatal(err)
	}
	for last < 9 {
		if _, err := fmt.Fscanf(conn, "%d\n", &last); err != nil {
			t.Fatal(err)
		}
	}
	// The waits before them add up to 25+50+6*100 ms at least.
	if took := time.Since(begun); took < 600*time.Millisecond {
		t.Errorf("%d resumptions in %v", last, took)
	}
}

// TestAgentThatAsksForTooMuch: the session ends at once, and is terminated.
func TestAgentThatAsksForTooMuch(t *testing.T) {
	many := `{"AgentVersion":"3.3.0.0","RequestedClientActions":[` + strings.Repeat("{},", 84_999) + `{}]}`
	var closed atomic.Bool
	p := newPeer(t, func(p *peer, link int, ws *websocket.Conn) {
		data(ws, 0, ssmproto.HandshakeRequestType, many)
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				closed.Store(true)
				return
			}
		}
	})
	_, err := p.dial(t, nil)
	var refused *ssmproto.HandshakeError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "85000 actions") || len(err.Error()) > 500 {
		t.Errorf("got %.500v", err)
	}
	if n := p.ended.Load(); n != 1 {
		t.Errorf("terminated %d times", n)
	}
	waitFor(t, "end of the link", closed.Load)
}
