package ssmtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest/agent"
)

// line is one of a capture.
type line struct {
	Dir, Type, Hex, Event string
	frame                 []byte
	message               ssmproto.Message
}

func capture(t *testing.T, name string) (lines []line) {
	t.Helper()
	f, err := os.Open("../../testdata/wire/" + name + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var l line
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		if l.Type == "binary" {
			if l.frame, err = hex.DecodeString(l.Hex); err != nil {
				t.Fatal(err)
			}
			if l.message, err = ssmproto.Parse(l.frame); err != nil {
				t.Fatal(err)
			}
		}
		lines = append(lines, l)
	}
	return lines
}

var (
	varying   = regexp.MustCompile(`"(CreatedDate|MessageId|SessionId)":"[^"]+"|"HandshakeTimeToComplete":[1-9][0-9]+`)
	afterName = regexp.MustCompile(`:.*`)
)

// fixed is m without what differs from run to run, which must be there.
func fixed(t *testing.T, m ssmproto.Message) string {
	t.Helper()
	if m.Created == 0 || m.ID == (ssmproto.UUID{}) {
		t.Errorf("no date or no id: %+v", m)
	}
	m.Created, m.ID = 0, ssmproto.UUID{}
	m.Payload = varying.ReplaceAllFunc(m.Payload, func(b []byte) []byte { return afterName.ReplaceAll(b, nil) })
	return string(m.Append(nil))
}

// TestAgentSendsWhatIsInTheCaptures replays the client's side of each capture,
// and the port's, and expects the agent's and the service's messages to be
// those of the capture in every field.
func TestAgentSendsWhatIsInTheCaptures(t *testing.T) {
	for _, name := range []string{"ssh-remote-close", "ssh-local-close", "ssh-closed-port", "ssh-resume"} {
		t.Run(name, func(t *testing.T) { replay(t, capture(t, name), name) })
	}
}

func replay(t *testing.T, lines []line, name string) {
	s, far := newServer(t, Config{})
	portNumber := "22022"
	if name == "ssh-closed-port" {
		portNumber = "19999"
		s.AddNode(Node{ID: nodeID, Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("connection refused")
		}})
	}
	var c *raw
	var port net.Conn
	written := int64(1) // the last number of the agent's that its port has got
	var early []ssmproto.Message
	seen := make(map[string]bool)
	expect := func(want ssmproto.Message) {
		for i, m := range early {
			if fixed(t, m) == fixed(t, want) {
				early = append(early[:i], early[i+1:]...)
				seen[fixed(t, m)] = true
				return
			}
		}
		for {
			m, err := c.tryRecv(wait)
			if err != nil {
				t.Fatalf("waiting for %s %d %q: %v (%d others came)", want.Type, want.Sequence, want.Payload, err, len(early))
			}
			if m.Payload = bytes.Clone(m.Payload); fixed(t, m) == fixed(t, want) {
				seen[fixed(t, m)] = true
				return
			}
			early = append(early, m)
		}
	}
	for i, l := range lines {
		m := l.message
		switch {
		case strings.Contains(l.Event, "cut"):
			// The agent waits in its port's Read when it is cut, not in its pace:
			// what the port sends then is lost, and comes again.
			<-time.After(20 * agent.Pace)
			s.Cut(CutReset)
			for _, later := range lines[i:] {
				if m := later.message; m.Type == ssmproto.OutputStreamData && m.Sequence == written+1 {
					at := c.session().BytesDown() + int64(len(m.Payload))
					port.Write(m.Payload)
					written++
					eventually(t, "the agent reads once more", func() bool { return c.session().BytesDown() == at })
					break
				}
			}
		case l.Event != "":
			c.resume()
		case l.Type == "text" && c == nil:
			c = startTo(t, s, portNumber)
		case l.Type == "text":
		case l.Dir == "client>":
			if m.Type == ssmproto.InputStreamData && m.PayloadType == ssmproto.Output {
				if port == nil { // the agent may not have noticed yet
					port = far()
					eventually(t, "the first data arrives", func() bool {
						c.ws.WriteMessage(websocket.BinaryMessage, l.frame)
						return c.session().BytesUp() > 0
					})
				} else {
					c.ws.WriteMessage(websocket.BinaryMessage, l.frame)
				}
				if got := read(t, port, len(m.Payload)); got != string(m.Payload) {
					t.Fatalf("the port got %q, not %q", got, m.Payload)
				}
				continue
			}
			c.ws.WriteMessage(websocket.BinaryMessage, l.frame)
		case m.Type == ssmproto.OutputStreamData && m.Sequence > written:
			written = m.Sequence
			port.Write(m.Payload)
			expect(m)
		case m.Type == ssmproto.PausePublication && port != nil:
			port.Close()
			expect(m)
		default:
			expect(m)
		}
	}
	for _, m := range early {
		if !seen[fixed(t, m)] {
			t.Errorf("not in the capture: %s %d %q", m.Type, m.Sequence, m.Payload)
		}
	}
	if lines[len(lines)-1].Dir == "client>" {
		lines = lines[:len(lines)-1] // a late acknowledgement
	}
	if lines[len(lines)-1].message.Type != ssmproto.ChannelClosed {
		if s.ActiveSessions() != 1 {
			t.Error("the session has ended, but did not in the capture")
		}
		return
	}
	c.ended()
	for {
		_, err := c.tryRecv(wait)
		if err == nil {
			continue
		}
		if !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			t.Errorf("the end: %v", err)
		}
		return
	}
}

// TestAgentForwardsAsInTheCaptures replays the client's side of the captures of
// port forwarding and expects the agent's messages to be those of the capture,
// in its order but for acknowledgements.
func TestAgentForwardsAsInTheCaptures(t *testing.T) {
	for name, parameters := range map[string]map[string][]string{
		"mux-closed-port":    {"portNumber": {"19999"}, "localPortNumber": {"20013"}},
		"mux-terminate-flag": {"portNumber": {"19002"}, "localPortNumber": {"20012"}},
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			s, _ := newServer(t, Config{})
			var dialled atomic.Bool
			s.AddNode(Node{ID: nodeID, Dial: func(context.Context, string, string) (net.Conn, error) {
				dialled.Store(true)
				if name == "mux-closed-port" {
					return nil, errors.New("connection refused")
				}
				near, far := net.Pipe()
				go func() {
					defer far.Close()
					io.Copy(far, far)
				}()
				return near, nil
			}})
			c := startDocument(t, s, "AWS-StartPortForwardingSession", parameters)
			var got, want []string
			receive := func() {
				if m := c.recv(); m.Type != ssmproto.Acknowledge {
					c.ack(m)
					got = append(got, fixed(t, m))
				}
			}
			var flag ssmproto.Message
			for _, l := range capture(t, name) {
				m := l.message
				switch {
				case m.Type == ssmproto.OutputStreamData:
					want = append(want, fixed(t, m))
					for len(got) < len(want) {
						receive()
					}
				case m.Type == ssmproto.InputStreamData && m.PayloadType == ssmproto.FlagPayload:
					flag = m
				case m.Type == ssmproto.InputStreamData:
					c.ws.WriteMessage(websocket.BinaryMessage, l.frame)
					if m.Sequence == 1 { // it keeps nothing until it is ready
						eventually(t, "the agent dials", func() bool {
							c.ws.WriteMessage(websocket.BinaryMessage, l.frame)
							return dialled.Load()
						})
					}
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got\n%q, want\n%q", got, want)
			}
			if c.session().Ended() {
				t.Error("the session has ended before the flag")
			}
			c.write(&flag)
			c.ended()
		})
	}
}
