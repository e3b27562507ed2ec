//go:build unix

package plugin_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

const (
	sshDocument    = "AWS-StartSSHSession"
	portDocument   = "AWS-StartPortForwardingSession"
	remoteDocument = "AWS-StartPortForwardingSessionToRemoteHost"
)

// TestPluginStream: of an SSH-type session there is the stream on stdout and
// nothing else, however the response is passed, and through cuts.
func TestPluginStream(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(cmd *[]string, env *[]string){
		"as it is":    func(*[]string, *[]string) {},
		"three":       func(args, _ *[]string) { *args = (*args)[:3] },
		"no endpoint": func(args, _ *[]string) { *args = (*args)[:5] },
		"no request":  func(args, _ *[]string) { (*args)[4], (*args)[5] = "", "" },
		"ECS endpoint": func(args, _ *[]string) {
			(*args)[5] = "https://ecs.us-east-1.amazonaws.com"
		},
		"lower camel case": func(args, _ *[]string) {
			(*args)[0] = strings.NewReplacer("SessionId", "sessionId", "StreamUrl", "streamUrl", "TokenValue", "tokenValue").Replace((*args)[0])
		},
		"in a variable": func(args, env *[]string) {
			*env = append(*env, "AWS_SSM_START_SESSION_RESPONSE_7="+(*args)[0])
			(*args)[0] = "AWS_SSM_START_SESSION_RESPONSE_7"
		},
		"environment's profile": func(args, env *[]string) {
			*env = append(*env, "AWS_PROFILE=keys-go-first")
			(*args)[3] = "keys-go-first"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := rigtest.Random(300_000, 9)
			// The far side stays until all has come, as sshd does: the agent waits
			// for 2 s only until what it sent last is acknowledged.
			address := rigtest.ServeTCP(t, func(c net.Conn) {
				io.CopyN(c, c, int64(len(data)))
				io.ReadFull(c, make([]byte, len("bye")))
			})
			r := newPluginRig(t, rigtest.Service(t, rigtest.Fast, address))
			if name == "as it is" {
				r.CutEach(func(link int) (int64, ssmtest.Cut) {
					return map[bool]int64{true: 100_000, false: -1}[link < 4], ssmtest.Cut(link % 3)
				})
			}
			args := r.begin(t, sshDocument, nil)
			change(&args, &r.env)
			if name == "environment's profile" {
				r.env = append(r.env, "AWS_CONFIG_FILE="+t.TempDir()+"/config")
				rigtest.WriteFile(t, strings.TrimPrefix(r.env[len(r.env)-1], "AWS_CONFIG_FILE="), "[profile keys-go-first]\naws_access_key_id = a\naws_secret_access_key = b\n")
			}
			p := startPlugin(t, r.plugin(args...))
			go p.stdin.Write(data)
			rigtest.WaitFor(t, "echo", func() bool {
				select {
				case <-p.ended:
					return true
				default:
					return len(p.stdout.String()) >= len(data)
				}
			})
			io.WriteString(p.stdin, "bye")
			p.wantEnd(t, r.Server, 0, "")
			rigtest.Equal(t, "stdout", []byte(p.stdout.String()), data)
			if s := r.Sessions()[0]; name == "as it is" && s.Resumes() == 0 {
				t.Error("nothing was cut")
			}
		})
	}
}

// fetchPage gets a page through a forwarded port.
func fetchPage(url string) (string, error) {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

// pageServer is a web server with a page of some size, which it repeats.
func pageServer(t testing.TB, page string) (address string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, page) }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// TestPluginPort: the lines on stdout are AWS's word by word; connections go
// through, several at once; Ctrl-C ends it and that is no failure.
func TestPluginPort(t *testing.T) {
	t.Parallel()
	page := string(rigtest.Random(200_000, 4))
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		r := newPluginRig(t, rigtest.Service(t, rigtest.Fast, pageServer(t, page)))
		w := startPlugin(t, r.plugin(r.begin(t, portDocument, map[string][]string{"portNumber": {"80"}})...))
		w.saw(t, "Waiting for connections...")
		s := r.Sessions()[0]
		port := regexp.MustCompile(`^\nStarting session with SessionId: ` + s.ID() + `\nPort (\d+) opened for sessionId ` + s.ID() + `\.\nWaiting for connections\.\.\.\n$`).
			FindStringSubmatch(w.stdout.String())
		if port == nil {
			t.Fatalf("stdout %q", w.stdout.String())
		}
		r.Cut(ssmtest.CutReset)
		var all sync.WaitGroup
		for _, host := range []string{"127.0.0.1", "localhost", "localhost"} {
			all.Go(func() {
				if got, err := fetchPage("http://" + net.JoinHostPort(host, port[1])); got != page {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			})
		}
		all.Wait()
		w.Process.Signal(sig)
		w.wantEnd(t, r.Server, 0, "")
		want := "\nConnection accepted for session [" + s.ID() + "]\nTerminate signal received, exiting.\n\n\nExiting session with sessionId: " + s.ID() + ".\n\n"
		if _, rest, _ := strings.Cut(w.stdout.String(), "connections...\n"); rest != want {
			t.Errorf("stdout goes on with %q", rest)
		}
		if _, err := net.Dial("tcp", "127.0.0.1:"+port[1]); err == nil {
			t.Error("it still listens")
		}
	}
}

// TestPluginPortChosen: the port and the host are those that were asked for.
func TestPluginPortChosen(t *testing.T) {
	t.Parallel()
	r := newPluginRig(t, rigtest.Service(t, rigtest.Fast, pageServer(t, "page")))
	r.env = append(r.env, "SSM_PLUGIN_LOCAL_HOST=127.0.0.2")
	_, port, _ := net.SplitHostPort(rigtest.FreePort(t))
	args := r.begin(t, remoteDocument, map[string][]string{"host": {"db.internal"}, "portNumber": {"80"}, "localPortNumber": {port}})
	w := startPlugin(t, r.plugin(args...))
	w.saw(t, "Port "+port+" opened for sessionId ")
	w.saw(t, "Waiting for connections...")
	if got, err := fetchPage("http://127.0.0.2:" + port); got != "page" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
		t.Error("it listens elsewhere, too")
	}
	// The port is taken now: another session says so, and ends.
	other := startPlugin(t, r.plugin(r.begin(t, portDocument, map[string][]string{"portNumber": {"80"}, "localPortNumber": {port}})...))
	<-other.ended
	if other.ProcessState.ExitCode() != 1 || !strings.Contains(other.stderr.String(), "cannot listen on 127.0.0.2:"+port) || strings.Contains(other.stdout.String(), "opened") {
		t.Errorf("%v, stdout %q, stderr %q", other.ProcessState, other.stdout.String(), other.stderr.String())
	}
	rigtest.WaitFor(t, "end of the other session", func() bool { return r.ActiveSessions() == 1 })
	w.interrupt()
	w.wantEnd(t, r.Server, 0, "")
}

// TestPluginPortEnds: how a port's session ends without us.
func TestPluginPortEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, line, stderr string
		status             int
	}{
		{"", "\n\nExiting session with sessionId: %s.\n\n", "", 0},
		{"Your session timed out due to inactivity.", "\n\nSessionId: %s : Your session timed out due to inactivity.\n\n", "timed out due to inactivity", 1},
	} {
		r := newPluginRig(t, rigtest.Service(t, rigtest.Fast, pageServer(t, "page")))
		w := startPlugin(t, r.plugin(r.begin(t, portDocument, map[string][]string{"portNumber": {"80"}})...))
		w.saw(t, "Waiting for connections...")
		s := r.Sessions()[0]
		s.End(c.name)
		w.wantEnd(t, r.Server, c.status, c.stderr)
		if want := fmt.Sprintf(c.line, s.ID()); !strings.HasSuffix(w.stdout.String(), want) {
			t.Errorf("stdout %q does not end with %q", w.stdout.String(), want)
		}
	}
}

// TestPluginClosedPort: the line that scripts look for is there.
func TestPluginClosedPort(t *testing.T) {
	t.Parallel()
	r := newPluginRig(t, rigtest.Service(t, rigtest.Fast, rigtest.FreePort(t)))
	w := startPlugin(t, r.plugin(r.begin(t, portDocument, map[string][]string{"portNumber": {"80"}})...))
	port := strings.Fields(w.saw(t, "\nPort "))[0]
	w.saw(t, "Waiting for connections...")
	if _, err := fetchPage("http://127.0.0.1:" + port); err == nil {
		t.Error("something answered")
	}
	w.saw(t, "\nConnection to destination port failed, check SSM Agent logs.")
	w.interrupt()
	w.wantEnd(t, r.Server, 0, "")
}

// TestPluginClosedPortOldAgent: there the session ends by it, before anything
// has connected.
func TestPluginClosedPortOldAgent(t *testing.T) {
	t.Parallel()
	old := rigtest.Fast
	old.Agent.Version = "2.3.50.0"
	r := newPluginRig(t, rigtest.Service(t, old, rigtest.FreePort(t)))
	w := startPlugin(t, r.plugin(r.begin(t, portDocument, map[string][]string{"portNumber": {"80"}})...))
	w.wantEnd(t, r.Server, 1, "check that something listens on port 80 there")
	w.saw(t, "\nConnection to destination port failed, check SSM Agent logs.")
}

// TestPluginOldAgent: an agent without the multiplexer has one connection after
// the other.
func TestPluginOldAgent(t *testing.T) {
	t.Parallel()
	old := rigtest.Fast
	old.Agent.Version = "2.3.50.0"
	r := newPluginRig(t, rigtest.Service(t, old, pageServer(t, "page")))
	w := startPlugin(t, r.plugin(r.begin(t, portDocument, map[string][]string{"portNumber": {"80"}})...))
	port := strings.Fields(w.saw(t, "\nPort "))[0]
	w.saw(t, "Waiting for connections...")
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if got, err := fetchPage("http://127.0.0.1:" + port); got != "page" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	all.Wait()
	if n := r.Sessions()[0].Dials(); n != 4 {
		t.Errorf("%d dials", n)
	}
	w.interrupt()
	w.wantEnd(t, r.Server, 0, "")
}

// TestPluginStdoutClosed: a script that has seen what it waited for may close
// the pipe, and the forward goes on.
func TestPluginStdoutClosed(t *testing.T) {
	t.Parallel()
	r := newPluginRig(t, rigtest.Service(t, rigtest.Fast, pageServer(t, "page")))
	_, port, _ := net.SplitHostPort(rigtest.FreePort(t))
	cmd := r.plugin(r.begin(t, portDocument, map[string][]string{"portNumber": {"80"}, "localPortNumber": {port}})...)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = writer
	rigtest.Start(t, cmd)
	writer.Close()
	reader.Read(make([]byte, 1000))
	reader.Close()
	rigtest.WaitFor(t, "page", func() bool { got, _ := fetchPage("http://127.0.0.1:" + port); return got == "page" })
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestPluginRefusals: what does not work is told on stderr in a line, with
// nothing on stdout, and ends in a status that says so.
func TestPluginRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(r *pluginRig, args []string) []string
		status int
		stderr string
		left   bool // the session, which we have nothing to end by
	}{
		{"no JSON", func(_ *pluginRig, a []string) []string { a[0] = "secret{"; return a }, 2, "the response to StartSession is not JSON", true},
		{"no token", func(_ *pluginRig, a []string) []string { a[0] = `{"SessionId":"s"}`; return a }, 2, "SessionId, StreamUrl or TokenValue is missing", true},
		{"no variable", func(_ *pluginRig, a []string) []string { a[0] = "AWS_SSM_START_SESSION_RESPONSE"; return a }, 2, "AWS_SSM_START_SESSION_RESPONSE is not set", true},
		{"other operation", func(_ *pluginRig, a []string) []string { a[2] = "StopSession"; return a }, 2, `not "StopSession"`, true},
		{"other region", func(_ *pluginRig, a []string) []string { a[1] = "eu-west-1"; return a }, 1, "OpenDataChannel", true},
		{"no such profile", func(_ *pluginRig, a []string) []string { a[3] = "nobody"; return a }, 1, "nobody", true},
		{"no credentials", func(r *pluginRig, a []string) []string {
			r.env = append(r.env, "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=")
			return a
		}, 1, "no credentials: ", true},
		{"bad endpoint", func(r *pluginRig, a []string) []string {
			r.env = append(r.env, "AWS_ENDPOINT_URL_SSMMESSAGES=nothing")
			return a
		}, 1, `AWS_ENDPOINT_URL_SSMMESSAGES is not a URL`, false},
		{"refused", func(r *pluginRig, a []string) []string {
			r.OnUpgrade(func(int) int { return 403 })
			return a
		}, 1, "allow ssmmessages:OpenDataChannel", false},
		{"closed port", func(_ *pluginRig, a []string) []string { return a }, 1, "could not connect to the port; check that something listens on port 4711 there", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newPluginRig(t, rigtest.Service(t, rigtest.Fast, rigtest.FreePort(t)))
			args := c.change(r, r.begin(t, sshDocument, map[string][]string{"portNumber": {"4711"}}))
			got := rigtest.Run(t, r.plugin(args...), nil)
			if got.Status != c.status || len(got.Stdout) > 0 || !strings.Contains(got.Stderr, c.stderr) ||
				!strings.HasPrefix(got.Stderr, "ssmpipe: ") || strings.Contains(got.Stderr, "secret") {
				t.Errorf("%+v", got)
			}
			if n := r.ActiveSessions(); c.left != (n > 0) {
				t.Errorf("%d sessions left", n)
			}
			r.Sessions()[0].End("") // what is left there
		})
	}
}

// TestPluginToken: a token that is no good any more is replaced.
func TestPluginToken(t *testing.T) {
	t.Parallel()
	data := rigtest.Random(50_000, 2)
	r := newPluginRig(t, rigtest.Service(t, rigtest.Fast, rigtest.ServeTCP(t, func(c net.Conn) { io.CopyN(c, c, int64(len(data))) })))
	args := r.begin(t, sshDocument, nil)
	args[0] = regexp.MustCompile(`"TokenValue":"[^"]*"`).ReplaceAllString(args[0], `"TokenValue":"used"`)
	rigtest.Equal(t, "stdout", rigtest.Succeed(t, r.plugin(args...), bytes.NewReader(data)), data)
}

// TestPluginSkipsSigning: without credentials there is the one connection.
func TestPluginSkipsSigning(t *testing.T) {
	t.Parallel()
	cfg := rigtest.Fast
	cfg.NoSignatureCheck = true
	hold := make(chan struct{})
	r := newPluginRig(t, rigtest.Service(t, cfg, rigtest.ServeTCP(t, func(c net.Conn) {
		io.CopyN(c, c, 5)
		<-hold
	})))
	defer close(hold)
	r.env = append(slices.Clone(r.env), "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "SSM_PLUGIN_SKIP_CLIENT_CONFIGURE=true")
	w := startPlugin(t, r.plugin(r.begin(t, sshDocument, nil)...))
	io.WriteString(w.stdin, "hello")
	rigtest.WaitFor(t, "echo", func() bool { return w.stdout.String() == "hello" })
	r.Cut(ssmtest.CutReset)
	<-w.ended
	if w.ProcessState.ExitCode() != 1 || !strings.Contains(w.stderr.String(), "no credentials") || w.stdout.String() != "hello" {
		t.Errorf("%v: stdout %q, stderr %q", w.ProcessState, w.stdout.String(), w.stderr.String())
	}
	r.Sessions()[0].End("") // there is nothing to end it by

	w = startPlugin(t, r.plugin(r.begin(t, sshDocument, nil)...))
	io.WriteString(w.stdin, "hello")
	rigtest.WaitFor(t, "echo", func() bool { return w.stdout.String() == "hello" })
	w.Process.Signal(syscall.SIGTERM)
	<-w.ended
	rigtest.WaitFor(t, "end of the session", func() bool { return r.ActiveSessions() == 0 }) // the agent was told
}
