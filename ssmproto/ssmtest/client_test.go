package ssmtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/gorilla/websocket"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest/wire"
)

const nodeID = "i-0123456789abcdef0"

// wait is how long anything that must happen may take.
const wait = 10 * time.Second

// newServer starts a server with one node, whose port is a pipe that the test
// holds: far(t) is the other end of the agent's next connection.
func newServer(t testing.TB, cfg Config) (s *Server, far func() net.Conn) {
	t.Helper()
	s = NewServer(cfg)
	t.Cleanup(s.Close)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	s.AddNode(Node{ID: nodeID, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, ln.Addr().String())
	}})
	return s, func() net.Conn {
		t.Helper()
		ln.(*net.TCPListener).SetDeadline(time.Now().Add(wait))
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}

// call calls an operation as the SDK does.
func call(s *Server, operation string, request any) (map[string]string, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	r, _ := http.NewRequest("POST", s.URL()+"/", bytes.NewReader(body))
	r.Header.Set("X-Amz-Target", "AmazonSSM."+operation)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	sum := sha256.Sum256(body)
	signFor(s, r, hex.EncodeToString(sum[:]), "ssm", time.Now())
	return do(s, r)
}

// do sends r and returns the members of the answer that are strings, or its
// error.
func do(s *Server, r *http.Request) (map[string]string, error) {
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: trusting(s)}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer := make(map[string]string)
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		code := response.Header.Get("X-Amzn-ErrorType")
		if answer["__type"] != code {
			return nil, fmt.Errorf("__type %q, but x-amzn-ErrorType %q", answer["__type"], code)
		}
		return nil, &APIError{response.StatusCode, code, answer["message"]}
	}
	return answer, nil
}

// trusting trusts the server's certificate, if it has one.
func trusting(s *Server) *tls.Config {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CertPEM())
	return &tls.Config{RootCAs: pool}
}

// signFor signs r with AWS's own signer and the server's credentials.
func signFor(s *Server, r *http.Request, bodyHash, service string, at time.Time) {
	s.mu.Lock()
	c := s.creds
	s.mu.Unlock()
	v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{
		AccessKeyID: c.accessKeyID, SecretAccessKey: c.secret, SessionToken: c.token,
	}, r, bodyHash, service, s.cfg.Region, at)
}

var emptyHash = hex.EncodeToString(sha256.New().Sum(nil))

// raw is a client that does nothing by itself.
type raw struct {
	t        testing.TB
	s        *Server
	id       string
	clientID string
	ws       *websocket.Conn
	next     int64          // our next sequence number
	seen     map[int64]bool // the numbers that isNew has had
}

// start starts an SSH session and opens its data channel.
func start(t testing.TB, s *Server) *raw {
	t.Helper()
	return startTo(t, s, "22022")
}

func startTo(t testing.TB, s *Server, port string) *raw {
	t.Helper()
	return startDocument(t, s, "AWS-StartSSHSession", map[string][]string{"portNumber": {port}})
}

func startDocument(t testing.TB, s *Server, document string, parameters map[string][]string) *raw {
	t.Helper()
	return startTarget(t, s, nodeID, document, parameters)
}

func startTarget(t testing.TB, s *Server, target, document string, parameters map[string][]string) *raw {
	t.Helper()
	answer, err := call(s, "StartSession", map[string]any{
		"Target": target, "DocumentName": document, "Parameters": parameters, "Reason": "a test",
	})
	if err != nil {
		t.Fatal(err)
	}
	c := &raw{t: t, s: s, id: answer["SessionId"], clientID: wire.NewID().String()}
	if err := c.open(answer); err != nil {
		t.Fatal(err)
	}
	return c
}

// session is the server's side of it.
func (c *raw) session() *Session { return c.s.session(c.id) }

// open opens a data channel with the answer of StartSession or ResumeSession.
func (c *raw) open(answer map[string]string) error {
	ws, err := dial(c.s, answer["StreamUrl"], true)
	if err != nil {
		return err
	}
	c.t.Cleanup(func() { ws.Close() })
	c.ws = ws
	// Errors are a fault's: the test sees them when it reads.
	ws.WriteJSON(openMessage{"1.0", wire.NewID().String(), answer["TokenValue"], c.clientID, "1.2.896.0"})
	return nil
}

// dial upgrades, signed or not. The error of a refusal names the status.
func dial(s *Server, url string, signed bool) (*websocket.Conn, error) {
	header := http.Header{}
	if signed {
		r, err := http.NewRequest("GET", strings.Replace(url, "ws", "http", 1), nil)
		if err != nil {
			return nil, err
		}
		signFor(s, r, emptyHash, "ssmmessages", time.Now())
		header = r.Header
	}
	dialer := websocket.Dialer{TLSClientConfig: trusting(s), ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10}
	ws, response, err := dialer.Dial(url, header)
	if err != nil && response != nil {
		return nil, fmt.Errorf("%w: %d", err, response.StatusCode)
	}
	return ws, err
}

func (c *raw) resume() {
	c.t.Helper()
	answer, err := call(c.s, "ResumeSession", map[string]string{"SessionId": c.id})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.open(answer); err != nil {
		c.t.Fatal(err)
	}
}

// recv returns the next message.
func (c *raw) recv() ssmproto.Message {
	c.t.Helper()
	m, err := c.tryRecv(wait)
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

func (c *raw) tryRecv(d time.Duration) (ssmproto.Message, error) {
	c.ws.SetReadDeadline(time.Now().Add(d))
	_, data, err := c.ws.ReadMessage()
	if err != nil {
		return ssmproto.Message{}, err
	}
	return ssmproto.Parse(data)
}

// recvData returns the next stream data and acknowledges it.
func (c *raw) recvData() ssmproto.Message {
	c.t.Helper()
	for {
		m := c.recv()
		if m.Type == ssmproto.OutputStreamData {
			c.ack(m)
			return m
		}
	}
}

// isNew says whether m comes for the first time. The agent repeats what is not
// acknowledged soon, and on a busy machine nothing is.
func (c *raw) isNew(m ssmproto.Message) bool {
	if c.seen == nil {
		c.seen = make(map[int64]bool)
	}
	defer func() { c.seen[m.Sequence] = true }()
	return !c.seen[m.Sequence]
}

// recvNew is recvData without repetitions.
func (c *raw) recvNew() ssmproto.Message {
	c.t.Helper()
	for {
		if m := c.recvData(); c.isNew(m) {
			return m
		}
	}
}

// recvAck returns the number of the next acknowledgement.
func (c *raw) recvAck() int64 {
	c.t.Helper()
	for {
		if m := c.recv(); m.Type == ssmproto.Acknowledge {
			n, err := ssmproto.ParseAck(m.Payload)
			if err != nil {
				c.t.Fatal(err)
			}
			return n
		}
	}
}

func (c *raw) ack(m ssmproto.Message) {
	c.write(&ssmproto.Message{
		Type: ssmproto.Acknowledge, SchemaVersion: 1, Created: 1, Flags: 3, ID: wire.NewID(),
		Payload: ssmproto.AppendAck(nil, &m),
	})
}

// send sends stream data with a number of our choice.
func (c *raw) send(n int64, t ssmproto.PayloadType, payload string) {
	c.write(&ssmproto.Message{
		Type: ssmproto.InputStreamData, SchemaVersion: 1, Created: 1, Sequence: n, ID: wire.NewID(),
		PayloadType: t, Payload: []byte(payload),
	})
}

// output sends the next piece of the stream.
func (c *raw) output(payload string) {
	c.send(c.next, ssmproto.Output, payload)
	c.next++
}

func (c *raw) write(m *ssmproto.Message) {
	// Errors are a fault's: the test sees them when it reads.
	c.ws.WriteMessage(websocket.BinaryMessage, m.Append(nil))
}

const handshakeAnswer = `{"ClientVersion":"1.2.896.0","ProcessedClientActions":[{"ActionType":"SessionType","ActionStatus":1,"ActionResult":null,"Error":""}],"Errors":null}`

// handshake goes through it to the end.
func (c *raw) handshake() {
	c.t.Helper()
	if m := c.recvNew(); m.PayloadType != ssmproto.HandshakeRequestType {
		c.t.Fatalf("the first message is %+v", m)
	}
	c.answer()
}

// answer answers the HandshakeRequest and waits for HandshakeComplete.
func (c *raw) answer() {
	c.t.Helper()
	c.answerAs("1.2.896.0")
}

func (c *raw) answerAs(version string) {
	c.t.Helper()
	c.send(0, ssmproto.HandshakeResponse, strings.Replace(handshakeAnswer, "1.2.896.0", version, 1))
	c.next = 1
	m := c.recvNew()
	if m.PayloadType == ssmproto.HandshakeRequestType { // had, but not by recvNew
		m = c.recvNew()
	}
	if m.PayloadType != ssmproto.HandshakeComplete {
		c.t.Fatalf("no HandshakeComplete but %+v", m)
	}
}

// connect starts a session whose port is connected, at both ends.
func connect(t testing.TB, s *Server, far func() net.Conn) (*raw, net.Conn) {
	t.Helper()
	c := start(t, s)
	c.handshake()
	port := far()
	// The agent knows of the connection once it has carried something.
	port.Write([]byte("hello"))
	if m := c.recvData(); string(m.Payload) != "hello" {
		t.Fatalf("got %q, not the port's hello", m.Payload)
	}
	return c, port
}

// read reads exactly n bytes.
func read(t testing.TB, r net.Conn, n int) string {
	t.Helper()
	r.SetReadDeadline(time.Now().Add(wait))
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// eventually waits for a condition that nothing signals.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(wait); !f(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", wait, what)
		}
	}
}

// ended waits for the session to end.
func (c *raw) ended() {
	c.t.Helper()
	select {
	case <-c.session().Done():
	case <-time.After(wait):
		c.t.Fatal("the session does not end")
	}
}
