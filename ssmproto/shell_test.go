package ssmproto

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/ssmpipe/ssmpipe/ssmproto/core"
)

func TestReadMergesBothOutputs(t *testing.T) {
	c := opened(t)
	c.feed(agentMessage(0, core.Output, []byte("out ")), agentMessage(1, core.StdErr, []byte("err ")), agentMessage(2, core.Output, []byte("out")))
	c.channelClosed([]byte(`{"Output":""}`))
	if got, err := io.ReadAll(c); err != nil || string(got) != "out err out" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestExitStatus(t *testing.T) {
	for _, tt := range []struct {
		payload string
		status  int
		told    bool
	}{
		{"EXIT_CODE: 0", 0, true},
		{"EXIT_CODE: 42", 42, true},
		{"EXIT_CODE: -1", -1, true},
		{"EXIT_CODE:7\n", 7, true},
		{"3", 3, true},
		{"EXIT_CODE: many", 0, false},
		{"", 0, false},
	} {
		c := opened(t)
		if _, told := c.ExitStatus(); told {
			t.Error("a status was told before it came")
		}
		c.feed(agentMessage(0, core.ExitCode, []byte(tt.payload)))
		if status, told := c.ExitStatus(); status != tt.status || told != tt.told {
			t.Errorf("%q is %d, %v", tt.payload, status, told)
		}
	}
}

// TestCommandsAreEncryptedWhole: not only what a command writes, but what it
// writes to standard error, and its exit status.
func TestCommandsAreEncryptedWhole(t *testing.T) {
	c := opened(t)
	key := bytes.Repeat([]byte{1}, 64)
	cipher, err := core.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	c.s.Encrypt(cipher)
	sealed := func(s string) []byte { return encrypt(t, key[:32], s) }
	c.feed(agentMessage(0, core.Output, sealed("out")), agentMessage(1, core.StdErr, sealed("err")), agentMessage(2, core.ExitCode, sealed("EXIT_CODE: 5")))
	p := make([]byte, 10)
	if n, stderr, err := c.ReadPart(p); string(p[:n]) != "out" || stderr || err != nil {
		t.Errorf("%q, %v, %v", p[:n], stderr, err)
	}
	if n, stderr, err := c.ReadPart(p); string(p[:n]) != "err" || !stderr || err != nil {
		t.Errorf("%q, %v, %v", p[:n], stderr, err)
	}
	if status, told := c.ExitStatus(); status != 5 || !told {
		t.Errorf("status %d, %v", status, told)
	}
	c.feed(agentMessage(3, core.ExitCode, []byte("EXIT_CODE: 0 in the clear, and long enough to be sealed")))
	if status, _ := c.ExitStatus(); status != 5 {
		t.Errorf("an exit status was taken that is not the agent's: %d", status)
	}
	if _, _, err := c.ReadPart(p); err == nil {
		t.Error("nothing says that the session cannot be trusted")
	}
}

// TestSilentCommand: what says nothing has run all the same, unless it is a
// port, at which nobody was then.
func TestSilentCommand(t *testing.T) {
	for typ, want := range map[SessionType]error{PortSession: ErrNotConnected, NonInteractiveSession: io.EOF, ShellSession: io.EOF} {
		c := opened(t)
		c.hs.sessionType = typ
		c.feed(agentMessage(0, core.ExitCode, []byte("EXIT_CODE: 0")))
		c.channelClosed([]byte(`{"Output":""}`))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, want) {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

// TestLastSizeCounts: sizes that could not be sent do not pile up.
func TestLastSizeCounts(t *testing.T) {
	c := opened(t)
	for n := range 100 {
		c.Resize(80+n, 24)
	}
	c.Write([]byte("x"))
	c.Resize(10, 5)
	var got []string
	for {
		frame := c.s.Poll(1)
		if frame == nil {
			break
		}
		m, err := core.Parse(frame)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(m.Payload))
	}
	want := []string{`{"cols":179,"rows":24}`, "x", `{"cols":10,"rows":5}`}
	if len(got) != len(want) {
		t.Fatalf("sent %q", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("sent %q, want %q", got[i], want[i])
		}
	}
}
