package proxy_test

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

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

func TestSSHExitStatus(t *testing.T) {
	t.Parallel()
	r := newSSHRig(t, ssmtest.Config{})
	for _, status := range []int{0, 1, 7, 255} {
		got := run(t, r.command(t, "ssh", node1, fmt.Sprintf("echo out; echo err >&2; exit %d", status)), nil)
		if got.status != status || string(got.stdout) != "out\n" || got.stderr != "err\n" {
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
		cfg := fast
		cfg.TLS = tls
		r := newSSHRig(t, cfg)
		up, down := random(size, 1), random(size, 2)
		if err := os.WriteFile(filepath.Join(r.dir, "down"), down, 0o600); err != nil {
			t.Fatal(err)
		}
		succeed(t, r.command(t, "ssh", node1, "cat > "+r.dir+"/up"), bytes.NewReader(up))
		equal(t, "up", readFile(t, filepath.Join(r.dir, "up")), up)
		equal(t, "down", succeed(t, r.command(t, "ssh", node1, "cat "+r.dir+"/down"), nil), down)
	}
}

func TestSCP(t *testing.T) {
	t.Parallel()
	r := newSSHRig(t, fast)
	want := random(5<<20, 3)
	here, there, back := filepath.Join(r.dir, "here"), filepath.Join(r.dir, "there"), filepath.Join(r.dir, "back")
	writeFile(t, here, string(want))
	succeed(t, r.command(t, "scp", "-q", here, node1+":"+there), nil)
	equal(t, "scp up", readFile(t, there), want)
	succeed(t, r.command(t, "scp", "-q", node1+":"+there, back), nil)
	equal(t, "scp down", readFile(t, back), want)
	if got := run(t, r.command(t, "scp", "-q", node1+":"+r.dir+"/missing", back), nil); got.status == 0 {
		t.Error("scp of a missing file succeeded")
	}
}

func TestSFTP(t *testing.T) {
	t.Parallel()
	r := newSSHRig(t, fast)
	want := random(3<<20, 4)
	writeFile(t, filepath.Join(r.dir, "here"), string(want))
	batch := fmt.Sprintf("put %[1]s/here %[1]s/there\nget %[1]s/there %[1]s/back\nrename %[1]s/there %[1]s/renamed\n", r.dir)
	run := run(t, r.command(t, "sftp", "-q", "-b", "-", node1), strings.NewReader(batch))
	if run.status != 0 {
		t.Errorf("sftp: %+v", run)
	}
	equal(t, "sftp", readFile(t, filepath.Join(r.dir, "back")), want)
	equal(t, "sftp rename", readFile(t, filepath.Join(r.dir, "renamed")), want)
}

func TestRsync(t *testing.T) {
	t.Parallel()
	rsync := need(t, "rsync")
	r := newSSHRig(t, fast)
	tree := filepath.Join(r.dir, "tree")
	for i := range 50 {
		dir := filepath.Join(tree, fmt.Sprint(i%5))
		os.MkdirAll(dir, 0o700)
		writeFile(t, filepath.Join(dir, fmt.Sprint(i)), string(random(i*3000, uint64(i))))
	}
	sync := func(from, to string) {
		cmd := exec.Command(rsync, "-a", "--checksum", "-e", "ssh -F "+r.config, from, to)
		cmd.Env = r.env
		succeed(t, cmd, nil)
	}
	sync(tree+"/", node1+":"+r.dir+"/copy/")
	sync(node1+":"+r.dir+"/copy/", filepath.Join(r.dir, "back")+"/")
	if out, err := exec.Command("diff", "-r", tree, filepath.Join(r.dir, "back")).CombinedOutput(); err != nil {
		t.Errorf("diff: %v\n%s", err, out)
	}
}

// TestSSHInteractive types into a shell on a terminal.
func TestSSHInteractive(t *testing.T) {
	t.Parallel()
	r := newSSHRig(t, ssmtest.Config{})
	cmd := r.command(t, "ssh", "-tt", node1, "PS1='$ ' sh")
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
	waitFor(t, "prompt", sees("$ "))
	io.WriteString(term, "stty size\n")
	waitFor(t, "size", sees("33 101"))
	io.WriteString(term, "echo $((6*7))-é\n")
	waitFor(t, "answer", sees("42-é"))
	io.WriteString(term, "sh -c 'echo sle\"\"eping; exec sleep 1000'\n") // not what the terminal echoes
	waitFor(t, "sleep", sees("sleeping"))
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
	waitFor(t, "forward", func() (ok bool) {
		var err error
		c, err = dial()
		return err == nil
	})
	defer c.Close()
	want := random(200_000, 5)
	go c.Write(want)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Error(err)
	}
	equal(t, "echo", got, want)
}

func TestSSHForwards(t *testing.T) {
	t.Parallel()
	r := newSSHRig(t, fast)
	echo := echoServer(t)
	local, remote, dynamic := freePort(t), freePort(t), freePort(t)
	cmd := r.command(t, "ssh", "-N", "-o", "ExitOnForwardFailure=yes",
		"-L", local+":"+echo, "-R", remote+":"+echo, "-D", dynamic, node1)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start(t, cmd)
	checkEcho(t, func() (net.Conn, error) { return net.Dial("tcp", local) })
	checkEcho(t, func() (net.Conn, error) { return net.Dial("tcp", remote) })
	socks, err := proxy.SOCKS5("tcp", dynamic, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	checkEcho(t, func() (net.Conn, error) { return socks.Dial("tcp", echo) })
	cmd.Process.Signal(os.Interrupt)
	cmd.Wait()
	waitFor(t, "end of the session", func() bool { return r.ActiveSessions() == 0 })
	if stderr.Len() > 0 {
		t.Errorf("stderr: %s", &stderr)
	}
}

func TestSSHControlMaster(t *testing.T) {
	t.Parallel()
	r := newSSHRig(t, ssmtest.Config{})
	socket := filepath.Join(r.dir, "control")
	master := r.command(t, "ssh", "-N", "-M", "-S", socket, node1)
	start(t, master)
	waitFor(t, "control socket", func() bool { _, err := os.Stat(socket); return err == nil })
	for i := range 5 {
		if out := succeed(t, r.command(t, "ssh", "-S", socket, node1, "echo", fmt.Sprint(i)), nil); string(out) != fmt.Sprintf("%d\n", i) {
			t.Errorf("got %q", out)
		}
	}
	if n := len(r.Sessions()); n != 1 {
		t.Errorf("%d sessions for one master", n)
	}
	r.command(t, "ssh", "-S", socket, "-O", "exit", node1).Run()
	master.Wait()
	waitFor(t, "end of the session", func() bool { return r.ActiveSessions() == 0 })
}

// TestSSHJump goes through one machine to another that only the first reaches.
func TestSSHJump(t *testing.T) {
	t.Parallel()
	r := newSSHRig(t, ssmtest.Config{})
	behind := t.TempDir()
	port := startSSHD(t, behind)
	writeFile(t, r.config, string(readFile(t, r.config))+fmt.Sprintf("Host behind\n    HostName 127.0.0.1\n    Port %s\n    IdentityFile %s/id\n", port, behind))
	out := succeed(t, r.command(t, "ssh", "-J", node1, "behind", "echo $SSH_CONNECTION"), nil)
	if !strings.HasSuffix(strings.TrimSpace(string(out)), " 127.0.0.1 "+port) {
		t.Errorf("got %q", out)
	}
}

func TestTwentySessionsAtOnce(t *testing.T) {
	t.Parallel()
	r := newSSHRig(t, fast)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			want := random(500_000, uint64(i))
			got := run(t, r.command(t, "ssh", []string{node1, node2}[i%2], "cat"), bytes.NewReader(want))
			if got.status != 0 || got.stderr != "" {
				t.Errorf("session %d: status %d, %s", i, got.status, got.stderr)
			}
			equal(t, fmt.Sprintf("session %d", i), got.stdout, want)
		})
	}
	wg.Wait()
	if n := len(r.Sessions()); n != 20 {
		t.Errorf("%d sessions", n)
	}
}

// roundTrip sends data through ssh to a far cat and wants it back, in silence but for
// notices.
func roundTrip(t testing.TB, r *sshRig, data []byte) error {
	start := time.Now()
	got := run(t, r.command(t, "ssh", node1, "cat"), bytes.NewReader(data))
	switch {
	case got.status != 0 || besideNotices(got.stderr) != "":
		return fmt.Errorf("status %d after %v and %d bytes, stderr %q", got.status, time.Since(start), len(got.stdout), got.stderr)
	case !bytes.Equal(got.stdout, data):
		return fmt.Errorf("%d bytes came back, not the %d that were sent", len(got.stdout), len(data))
	}
	return nil
}
