//go:build unix

package plugin_test

import (
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
)

// forwardPort starts a plugin with a session to a port, and returns where it
// listens.
func (r *pluginRig) forwardPort(t testing.TB, change func(args []string)) (w *pluginProcess, address string) {
	t.Helper()
	args := r.begin(t, portDocument, map[string][]string{"portNumber": {"80"}, "localPortNumber": {"0"}})
	change(args)
	w = startPlugin(t, r.plugin(args...))
	address = "127.0.0.1:" + strings.Fields(w.saw(t, "\nPort "))[0]
	w.saw(t, "Waiting for connections...")
	return w, address
}

// connectEcho opens a connection to an echo server.
func connectEcho(t testing.TB, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	io.WriteString(c, "x")
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestPluginAfterAReboot that nobody has told the service of: new connections go
// by another session for the same, those from before do not hang, and the end is
// as ever.
func TestPluginAfterAReboot(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"", "2.3.50.0"} { // with the multiplexer, and without
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			cfg := rigtest.Fast
			cfg.Agent.Version = version
			r := newPluginRig(t, rigtest.Service(t, cfg, rigtest.ServeTCP(t, rigtest.Echo)))
			w, address := r.forwardPort(t, func([]string) {})
			old := connectEcho(t, address)
			back := r.RebootUnnoticed(rigtest.Node1)
			io.WriteString(old, "anybody there?")
			back()
			first := r.Sessions()[0]
			rigtest.WaitFor(t, "new connection", func() bool { return rigtest.Echoes(address) })
			if first.Ended() {
				t.Error("the session from before has ended already: that proves nothing of new connections")
			}
			if s := r.Sessions()[1]; s.Target() != rigtest.Node1 || s.Document() != portDocument || !reflect.DeepEqual(s.Parameters(), first.Parameters()) {
				t.Errorf("started %s %s %v, not as the first", s.Target(), s.Document(), s.Parameters())
			}
			rigtest.Fails(t, old, 90*time.Second)
			rigtest.WaitFor(t, "word of it", func() bool { return strings.Contains(w.stderr.String(), "probably restarted") })
			if !rigtest.Echoes(address) {
				t.Error("afterwards a new connection does not work")
			}
			select {
			case <-w.ended:
				t.Errorf("it has ended: %q", w.stderr.String())
			default:
			}
			w.interrupt()
			w.wantEnd(t, r.Server, 0, "has not answered for 1")
			if !strings.HasSuffix(w.stdout.String(), "\nTerminate signal received, exiting.\n\n\nExiting session with sessionId: "+first.ID()+".\n\n") {
				t.Errorf("stdout %q", w.stdout.String())
			}
		})
	}
}

// TestPluginAfterARebootAlone: where no other session can be started, a line
// says why and what to do. One that answers again is used again.
func TestPluginAfterARebootAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(r *pluginRig, args []string)
		why    string
	}{
		"no credentials": {func(r *pluginRig, _ []string) {
			r.env = append(r.env, "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "SSM_PLUGIN_SKIP_CLIENT_CONFIGURE=true")
		}, "(no credentials: "},
		"no request": {func(_ *pluginRig, args []string) { args[4] = "" }, "(the AWS CLI did not pass the request)"},
		"no permission": {func(r *pluginRig, _ []string) { r.DenyActions("ssm:StartSession") },
			"(AccessDeniedException: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := rigtest.Fast
			cfg.NoSignatureCheck = true
			r := newPluginRig(t, rigtest.Service(t, cfg, rigtest.ServeTCP(t, rigtest.Echo)))
			w, address := r.forwardPort(t, func(args []string) { c.change(r, args) })
			old := connectEcho(t, address)
			r.StallAgent(true)
			io.WriteString(old, "y")
			rigtest.WaitFor(t, "silence", func() bool {
				return !rigtest.Echoes(address) && strings.Contains(w.stderr.String(), "another could not be started ")
			})
			said := w.stderr.String()
			if !strings.Contains(said, c.why) || !strings.Contains(said, "; if new connections do not work soon, start the command again\n") {
				t.Errorf("stderr %q", said)
			}
			r.StallAgent(false)
			rigtest.WaitFor(t, "new connection", func() bool { return rigtest.Echoes(address) })
			if n := strings.Count(w.stderr.String(), "another could"); n != 1 || len(r.Sessions()) != 1 {
				t.Errorf("told %d times, %d sessions: %q", n, len(r.Sessions()), w.stderr.String())
			}
			w.interrupt()
			w.wantEnd(t, r.Server, 0, c.why)
		})
	}
}

// TestPluginStaysAlone: a program that does not read is no reason for another
// session than the one that was given.
func TestPluginStaysAlone(t *testing.T) {
	t.Parallel()
	r := newPluginRig(t, rigtest.Service(t, rigtest.Fast, rigtest.ServeTCP(t, func(c net.Conn) {
		for buf := make([]byte, 64<<10); ; {
			if _, err := c.Write(buf); err != nil {
				return
			}
		}
	})))
	w, address := r.forwardPort(t, func([]string) {})
	stuck, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	rigtest.WaitFor(t, "session that has much to stand still with", func() bool {
		return r.Sessions()[0].BytesDown() > 64<<20 // more than smux keeps
	})
	// A forward starts another session a second after the standstill.
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(500 * time.Millisecond))
		io.Copy(io.Discard, c)
		c.Close()
	}
	if n := r.Calls("StartSession"); n != 1 {
		t.Errorf("%d sessions were started", n)
	}
	w.interrupt()
	w.wantEnd(t, r.Server, 0, "")
}
