package ssmproto_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// newTalker is a server that reads a request's head and then calls say, for each
// connection.
func newTalker(t testing.TB, say func(w io.Writer)) net.Listener {
	t.Helper()
	checkLeaks(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					say(conn)
				}
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l
}

// grantTo is a session whose data channel is at an address.
type grantTo string

func (g grantTo) Open(context.Context) (ssmproto.Grant, error) {
	return ssmproto.Grant{URL: string(g), Token: "t"}, nil
}
func (g grantTo) Resume(ctx context.Context) (ssmproto.Grant, error) { return g.Open(ctx) }
func (g grantTo) Terminate(context.Context) error                    { return nil }

func endless(start, line string) func(io.Writer) {
	return func(w io.Writer) {
		_, err := io.WriteString(w, start)
		for err == nil {
			_, err = io.WriteString(w, line)
		}
	}
}

// TestEndlessHeads: what is read before the far side has proved anything has a
// limit, whoever it is.
func TestEndlessHeads(t *testing.T) {
	for name, say := range map[string]func(io.Writer){
		"headers":     endless("HTTP/1.1 101 Switching Protocols\r\n", strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 64)),
		"one header":  endless("HTTP/1.1 200 OK\r\nX: ", strings.Repeat("y", 64<<10)),
		"status line": endless("HTTP/1.1 ", strings.Repeat("y", 64<<10)),
		"no line":     endless("", strings.Repeat("\x00", 64<<10)),
	} {
		for who, via := range map[string]bool{"service": false, "proxy": true} {
			t.Run(name+" of a "+who, func(t *testing.T) {
				tk := newTalker(t, say)
				cfg := &ssmproto.Config{Transport: &http.Transport{}}
				to := grantTo("ws://" + tk.Addr().String() + "/")
				if via {
					proxy, _ := url.Parse("http://user:secret@" + tk.Addr().String())
					cfg.Transport.Proxy = http.ProxyURL(proxy)
					to = "ws://service.invalid/"
				}
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				defer cancel()
				_, err := ssmproto.Dial(ctx, to, cfg)
				if err == nil || !strings.Contains(err.Error(), "response header has more than 65536 bytes") || len(err.Error()) > 500 || strings.Contains(err.Error(), "secret") {
					t.Errorf("got %.1000v", err)
				}
			})
		}
	}
}

// TestProxyThatRefuses: its name, but no secret of it, and its word; at once,
// because it will not say another.
func TestProxyThatRefuses(t *testing.T) {
	for _, answer := range []string{"403 Forbidden", "407 Proxy Authentication Required", "302 Found\r\nLocation: http://portal.example/"} {
		tk := newTalker(t, func(w io.Writer) { io.WriteString(w, "HTTP/1.1 "+answer+"\r\nContent-Length: 0\r\n\r\n") })
		proxy, _ := url.Parse("http://user:secret@" + tk.Addr().String())
		_, err := ssmproto.Dial(context.Background(), grantTo("wss://service.invalid/"), &ssmproto.Config{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}})
		var refused *ssmproto.ProxyError
		want, _, _ := strings.Cut(answer, "\r")
		if !errors.As(err, &refused) || err.Error() != "data channel: proxy http://"+tk.Addr().String()+" refused to connect to service.invalid:443: "+want {
			t.Errorf("got %v", err)
		}
	}
}

// TestPortal: a page or a redirection is not the service's refusal.
func TestPortal(t *testing.T) {
	for _, tt := range []struct {
		answer  string
		foreign bool
		leadsTo string
	}{
		{"302 Found\r\nLocation: https://user:secret@portal.example/login?token=secret", true, "portal.example"},
		{"200 OK\r\nContent-Type: text/html; charset=utf-8", true, ""},
		{"403 Forbidden\r\nContent-Type: TEXT/HTML", true, ""},
		{"511 Network Authentication Required", true, ""},
		{"407 Proxy Authentication Required", true, ""},
		{"403 Forbidden\r\nContent-Type: text/html\r\nx-amzn-RequestId: 1", false, ""},
		{"403 Forbidden", false, ""},
		{"400 Bad Request\r\nContent-Type: application/json", false, ""},
	} {
		tk := newTalker(t, func(w io.Writer) { io.WriteString(w, "HTTP/1.1 "+tt.answer+"\r\nContent-Length: 0\r\n\r\n") })
		_, err := ssmproto.Dial(context.Background(), grantTo("ws://"+tk.Addr().String()+"/"), &ssmproto.Config{Transport: &http.Transport{}})
		var refused *ssmproto.UpgradeError
		if !errors.As(err, &refused) || refused.Foreign != tt.foreign || refused.LeadsTo != tt.leadsTo || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got %v, %+v", tt.answer, err, refused)
		}
	}
}
