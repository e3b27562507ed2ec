package ssmproto

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
)

// TestStandardErrorIsKeptApart: whatever comes in whatever order and is read in
// whatever pieces, each byte is of the output that it was sent as, and both
// outputs are in the order in which they were sent.
func TestStandardErrorIsKeptApart(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		c := opened(t)
		var frames [][]byte
		var sent bytes.Buffer // with a byte before each that says which output it is
		for seq := range int64(1 + rng.IntN(60)) {
			typ, mark := Output, byte('o')
			if rng.IntN(2) == 0 {
				typ, mark = StdErr, 'e'
			}
			payload := make([]byte, rng.IntN(40))
			for i := range payload {
				payload[i] = byte(rng.Uint32())
				sent.Write([]byte{mark, payload[i]})
			}
			frames = append(frames, agentMessage(seq, typ, payload))
		}
		// Some come early, but not all before the first is read.
		for i := range len(frames) - 1 {
			j := min(i+rng.IntN(4), len(frames)-1)
			frames[i], frames[j] = frames[j], frames[i]
		}
		var got bytes.Buffer
		read := func() {
			for c.s.in.buf.n > 0 {
				p := make([]byte, 1+rng.IntN(50))
				n, stderr, err := c.ReadPart(p)
				if err != nil {
					t.Fatal(err)
				}
				mark := byte('o')
				if stderr {
					mark = 'e'
				}
				for _, b := range p[:n] {
					got.Write([]byte{mark, b})
				}
			}
		}
		for _, f := range frames {
			c.feed(f)
			if rng.IntN(3) == 0 {
				read()
			}
		}
		read()
		if !bytes.Equal(got.Bytes(), sent.Bytes()) {
			t.Fatalf("got  %q\nsent %q", got.Bytes(), sent.Bytes())
		}
		if len(c.s.in.errs) > 0 {
			t.Fatalf("%v is left of what has been read", c.s.in.errs)
		}
	}
}

func TestReadMergesBothOutputs(t *testing.T) {
	c := opened(t)
	c.feed(agentMessage(0, Output, []byte("out ")), agentMessage(1, StdErr, []byte("err ")), agentMessage(2, Output, []byte("out")))
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
		c.feed(agentMessage(0, ExitCode, []byte(tt.payload)))
		if status, told := c.ExitStatus(); status != tt.status || told != tt.told {
			t.Errorf("%q is %d, %v", tt.payload, status, told)
		}
	}
}

// TestCommandsAreEncryptedWhole: not only what a command writes, but what it
// writes to standard error, and its exit status.
func TestCommandsAreEncryptedWhole(t *testing.T) {
	c := opened(t)
	key := bytes.Repeat([]byte{1}, dataKeyLen)
	theirs, err := newStreamCipher(append(bytes.Clone(key[32:]), key[:32]...)) // the agent's view
	if err != nil {
		t.Fatal(err)
	}
	if c.s.in.cipher, err = newStreamCipher(key); err != nil {
		t.Fatal(err)
	}
	sealed := func(s string) []byte { return theirs.seal([]byte(s), 0) }
	c.feed(agentMessage(0, Output, sealed("out")), agentMessage(1, StdErr, sealed("err")), agentMessage(2, ExitCode, sealed("EXIT_CODE: 5")))
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
	c.feed(agentMessage(3, ExitCode, []byte("EXIT_CODE: 0 in the clear, and long enough to be sealed")))
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
		c.feed(agentMessage(0, ExitCode, []byte("EXIT_CODE: 0")))
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
		frame := c.s.out.poll(1)
		if frame == nil {
			break
		}
		m, err := Parse(frame)
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
	if c.s.out.backlog != 0 {
		t.Errorf("backlog of %d bytes when all is sent", c.s.out.backlog)
	}
}
