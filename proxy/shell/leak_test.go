//go:build unix

package shell_test

import (
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/aws"
	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/quote"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/proxy/shell"
)

// TestShellLeavesNothing: neither goroutines nor pipes, whatever ended it. (It
// sets the environment and counts, so it is not parallel.)
func TestShellLeavesNothing(t *testing.T) {
	r := rigtest.NewShells(t, awstest.Config{})
	for _, e := range r.Environ {
		if name, value, _ := strings.Cut(e, "="); strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "SSMPIPE_") {
			t.Setenv(name, value)
		}
	}
	pipes := func() (n int) { // those of watches and readers; sockets to the API are the SDK's
		list, _ := os.ReadDir("/proc/self/fd")
		for _, f := range list {
			if to, _ := os.Readlink("/proc/self/fd/" + f.Name()); strings.HasPrefix(to, "pipe:") {
				n++
			}
		}
		return n
	}
	round := func() {
		for _, script := range []string{"exit\n", "echo hello\nsleep 1000\n"} {
			in, typing, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			shown, out, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(typing, script)
			ended := make(chan error, 1)
			go func() {
				err := shell.Run(t.Context(), shell.Options{Options: machine.Options{Driver: aws.Driver{}, Choice: machine.Choice{Target: rigtest.Node1}},
					Terminal: shell.Terminal{In: in, Out: out, Err: out}})
				out.Close()
				ended <- err
			}()
			if strings.Contains(script, "hello") {
				var text []byte
				for b := make([]byte, 100); strings.Count(string(text), "hello") < 2; { // typed, and said
					n, err := shown.Read(b)
					if err != nil {
						t.Fatalf("%q, %v, %v", text, err, <-ended)
					}
					text = append(text, b[:n]...)
				}
				r.ExpireSessions()
			}
			if err := <-ended; (err != nil) != strings.Contains(script, "hello") {
				t.Errorf("%q ends with %v", script, err)
			}
			for _, f := range []*os.File{in, typing, shown, out} {
				f.Close()
			}
		}
		for _, err := range []error{nil, quote.ErrCommand} {
			command := []string{"echo", "hello"}
			if err != nil {
				command = nil
			}
			if _, got := shell.Exec(t.Context(), shell.ExecOptions{Options: machine.Options{Driver: aws.Driver{}, Choice: machine.Choice{Target: rigtest.Node1}}, Command: command,
				Terminal: shell.Terminal{In: os.Stdin, Out: devNull(t), Err: devNull(t)}}); (got == nil) != (err == nil) {
				t.Errorf("%q: %v", command, got)
			}
		}
	}
	round() // what is there once and for all
	open := pipes()
	for range 3 {
		round()
	}
	rigtest.WaitFor(t, "end of the goroutines", func() bool {
		buf := make([]byte, 1<<20)
		text := string(buf[:runtime.Stack(buf, true)])
		for _, ours := range []string{"/proxy.(*interaction)", "/proxy/terminal.", "/proxy.(*Options)", "/proxy.copyParts", "/proxy/stdio.Watch", "ssmproto.(*Conn)"} {
			if strings.Contains(text, ours) {
				return false
			}
		}
		return true
	})
	rigtest.WaitFor(t, "end of the pipes", func() bool { return pipes() <= open })
}

func devNull(t *testing.T) *os.File {
	f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
