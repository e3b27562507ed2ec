package ssmtest

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest/agent"
)

// end reads to the socket's end and returns its error.
func (c *raw) end() error {
	c.t.Helper()
	for {
		if _, err := c.tryRecv(wait); err != nil {
			return err
		}
	}
}

// check tells whether err is how a client sees the cut.
func (how Cut) check(err error) bool {
	switch how {
	case CutBye:
		var e *websocket.CloseError
		return errors.As(err, &e) && e.Code == websocket.CloseNormalClosure && e.Text == "Bye"
	case CutAbnormal:
		return websocket.IsCloseError(err, websocket.CloseAbnormalClosure) ||
			strings.Contains(err.Error(), "unexpected EOF") // within a frame
	default:
		return errors.Is(err, syscall.ECONNRESET)
	}
}

var cuts = map[string]Cut{"bye": CutBye, "abnormal": CutAbnormal, "reset": CutReset}

func TestACutSessionIsResumedAndItsNumbersGoOn(t *testing.T) {
	for name, how := range cuts {
		t.Run(name, func(t *testing.T) { cutAndResume(t, Config{}, how) })
		t.Run(name+" over TLS", func(t *testing.T) { cutAndResume(t, Config{TLS: true}, how) })
	}
}

func cutAndResume(t *testing.T, cfg Config, how Cut) {
	s, far := newServer(t, cfg)
	c, port := connect(t, s, far)
	c.output("before ")
	read(t, port, 7)
	s.Cut(how)
	if err := c.end(); !how.check(err) {
		t.Errorf("the client sees %v", err)
	}
	c.resume()
	port.Write([]byte("down"))
	if m := c.recvData(); m.Sequence != 3 || string(m.Payload) != "down" {
		t.Errorf("after the cut comes %d %q", m.Sequence, m.Payload)
	}
	c.output("after")
	if got := read(t, port, 5); got != "after" {
		t.Errorf("the port got %q", got)
	}
	if session := c.session(); session.Links() != 2 || session.Resumes() != 1 || s.Calls("ResumeSession") != 1 {
		t.Errorf("%d links, %d resumes", session.Links(), session.Resumes())
	}
}

func TestAPausedAgentDoesNotReadItsPort(t *testing.T) {
	s, far := newServer(t, Config{})
	c, port := connect(t, s, far)
	<-time.After(20 * agent.Pace) // it is in Read
	s.Cut(CutReset)
	session := c.session()
	port.Write([]byte("one"))
	eventually(t, "it reads once", func() bool { return session.BytesDown() == 8 })
	port.Write([]byte("two"))
	<-time.After(20 * agent.Pace)
	if n := session.BytesDown(); n != 8 {
		t.Errorf("it has read %d bytes", n)
	}
	c.resume()
	var got []string
	for len(got) < 2 {
		got = append(got, string(c.recvData().Payload))
	}
	if want := []string{"two", "one"}; !slices.Equal(got, want) { // the first was lost
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCutEachCutsAfterSoManyBytes(t *testing.T) {
	for name, how := range cuts {
		t.Run(name, func(t *testing.T) {
			s, far := newServer(t, Config{})
			limits := []int64{0, 200, 700, 3000, -1}
			s.CutEach(func(link int) (int64, Cut) { return limits[link], how })
			c := start(t, s)
			for range limits[1:] {
				var sending sync.WaitGroup
				sending.Go(func() { // something both ways
					for n := range 20 {
						c.send(int64(n), ssmproto.Size, strings.Repeat("x", 100))
					}
				})
				// A write may have been told of the reset in the read's place.
				if err := c.end(); !how.check(err) && !(how == CutReset && CutAbnormal.check(err)) {
					t.Errorf("the client sees %v", err)
				}
				sending.Wait()
				c.resume()
			}
			if n := c.session().Links(); n > 4 {
				t.Errorf("%d links", n)
			}
			s.CutEach(nil)
			connect(t, s, far)
		})
	}
}

func TestABlackHoleSwallowsWhatIsOpenAndNothingElse(t *testing.T) {
	s, far := newServer(t, Config{})
	c, port := connect(t, s, far)
	hole := c.ws
	s.BlackHole()
	c.output("lost")
	port.Write([]byte("gone"))
	hole.SetPongHandler(func(string) error { t.Error("a pong"); return nil })
	hole.WriteControl(websocket.PingMessage, nil, time.Now().Add(wait))
	if m, err := c.tryRecv(100 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("got %+v, %v", m, err)
	}
	s.Cut(CutAbnormal) // does not get through either
	c.resume()
	for string(c.recvData().Payload) != "gone" { // "hello" may come again
	}
	c.next--
	c.output("again")
	if got := read(t, port, 5); got != "again" {
		t.Errorf("the port got %q", got)
	}
	c.session().End("")
	hole.NetConn().SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := hole.NetConn().Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("the black hole: %v", err)
	}
}

func TestOfflineResetsAndRefusesUntilItIsOver(t *testing.T) {
	s, far := newServer(t, Config{})
	c, _ := connect(t, s, far)
	s.Offline(true)
	if err := c.end(); !CutReset.check(err) {
		t.Errorf("the client sees %v", err)
	}
	if _, err := call(s, "ResumeSession", map[string]string{"SessionId": c.id}); err == nil {
		t.Error("the API answers")
	}
	if n := s.Calls("ResumeSession"); n != 0 {
		t.Errorf("%d calls", n)
	}
	s.Offline(false)
	c.resume()
	c.output("x")
	if n := c.recvAck(); n != 1 {
		t.Errorf("acknowledged %d", n)
	}
}

func TestOnAPIAnswersInTheServicesPlace(t *testing.T) {
	s, _ := newServer(t, Config{})
	s.OnAPI(func(operation string) *APIError {
		if operation == "StartSession" {
			return &APIError{http.StatusServiceUnavailable, "ServiceUnavailable", "come back later"}
		}
		return nil
	})
	request := map[string]string{"Target": nodeID, "DocumentName": "AWS-StartSSHSession"}
	_, err := call(s, "StartSession", request)
	if e := (*APIError)(nil); !errors.As(err, &e) || *e != (APIError{503, "ServiceUnavailable", "come back later"}) {
		t.Errorf("got %v", err)
	}
	s.OnAPI(nil)
	if _, err := call(s, "StartSession", request); err != nil {
		t.Error(err)
	}
	if n := s.Calls("StartSession"); n != 2 {
		t.Errorf("%d calls", n)
	}
}

func TestTheAPIRefusesInAWSsForm(t *testing.T) {
	s, _ := newServer(t, Config{})
	s.AddNode(Node{ID: "i-1", NotConnected: true})
	ssh := "AWS-StartSSHSession"
	for _, test := range []struct {
		operation, code, message string
		request                  map[string]any
	}{
		{"StartSession", "TargetNotConnected", "i-0 is not connected.", map[string]any{"Target": "i-0", "DocumentName": ssh}},
		{"StartSession", "TargetNotConnected", "i-1 is not connected.", map[string]any{"Target": "i-1", "DocumentName": ssh}},
		{"StartSession", "InvalidDocument", "", map[string]any{"Target": nodeID, "DocumentName": "x"}},
		{"StartSession", "InvalidParameters", "", map[string]any{"Target": nodeID, "Parameters": map[string]any{"command": []string{"x"}}}},
		{"StartSession", "InvalidParameters", "", map[string]any{"Target": nodeID, "DocumentName": ssh, "Parameters": map[string]any{"portNumber": []string{"x"}}}},
		{"StartSession", "InvalidParameters", "", map[string]any{"Target": nodeID, "DocumentName": ssh, "Parameters": map[string]any{"host": []string{"x"}}}},
		{"StartSession", "SerializationException", "", map[string]any{"Target": 1}},
		{"ResumeSession", "DoesNotExistException", "", map[string]any{"SessionId": "x"}},
		{"TerminateSession", "DoesNotExistException", "", map[string]any{"SessionId": "x"}},
		{"ListNodes", "UnknownOperationException", "", nil},
	} {
		_, err := call(s, test.operation, test.request)
		var e *APIError
		if !errors.As(err, &e) || e.Status != 400 || e.Code != test.code || test.message != "" && e.Message != test.message {
			t.Errorf("%s %v: %v, want %s", test.operation, test.request, err, test.code)
		}
	}
}

func TestOnUpgradeRefusesTheSocket(t *testing.T) {
	s, far := newServer(t, Config{})
	s.OnUpgrade(func(link int) int {
		if link < 2 {
			return http.StatusServiceUnavailable
		}
		return 0
	})
	answer, err := call(s, "StartSession", map[string]string{"Target": nodeID, "DocumentName": "AWS-StartSSHSession"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := dial(s, answer["StreamUrl"], true); err == nil || !strings.HasSuffix(err.Error(), ": 503") {
			t.Errorf("got %v", err)
		}
	}
	c := &raw{t: t, s: s, id: answer["SessionId"], clientID: "a client"}
	if err := c.open(answer); err != nil {
		t.Fatal(err)
	}
	c.handshake()
	far()
}

func TestTokensServeOneConnectionOfOneClient(t *testing.T) {
	s, _ := newServer(t, Config{})
	c := start(t, s)
	c.recvData()
	first := c.ws
	resume := func() map[string]string {
		answer, err := call(s, "ResumeSession", map[string]string{"SessionId": c.id})
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	answer := resume()
	other := &raw{t: t, s: s, id: c.id, clientID: "another"}
	refused := func(c *raw, answer map[string]string) {
		t.Helper()
		if err := c.open(answer); err != nil {
			t.Fatal(err)
		}
		if err := c.end(); !websocket.IsCloseError(err, websocket.ClosePolicyViolation) {
			t.Errorf("got %v", err)
		}
	}
	refused(other, answer)
	if err := c.open(answer); err != nil {
		t.Fatal(err)
	}
	// The new socket replaces the old one.
	old := &raw{t: t, ws: first}
	if err := old.end(); !CutBye.check(err) {
		t.Errorf("the replaced socket sees %v", err)
	}
	again := &raw{t: t, s: s, id: c.id, clientID: c.clientID}
	refused(again, answer)
	answer["TokenValue"] = "made up"
	refused(again, answer)
	if n := c.session().Links(); n != 2 {
		t.Errorf("%d links", n)
	}
	c.answer() // and the handshake goes on on it
}

func TestAStalledAgentIsSilentButTheServiceIsNot(t *testing.T) {
	s, far := newServer(t, Config{})
	c, port := connect(t, s, far)
	s.StallAgent(true)
	s.StallAgent(true)
	c.output("x")
	port.Write([]byte("y"))
	pongs := 0
	c.ws.SetPongHandler(func(string) error { pongs++; return nil })
	c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(wait))
	if m, err := c.tryRecv(100 * time.Millisecond); err == nil {
		t.Errorf("got %+v", m)
	}
	if pongs != 1 {
		t.Errorf("%d pongs", pongs)
	}
	// That deadline has spoilt the client's socket.
	s.StallAgent(false)
	if got := read(t, port, 1); got != "x" {
		t.Errorf("the port got %q", got)
	}
	c.resume()
	if m := c.recvData(); string(m.Payload) != "y" {
		t.Errorf("got %q", m.Payload)
	}
}

func TestKilledAgentsVanishWithoutAWord(t *testing.T) {
	s, far := newServer(t, Config{})
	c, port := connect(t, s, far)
	s.KillAgents()
	if _, err := port.Read(make([]byte, 1)); err == nil {
		t.Error("the port is open")
	}
	pongs := 0
	for range 2 {
		c.output("x")
		c.ws.SetPongHandler(func(string) error { pongs++; return nil })
		c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(wait))
		if m, err := c.tryRecv(50 * time.Millisecond); err == nil {
			t.Errorf("got %+v", m)
		}
		c.resume()
	}
	if pongs != 2 || s.ActiveSessions() != 1 {
		t.Errorf("%d pongs, %d sessions", pongs, s.ActiveSessions())
	}
	connect(t, s, far) // a new session has a new agent
}
