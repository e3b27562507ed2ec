package ssmtest

import (
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"github.com/ssmpipe/ssmpipe/ssmproto/core"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest/wire"
)

var upgrader = websocket.Upgrader{
	ReadBufferSize: bufferSize,
	CheckOrigin:    func(*http.Request) bool { return true }, // see foreign
}

// serveDataChannel serves the WebSocket upgrade and reads from the data channel
// until it ends.
func (s *Server) serveDataChannel(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	link := s.links
	s.links++
	creds := s.creds
	s.mu.Unlock()
	if !s.cfg.NoSignatureCheck {
		if err := creds.verify(r, nil, s.signedRegion(r), "ssmmessages", s.Now()); err != nil {
			s.logf("link %d: %v", link, err)
			http.Error(w, "Forbidden", http.StatusForbidden)
			return
		}
	}
	if f := s.faults.onUpgrade.Load(); f != nil && *f != nil {
		if status := (*f)(link); status != 0 {
			http.Error(w, http.StatusText(status), status)
			return
		}
	}
	session := s.session(r.PathValue("session"))
	if session == nil || r.URL.Query().Get("role") != "publish_subscribe" {
		http.NotFound(w, r)
		return
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has sent the error
	}
	k := &socket{
		srv: s, link: link, ws: ws, session: session,
		conn:     ws.NetConn().(*conn),
		cutAfter: -1,
		message:  make([]byte, 0, bufferSize),
		written:  make(chan struct{}),
	}
	k.more.L, k.room.L = &k.mu, &k.mu
	k.up = newPipe(s, k.fromClient, uint64(link)<<1)
	k.down = newPipe(s, k.toNetwork, uint64(link)<<1|1)
	if f := s.faults.cutEach.Load(); f != nil && *f != nil {
		k.cutAfter, k.cutHow = (*f)(link)
	}
	ws.SetPingHandler(func(data string) error {
		k.flushUp()
		k.up.push(parcel{kind: ping, data: []byte(data)})
		return nil
	})
	ws.SetCloseHandler(func(code int, _ string) error {
		if code == websocket.CloseNoStatusReceived {
			code = websocket.CloseNormalClosure
		}
		k.write(wire.AppendControl(nil, websocket.CloseMessage, websocket.FormatCloseMessage(code, "")), 0)
		return nil
	})
	ws.SetReadLimit(core.MaxFrame * 64) // the agent handles messages larger than a client should send

	s.mu.Lock()
	s.sockets[k] = struct{}{}
	k.up.setPath(s.paths.up)
	k.down.setPath(s.paths.down)
	closing := s.closed
	s.mu.Unlock()
	k.conn.socket.Store(k)
	s.wg.Go(k.writeLoop)
	if closing || s.faults.offline.Load() {
		k.cut(CutReset)
	} else if k.cutAfter == 0 {
		k.cut(k.cutHow)
	}
	k.readLoop()

	s.mu.Lock()
	delete(s.sockets, k)
	s.mu.Unlock()
	session.detach(k)
	k.end(false)
	k.conn.SetWriteDeadline(time.Now().Add(lingerTime))
	<-k.written
	k.conn.Close()
	s.logf("%s: link %d closed", session.id, link)
}
