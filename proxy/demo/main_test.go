//go:build unix

package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// proxyTo, in the environment, makes the test binary a ProxyCommand without a
// Session Manager in it: it connects its stdin and stdout to that address.
const proxyTo = "SSMPIPE_DEMO_TEST_PROXY_TO"

// runArgs, in the environment, makes the test binary call Run with its
// arguments as the command, as ssmpipe does.
const runArgs = "SSMPIPE_DEMO_TEST_RUN"

// margin is for what takes a moment by itself, on a machine with much else to do.
const margin = 8 * time.Second

// ssmpipe is the built command, or empty while the module has none.
var ssmpipe string

func TestMain(m *testing.M) {
	if addr := os.Getenv(proxyTo); addr != "" {
		os.Exit(proxyMain(addr))
	}
	if os.Getenv(runArgs) != "" {
		os.Exit(runMain(os.Args[1:]))
	}
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	tmp, err := os.MkdirTemp("", "demo-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(tmp)
	if _, err := os.Stat(filepath.Join("..", "..", "main.go")); err == nil {
		ssmpipe = filepath.Join(tmp, "ssmpipe")
		if out, err := exec.Command("go", "build", "-o", ssmpipe, "github.com/ssmpipe/ssmpipe").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
	}
	return m.Run()
}

func proxyMain(addr string) int {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go func() {
		_, _ = io.Copy(nc, os.Stdin)
		_ = nc.(*net.TCPConn).CloseWrite()
	}()
	if _, err := io.Copy(os.Stdout, nc); err != nil {
		return 1
	}
	return 0
}

func runMain(command []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	status, err := Run(ctx, Options{Command: command, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return status
}

// need skips the test when a tool is not installed, except in CI, where that is
// a mistake.
func need(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is not installed", tool)
			}
			t.Skipf("%s is not installed", tool)
		}
	}
}

// checkGoroutines fails the test if goroutines of this package's are left when
// it and its other clean-ups are over. Call it first.
func checkGoroutines(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		var left []string
		eventually(t, func() bool {
			left = nil
			buf := make([]byte, 1<<20)
			for g := range bytes.SplitSeq(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
				s := string(g)
				if strings.Contains(s, "/proxy/demo.") && !strings.Contains(s, "testing.tRunner") &&
					!strings.Contains(s, "demo.TestMain") || strings.Contains(s, "/ssmtest.") || strings.Contains(s, "crypto/ssh.") {
					left = append(left, s)
				}
			}
			return len(left) == 0
		}, func() string { return "goroutines are left:\n" + strings.Join(left, "\n\n") })
	})
}

// eventually waits up to 10 s for ok.
func eventually(t *testing.T, ok func() bool, message func() string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Error(message())
			return
		}
	}
}

// run runs a command to its end and returns what it wrote and its status.
func run(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = time.Second
	stop := time.AfterFunc(time.Minute, func() {
		if cmd.Process != nil {
			_ = cmd.Process.Kill()
		}
	})
	defer stop.Stop()
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// succeed runs a command that must have status 0, and returns its stdout.
func succeed(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	stdout, stderr, status := run(t, cmd)
	if status != 0 {
		t.Fatalf("%v: status %d\nstdout: %s\nstderr: %s", cmd.Args, status, stdout, stderr)
	}
	return stdout
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
