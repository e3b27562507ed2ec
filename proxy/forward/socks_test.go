package forward

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// scripted is a client that says what it has to say and keeps the answers.
type scripted struct {
	net.Conn
	in  *bytes.Reader
	out bytes.Buffer
}

func (s *scripted) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s *scripted) Write(p []byte) (int, error) { return s.out.Write(p) }
func (s *scripted) SetDeadline(time.Time) error { return nil }

func TestSOCKS(t *testing.T) {
	name := func(s string) string { return "\x03" + string(rune(len(s))) + s }
	const hello = "\x05\x01\x00"
	for _, tt := range []struct {
		what, said string
		want       machine.Destination
		answer     string
		err        error
	}{
		{"a name", hello + "\x05\x01\x00" + name("web.internal") + "\x00\x50", machine.Destination{Host: "web.internal", Port: "80"}, "\x05\x00", nil},
		{"localhost", hello + "\x05\x01\x00" + name("localhost") + "\x00\x50", machine.Destination{Host: "", Port: "80"}, "\x05\x00", nil},
		{"IPv4", hello + "\x05\x01\x00\x01\x0a\x00\x00\x07\x1f\x90", machine.Destination{Host: "10.0.0.7", Port: "8080"}, "\x05\x00", nil},
		{"IPv6", hello + "\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\xbb", machine.Destination{Host: "2001:db8::1", Port: "443"}, "\x05\x00", nil},
		{"among other methods", "\x05\x03\x02\x01\x00\x05\x01\x00" + name("w") + "\x00\x50", machine.Destination{Host: "w", Port: "80"}, "\x05\x00", nil},
		{"passwords only", "\x05\x01\x02", machine.Destination{}, "\x05\xff", errSOCKS},
		{"no method", "\x05\x00", machine.Destination{}, "\x05\xff", errSOCKS},
		{"SOCKS4", "\x04\x01\x00\x50\x0a\x00\x00\x07\x00", machine.Destination{}, "", errSOCKS},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", machine.Destination{}, "", errSOCKS},
		{"BIND", hello + "\x05\x02\x00\x01\x0a\x00\x00\x07\x1f\x90", machine.Destination{}, "\x05\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00", errSOCKS},
		{"UDP", hello + "\x05\x03\x00\x01\x0a\x00\x00\x07\x1f\x90", machine.Destination{}, "\x05\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00", errSOCKS},
		{"unknown address", hello + "\x05\x01\x00\x05\x0a\x00\x00\x07\x1f\x90", machine.Destination{}, "\x05\x00\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00", errSOCKS},
		{"empty name", hello + "\x05\x01\x00\x03\x00\x1f\x90", machine.Destination{}, "\x05\x00\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00", errSOCKS},
		{"a name for the terminal", hello + "\x05\x01\x00" + name("\x1b[2J") + "\x1f\x90", machine.Destination{}, "\x05\x00\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00", errSOCKS},
		{"port 0", hello + "\x05\x01\x00" + name("w") + "\x00\x00", machine.Destination{}, "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", errSOCKS},
		{"cut off", hello + "\x05\x01\x00\x03\x09web", machine.Destination{}, "\x05\x00", io.ErrUnexpectedEOF},
		{"nothing", "", machine.Destination{}, "", io.EOF},
	} {
		c := &scripted{in: bytes.NewReader([]byte(tt.said))}
		got, err := acceptSOCKS(c)
		if got != tt.want || !errors.Is(err, tt.err) || c.out.String() != tt.answer {
			t.Errorf("%s: %+v, %v, answer %q", tt.what, got, err, c.out.String())
		}
	}
}

func FuzzSOCKS(f *testing.F) {
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x03\x03web\x00\x50"))
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\xbb"))
	f.Fuzz(func(t *testing.T, said []byte) {
		c := &scripted{in: bytes.NewReader(said)}
		d, err := acceptSOCKS(c)
		if err == nil && (d.Port == "" || d.Port == "0" || safetext.Printable(d.Host) != d.Host) {
			t.Errorf("%q: %+v", said, d)
		}
		if len(c.out.Bytes()) > 2+socksReplyLength {
			t.Errorf("%q: answer %q", said, c.out.Bytes())
		}
	})
}
