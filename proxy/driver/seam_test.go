package driver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/forward"
	"github.com/ssmpipe/ssmpipe/proxy/list"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/shell"
	"github.com/ssmpipe/ssmpipe/proxy/stdio"
	"github.com/ssmpipe/ssmpipe/proxy/table"
)

// said collects notices.
type said struct {
	mu    sync.Mutex
	lines []string
}

func (s *said) notice(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

// newMemory returns options for a machine of a cloud that has one that is awake
// and one that is not, and the port of a server that answers with what it reads.
func newMemory(t *testing.T, target string) (o machine.Options, notices *said, port string) {
	t.Setenv("SSMPIPE_CACHE", t.TempDir())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.WriteString(c, "SSH-2.0-echo\r\n")
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	notices = &said{}
	cloud := &memory{[]driver.Machine{
		{ID: "m-1", Region: "here", Name: "web", State: "running", Ping: "Online", Pinged: time.Now()},
		{ID: "m-2", Region: "here", Name: "db", State: "running", Ping: "ConnectionLost", Pinged: time.Now().Add(-time.Hour)},
	}}
	return machine.Options{Driver: cloud, Account: driver.Account{Notice: notices.notice}, Choice: machine.Choice{Target: target}, Port: port,
		Limits: machine.Limits{ConnectTimeout: 10 * time.Second}}, notices, port
}

// pipe returns both ends of a pipe.
func pipe(t *testing.T) (r, w *os.File) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// output returns a file, and a function that returns what was written to it.
func output(t *testing.T) (*os.File, func() string) {
	r, w := pipe(t)
	var text bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(&text, r)
	}()
	return w, func() string {
		w.Close()
		<-done
		return text.String()
	}
}

func TestProxy(t *testing.T) {
	o, notices, _ := newMemory(t, "WEB")
	in, typed := pipe(t)
	out, printed := pipe(t)
	ended := make(chan error, 1)
	go func() { ended <- stdio.Connect(t.Context(), stdio.Options{Options: o}, in, printed) }()
	io.WriteString(typed, "hello\n")
	buf := make([]byte, len("SSH-2.0-echo\r\nhello\n"))
	if _, err := io.ReadFull(out, buf); err != nil || string(buf) != "SSH-2.0-echo\r\nhello\n" {
		t.Errorf("%q, %v; %v", buf, err, notices)
	}
	typed.Close()
	out.Close()
	if err := <-ended; err != nil && !errors.Is(err, stdio.ErrGone) {
		t.Error(err)
	}
}

func TestProxyToAMachineThatIsAsleep(t *testing.T) {
	o, _, _ := newMemory(t, "db")
	in, _ := pipe(t)
	_, out := pipe(t)
	err := stdio.Connect(t.Context(), stdio.Options{Options: o}, in, out)
	const want = `db (m-2): the machine is asleep: its agent has not called in for 60 min; "ssmpipe doctor db" looks for the reason`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestProxyToAMisspeltName(t *testing.T) {
	o, _, _ := newMemory(t, "wbe")
	in, _ := pipe(t)
	_, out := pipe(t)
	o.Target = "weba"
	const want = "weba: there is no such machine in here; did you mean web?"
	if err := stdio.Connect(t.Context(), stdio.Options{Options: o}, in, out); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestForward(t *testing.T) {
	o, notices, port := newMemory(t, "web")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready := make(chan net.Addr, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- forward.Run(ctx, forward.Options{Options: o,
			Specs: []forward.Spec{{Network: "tcp", Listen: "127.0.0.1:0", Port: port}},
			Ready: func(l forward.Listening) { ready <- l.Addr }})
	}()
	var at net.Addr
	select {
	case at = <-ready:
	case err := <-ended:
		t.Fatal(err, notices)
	}
	for i := range 3 {
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("SSH-2.0-echo\r\nhello %d\n", i)
		fmt.Fprintf(c, "hello %d\n", i)
		buf := make([]byte, len(text))
		if _, err := io.ReadFull(c, buf); err != nil || string(buf) != text {
			t.Errorf("%q, %v; %v", buf, err, notices)
		}
		c.Close()
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestShell(t *testing.T) {
	o, notices, _ := newMemory(t, "web")
	in, typed := pipe(t)
	out, text := output(t)
	io.WriteString(typed, "echo hello\nexit\n")
	if err := shell.Run(t.Context(), shell.Options{Options: o, Terminal: shell.Terminal{In: in, Out: out, Err: out}}); err != nil {
		t.Error(err)
	}
	if got := text(); got != "hello\n" || notices.String() != "welcome to memory" {
		t.Errorf("%q, %v", got, notices)
	}
}

func TestExec(t *testing.T) {
	for command, want := range map[string]struct {
		out, err string
		status   int
	}{
		"echo hello": {out: "hello\n"},
		"fail badly": {err: "badly\n", status: 3},
		"what":       {err: "what: not found\n", status: 127},
	} {
		o, notices, _ := newMemory(t, "m-1")
		in, _ := pipe(t)
		out, outText := output(t)
		errs, errText := output(t)
		status, err := shell.Exec(t.Context(), shell.ExecOptions{Options: o, Command: strings.Fields(command), Terminal: shell.Terminal{In: in, Out: out, Err: errs}})
		if gotOut, gotErr := outText(), errText(); err != nil || status != want.status || gotOut != want.out || gotErr != want.err || notices.String() != "" {
			t.Errorf("%s: status %d, %q, %q, %v; %v", command, status, gotOut, gotErr, err, notices)
		}
	}
}

func TestLs(t *testing.T) {
	o, notices, _ := newMemory(t, "")
	var out bytes.Buffer
	if err := list.Machines(t.Context(), list.MachinesOptions{Options: o, Patterns: []string{"w*"}, Screen: table.Screen{Out: &out}}); err != nil {
		t.Error(err, notices)
	}
	if lines := strings.Split(out.String(), "\n"); len(lines) != 3 || !strings.HasPrefix(lines[1], "web ") || !strings.Contains(lines[1], "m-1") || !strings.Contains(lines[1], "online") {
		t.Errorf("%q", out.String())
	}
	for what, err := range map[string]error{
		"containers": list.Machines(t.Context(), list.MachinesOptions{Options: o, ECS: true, Screen: table.Screen{Out: &out}}),
		"regions":    list.Machines(t.Context(), list.MachinesOptions{Options: o, Regions: []string{list.AllRegions}, Screen: table.Screen{Out: &out}}),
		"sessions":   list.Sessions(t.Context(), list.SessionsOptions{Options: o, Screen: table.Screen{Out: &out}}),
	} {
		if !errors.Is(err, machine.ErrUnsupported) && !(errors.Is(err, machine.ErrTold) && strings.Contains(notices.String(), machine.ErrUnsupported.Error())) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestNoAWS: what these tests run does not depend on any package of AWS's, nor
// on its driver.
func TestNoAWS(t *testing.T) {
	const module = "github.com/ssmpipe/ssmpipe/"
	args := []string{"list", "-deps"}
	for _, room := range []string{"stdio", "forward", "shell", "list", "doctor", "sshconfig", "machine"} {
		args = append(args, module+"proxy/"+room)
	}
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.Lines(string(out)) {
		path = strings.TrimSpace(path)
		if strings.HasPrefix(path, "github.com/aws/") || strings.HasPrefix(path, module+"proxy/aws") || path == module+"ssmproto" {
			t.Fatalf("they depend on %s", path)
		}
	}
}
