package stdio_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/net/proxy"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

func TestSSHExitStatus(t *testing.T) {
	t.Parallel()
	r := rigtest.NewSSH(t, ssmtest.Config{})
	for _, status := range []int{0, 1, 7, 255} {
		got := rigtest.Run(t, r.Command(t, "ssh", rigtest.Node1, fmt.Sprintf("echo out; echo err >&2; exit %d", status)), nil)
		if got.Status != status || string(got.Stdout) != "out\n" || got.Stderr != "err\n" {
			t.Errorf("exit %d: %+v", status, got)
		}
	}
	if s := r.Sessions()[0]; s.Document() != "AWS-StartSSHSession" || s.Parameters()["portNumber"][0] != "22" {
		t.Errorf("started %s %v", s.Document(), s.Parameters())
	}
}

func TestSSHLargeTransfers(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	for _, tls := range []bool{false, true} {
		cfg := rigtest.Fast
		cfg.TLS = tls
		r := rigtest.NewSSH(t, cfg)
		up, down := rigtest.Random(size, 1), rigtest.Random(size, 2)
		if err := os.WriteFile(filepath.Join(r.Dir, "down"), down, 0o600); err != nil {
			t.Fatal(err)
		}
		rigtest.Succeed(t, r.Command(t, "ssh", rigtest.Node1, "cat > "+r.Dir+"/up"), bytes.NewReader(up))
		rigtest.Equal(t, "up", rigtest.ReadFile(t, filepath.Join(r.Dir, "up")), up)
		rigtest.Equal(t, "down", rigtest.Succeed(t, r.Command(t, "ssh", rigtest.Node1, "cat "+r.Dir+"/down"), nil), down)
	}
}

func TestSCP(t *testing.T) {
	t.Parallel()
	r := rigtest.NewSSH(t, rigtest.Fast)
	want := rigtest.Random(5<<20, 3)
	here, there, back := filepath.Join(r.Dir, "here"), filepath.Join(r.Dir, "there"), filepath.Join(r.Dir, "back")
	rigtest.WriteFile(t, here, string(want))
	rigtest.Succeed(t, r.Command(t, "scp", "-q", here, rigtest.Node1+":"+there), nil)
	rigtest.Equal(t, "scp up", rigtest.ReadFile(t, there), want)
	rigtest.Succeed(t, r.Command(t, "scp", "-q", rigtest.Node1+":"+there, back), nil)
	rigtest.Equal(t, "scp down", rigtest.ReadFile(t, back), want)
	if got := rigtest.Run(t, r.Command(t, "scp", "-q", rigtest.Node1+":"+r.Dir+"/missing", back), nil); got.Status == 0 {
		t.Error("scp of a missing file succeeded")
	}
}

func TestSFTP(t *testing.T) {
	t.Parallel()
	r := rigtest.NewSSH(t, rigtest.Fast)
	want := rigtest.Random(3<<20, 4)
	rigtest.WriteFile(t, filepath.Join(r.Dir, "here"), string(want))
	batch := fmt.Sprintf("put %[1]s/here %[1]s/there\nget %[1]s/there %[1]s/back\nrename %[1]s/there %[1]s/renamed\n", r.Dir)
	run := rigtest.Run(t, r.Command(t, "sftp", "-q", "-b", "-", rigtest.Node1), strings.NewReader(batch))
	if run.Status != 0 {
		t.Errorf("sftp: %+v", run)
	}
	rigtest.Equal(t, "sftp", rigtest.ReadFile(t, filepath.Join(r.Dir, "back")), want)
	rigtest.Equal(t, "sftp rename", rigtest.ReadFile(t, filepath.Join(r.Dir, "renamed")), want)
}

func TestRsync(t *testing.T) {
	t.Parallel()
	rsync := rigtest.Need(t, "rsync")
	r := rigtest.NewSSH(t, rigtest.Fast)
	tree := filepath.Join(r.Dir, "tree")
	for i := range 50 {
		dir := filepath.Join(tree, fmt.Sprint(i%5))
		os.MkdirAll(dir, 0o700)
		rigtest.WriteFile(t, filepath.Join(dir, fmt.Sprint(i)), string(rigtest.Random(i*3000, uint64(i))))
	}
	sync := func(from, to string) {
		cmd := exec.Command(rsync, "-a", "--checksum", "-e", "ssh -F "+r.Config, from, to)
		cmd.Env = r.Environ
		rigtest.Succeed(t, cmd, nil)
	}
	sync(tree+"/", rigtest.Node1+":"+r.Dir+"/copy/")
	sync(rigtest.Node1+":"+r.Dir+"/copy/", filepath.Join(r.Dir, "back")+"/")
	if out, err := exec.Command("diff", "-r", tree, filepath.Join(r.Dir, "back")).CombinedOutput(); err != nil {
		t.Errorf("diff: %v\n%s", err, out)
	}
}

// TestSSHInteractive types into a shell on a terminal.
func TestSSHInteractive(t *testing.T) {
	t.Parallel()
	r := rigtest.NewSSH(t, ssmtest.Config{})
	cmd := r.Command(t, "ssh", "-tt", rigtest.Node1, "PS1='$ ' sh")
	term, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 33, Cols: 101})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); term.Close() })
	var mu sync.Mutex
	var screen bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		b := make([]byte, 4096)
		for {
			n, err := term.Read(b)
			mu.Lock()
			screen.Write(b[:n])
			mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	sees := func(text string) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return strings.Contains(screen.String(), text)
		}
	}
	rigtest.WaitFor(t, "prompt", sees("$ "))
	io.WriteString(term, "stty size\n")
	rigtest.WaitFor(t, "size", sees("33 101"))
	io.WriteString(term, "echo $((6*7))-é\n")
	rigtest.WaitFor(t, "answer", sees("42-é"))
	io.WriteString(term, "sh -c 'echo sle\"\"eping; exec sleep 1000'\n") // not what the terminal echoes
	rigtest.WaitFor(t, "sleep", sees("sleeping"))
	io.WriteString(term, "\x03") // ends the sleep, not the session
	io.WriteString(term, "exit 9\n")
	cmd.Wait()
	<-read
	if status := cmd.ProcessState.ExitCode(); status != 9 {
		t.Errorf("status %d after\n%s", status, screen.String())
	}
}

func checkEcho(t testing.TB, dial func() (net.Conn, error)) {
	t.Helper()
	var c net.Conn
	rigtest.WaitFor(t, "forward", func() (ok bool) {
		var err error
		c, err = dial()
		return err == nil
	})
	defer c.Close()
	want := rigtest.Random(200_000, 5)
	go c.Write(want)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Error(err)
	}
	rigtest.Equal(t, "echo", got, want)
}

func TestSSHForwards(t *testing.T) {
	t.Parallel()
	r := rigtest.NewSSH(t, rigtest.Fast)
	echo := rigtest.EchoServer(t)
	local, remote, dynamic := rigtest.FreePort(t), rigtest.FreePort(t), rigtest.FreePort(t)
	cmd := r.Command(t, "ssh", "-N", "-o", "ExitOnForwardFailure=yes",
		"-L", local+":"+echo, "-R", remote+":"+echo, "-D", dynamic, rigtest.Node1)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	rigtest.Start(t, cmd)
	checkEcho(t, func() (net.Conn, error) { return net.Dial("tcp", local) })
	checkEcho(t, func() (net.Conn, error) { return net.Dial("tcp", remote) })
	socks, err := proxy.SOCKS5("tcp", dynamic, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	checkEcho(t, func() (net.Conn, error) { return socks.Dial("tcp", echo) })
	cmd.Process.Signal(os.Interrupt)
	cmd.Wait()
	rigtest.WaitFor(t, "end of the session", func() bool { return r.ActiveSessions() == 0 })
	if stderr.Len() > 0 {
		t.Errorf("stderr: %s", &stderr)
	}
}

func TestSSHControlMaster(t *testing.T) {
	t.Parallel()
	r := rigtest.NewSSH(t, ssmtest.Config{})
	socket := filepath.Join(r.Dir, "control")
	master := r.Command(t, "ssh", "-N", "-M", "-S", socket, rigtest.Node1)
	rigtest.Start(t, master)
	rigtest.WaitFor(t, "control socket", func() bool { _, err := os.Stat(socket); return err == nil })
	for i := range 5 {
		if out := rigtest.Succeed(t, r.Command(t, "ssh", "-S", socket, rigtest.Node1, "echo", fmt.Sprint(i)), nil); string(out) != fmt.Sprintf("%d\n", i) {
			t.Errorf("got %q", out)
		}
	}
	if n := len(r.Sessions()); n != 1 {
		t.Errorf("%d sessions for one master", n)
	}
	r.Command(t, "ssh", "-S", socket, "-O", "exit", rigtest.Node1).Run()
	master.Wait()
	rigtest.WaitFor(t, "end of the session", func() bool { return r.ActiveSessions() == 0 })
}

// TestSSHJump goes through one machine to another that only the first reaches.
func TestSSHJump(t *testing.T) {
	t.Parallel()
	r := rigtest.NewSSH(t, ssmtest.Config{})
	behind := t.TempDir()
	port := rigtest.StartSSHD(t, behind)
	rigtest.WriteFile(t, r.Config, string(rigtest.ReadFile(t, r.Config))+fmt.Sprintf("Host behind\n    HostName 127.0.0.1\n    Port %s\n    IdentityFile %s/id\n", port, behind))
	out := rigtest.Succeed(t, r.Command(t, "ssh", "-J", rigtest.Node1, "behind", "echo $SSH_CONNECTION"), nil)
	if !strings.HasSuffix(strings.TrimSpace(string(out)), " 127.0.0.1 "+port) {
		t.Errorf("got %q", out)
	}
}

func TestTwentySessionsAtOnce(t *testing.T) {
	t.Parallel()
	r := rigtest.NewSSH(t, rigtest.Fast)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			want := rigtest.Random(500_000, uint64(i))
			got := rigtest.Run(t, r.Command(t, "ssh", []string{rigtest.Node1, rigtest.Node2}[i%2], "cat"), bytes.NewReader(want))
			if got.Status != 0 || got.Stderr != "" {
				t.Errorf("session %d: status %d, %s", i, got.Status, got.Stderr)
			}
			rigtest.Equal(t, fmt.Sprintf("session %d", i), got.Stdout, want)
		})
	}
	wg.Wait()
	if n := len(r.Sessions()); n != 20 {
		t.Errorf("%d sessions", n)
	}
}

// roundTrip sends data through ssh to a far cat and wants it back, in silence but for
// notices.
func roundTrip(t testing.TB, r *rigtest.SSH, data []byte) error {
	start := time.Now()
	got := rigtest.Run(t, r.Command(t, "ssh", rigtest.Node1, "cat"), bytes.NewReader(data))
	switch {
	case got.Status != 0 || rigtest.BesideNotices(got.Stderr) != "":
		return fmt.Errorf("status %d after %v and %d bytes, stderr %q", got.Status, time.Since(start), len(got.Stdout), got.Stderr)
	case !bytes.Equal(got.Stdout, data):
		return fmt.Errorf("%d bytes came back, not the %d that were sent", len(got.Stdout), len(data))
	}
	return nil
}
