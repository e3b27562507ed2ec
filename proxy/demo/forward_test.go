//go:build unix

package demo

import (
	"bytes"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
)

func TestForwardsCarryHalfClosedStreams(t *testing.T) {
	for _, kind := range []string{"-L", "-R"} {
		t.Run(kind, func(t *testing.T) {
			s := newTestSSHD(t)
			echo := echoServer(t)
			port := freePort(t)
			cmd := s.tool("ssh", "-N", "-o", "ExitOnForwardFailure=yes", kind, port+":"+echo, "i-0test")
			startInBackground(t, cmd)
			// Twice: the first must not have spoilt anything.
			for range 2 {
				checkEcho(t, dialEventually(t, "127.0.0.1:"+port))
			}
		})
	}
}

func TestRemoteForwardPicksAPort(t *testing.T) {
	s := newTestSSHD(t)
	client := s.newClient(t)
	l, err := client.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if _, port, _ := net.SplitHostPort(addr); port == "0" {
		t.Fatalf("no port in %s", addr)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		nc, err := net.Dial("tcp", addr)
		if err == nil {
			nc.Close()
		}
		return err != nil
	}, func() string { return "the cancelled forward still listens" })
}

func TestStdioForwardReachesTheServerItself(t *testing.T) {
	s := newTestSSHD(t)
	for _, target := range []string{"localhost:22", "127.0.0.1:22", "i-0test:22"} {
		cmd := s.tool("ssh", "-W", target, "i-0test")
		cmd.Stdin = strings.NewReader("SSH-2.0-probe\r\n")
		stdout, _, _ := run(t, cmd)
		if !strings.HasPrefix(stdout, "SSH-2.0-ssmpipe_demo\r\n") {
			t.Errorf("-W %s gave %q", target, stdout)
		}
	}
}

func TestStdioForwardReachesOtherPorts(t *testing.T) {
	s := newTestSSHD(t)
	echo := echoServer(t)
	_, port, _ := net.SplitHostPort(echo)
	for _, target := range []string{echo, "localhost:" + port, "i-0test:" + port} {
		data := randomBytes(1 << 20)
		cmd := s.tool("ssh", "-W", target, "i-0test")
		cmd.Stdin = bytes.NewReader(data)
		if got := succeed(t, cmd); got != string(data) {
			t.Errorf("-W %s: %d bytes came back for %d, or others", target, len(got), len(data))
		}
	}
}

func TestRefusedForwardsSayWhy(t *testing.T) {
	s := newTestSSHD(t)
	_, stderr, status := run(t, s.tool("ssh", "-W", "localhost:"+freePort(t), "i-0test"))
	if status == 0 || !strings.Contains(stderr, "refused") {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
}

// startInBackground starts cmd and ends it with the test.
func startInBackground(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// checkEcho sends a lot, then the end, and expects all of it back.
func checkEcho(t *testing.T, nc net.Conn) {
	t.Helper()
	defer nc.Close()
	data := randomBytes(1<<20 + 1)
	if _, err := nc.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := nc.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(nc)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back for %d, or others: %v", len(got), len(data), err)
	}
}
