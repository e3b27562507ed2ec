package ssmtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/ssmpipe/ssmpipe/ssmproto"
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
			<-time.After(20 * pace)
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
