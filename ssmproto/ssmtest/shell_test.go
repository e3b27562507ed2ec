//go:build unix

package ssmtest

import (
	"bytes"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// bareShell is a Node's Command that runs the same as on any machine.
func bareShell(name string, arg ...string) *exec.Cmd {
	cmd := exec.Command(name, arg...)
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "PS1=$ ", "ENV="}
	return cmd
}

// newShellServer starts a server with a node that runs commands.
func newShellServer(t testing.TB, cfg Config) *Server {
	t.Helper()
	s := NewServer(cfg)
	t.Cleanup(s.Close)
	s.AddNode(Node{ID: nodeID, Command: bareShell})
	return s
}

// startShell starts a shell and goes through the handshake.
func startShell(t testing.TB, s *Server) *raw {
	t.Helper()
	c := startDocument(t, s, preferences, nil)
	c.handshake()
	return c
}

// startCommand starts a command that is not interactive, likewise.
func startCommand(t testing.TB, s *Server, parameters ...string) *raw {
	t.Helper()
	return startParameters(t, s, "AWS-StartNonInteractiveCommand", parameters...)
}

// startParameters starts a session with parameters, names and values in turn.
func startParameters(t testing.TB, s *Server, document string, parameters ...string) *raw {
	t.Helper()
	list := make(map[string][]string)
	for i := 0; i < len(parameters); i += 2 {
		list[parameters[i]] = []string{parameters[i+1]}
	}
	c := startDocument(t, s, document, list)
	c.handshake()
	return c
}

// shown is what a session has sent, by the type of the payload.
type shown map[ssmproto.PayloadType]string

func (s shown) String() string {
	var b strings.Builder
	for _, t := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, "(%d: %q)", t, s[t])
	}
	return b.String()
}

// collect takes what the session sends until that holds a text, or, without
// one, until the session ends; it returns the reason of the end.
func (c *raw) collect(until string) (got shown, reason string) {
	c.t.Helper()
	got = make(shown)
	for until == "" || !strings.Contains(got[ssmproto.Output], until) {
		m := c.recv()
		switch m.Type {
		case ssmproto.OutputStreamData:
			c.ack(m)
			if c.isNew(m) {
				got[m.PayloadType] += string(m.Payload)
			}
		case ssmproto.ChannelClosed:
			if until != "" {
				c.t.Fatalf("it ended (%s) with %v", m.Payload, got)
			}
			_, reason, _ := bytes.Cut(m.Payload, []byte(`"Output":"`))
			reason, _, _ = bytes.Cut(reason, []byte(`","`))
			return got, string(reason)
		}
	}
	return got, ""
}

func TestAShellIsInATerminal(t *testing.T) {
	t.Parallel()
	s := newShellServer(t, Config{Agent: Agent{NoSleep: true}})
	c := startShell(t, s)
	c.collect("$ ") // so it is there
	c.send(c.next, ssmproto.Size, `{"cols":123,"rows":45}`)
	c.next++
	c.output("tty >/dev/null && stty size; echo $TERM $LANG; id -u | wc -l\n")
	c.collect("45 123\r\nxterm-256color C.UTF-8\r\n1\r\n")
	if cols, rows := c.session().Size(); cols != 123 || rows != 45 {
		t.Errorf("told of %d columns, %d rows", cols, rows)
	}
	c.output("sh -c 'echo rea\"\"dy; exec sleep 100'\n") // what is echoed is not what is put out
	c.collect("ready\r\n")
	c.output("\x03")
	c.collect("$ ")
	c.output("exit 3\n")
	if _, reason := c.collect(""); reason != "" {
		t.Errorf("it ended with %q", reason)
	}
	c.ended()
	if up, down := c.session().BytesUp(), c.session().BytesDown(); up == 0 || down == 0 {
		t.Errorf("counted %d bytes up, %d down", up, down)
	}
}

func TestAnInteractiveCommandIsAShells(t *testing.T) {
	t.Parallel()
	s := newShellServer(t, Config{Agent: Agent{NoSleep: true}})
	c := startParameters(t, s, "AWS-StartInteractiveCommand", "command", `test -t 0 && echo ready && read x && echo "got $x" | tr a-z A-Z`)
	c.collect("ready\r\n")
	c.output("it\n")
	got, reason := c.collect("")
	if !strings.HasSuffix(got[ssmproto.Output], "GOT IT\r\n") || reason != "" || got[ssmproto.ExitCode] != "" {
		t.Errorf("got %v, ended with %q", got, reason)
	}
}

func TestCommandsPutOut(t *testing.T) {
	t.Parallel()
	s := newShellServer(t, Config{Agent: Agent{NoSleep: true}})
	s.AddNode(Node{ID: "i-old", Command: bareShell, Agent: &Agent{NoSleep: true, NoSeparateOutput: true}})
	const both = `sh -c 'echo out; echo err >&2; exit 42'`
	big := strings.Repeat("0123456789abcdef", 20<<10)
	for _, test := range []struct {
		name, command string
		parameters    []string
		want          shown
		reason        string
	}{
		{"apart, and the status", both, []string{"separateOutputStream", "true"}, shown{1: "out\n", 11: "err\n", 12: "EXIT_CODE: 42"}, ""},
		{"with prefixes", both, []string{"separateOutputStream", "true", "stdoutSeparatorPrefix", "O:", "stderrSeparatorPrefix", "E:"},
			shown{1: "O:out\n", 11: "E:err\n", 12: "EXIT_CODE: 42"}, ""},
		{"together, after the end", `sh -c 'echo out; echo err >&2; echo out; exit 42'`, nil, shown{1: "out\nerr\nout\n"}, ""},
		{"success", "true", []string{"separateOutputStream", "true"}, shown{12: "EXIT_CODE: 0"}, ""},
		{"a signal", `sh -c 'kill -9 $$'`, []string{"separateOutputStream", "true"}, shown{12: "EXIT_CODE: -1"}, ""},
		{"no input", "cat", []string{"separateOutputStream", "true"}, shown{12: "EXIT_CODE: 0"}, ""},
		{"no shell", `echo $HOME '*' "a  b" c\ d # the rest`, []string{"separateOutputStream", "true"}, shown{1: "$HOME * a  b c d\n", 12: "EXIT_CODE: 0"}, ""},
		{"much", fmt.Sprintf(`sh -c 'i=0; while [ $i -lt 4 ]; do printf %%s %s; i=$((i+1)); done'`, big[:16<<10]), []string{"separateOutputStream", "true"},
			shown{1: strings.Repeat(big[:16<<10], 4), 12: "EXIT_CODE: 0"}, ""},
		{"no such program", "no-such-program", nil,
			shown{11: "Error occurred starting the command: exec: \"no-such-program\": executable file not found in $PATH\n"}, ""},
		{"no such program, apart", "no-such-program", []string{"separateOutputStream", "true"},
			shown{11: "Error occurred starting the command: exec: \"no-such-program\": executable file not found in $PATH\n", 12: "EXIT_CODE: 1"}, ""},
		{"what cannot be split", "echo 'open", nil,
			shown{11: "Unable to start command: Failed to parse commands input: EOF found when expecting closing quote\n\n"},
			`----------ERROR-------\nUnable to start command: Failed to parse commands input: EOF found when expecting closing quote\n\n`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := startCommand(t, s, append([]string{"command", test.command}, test.parameters...)...)
			got, reason := c.collect("")
			if got.String() != test.want.String() || reason != test.reason {
				t.Errorf("got %v, ended with %q", got, reason)
			}
		})
	}
	t.Run("an old agent does not keep them apart", func(t *testing.T) {
		c := startTarget(t, s, "i-old", "AWS-StartNonInteractiveCommand", map[string][]string{"command": {both}, "separateOutputStream": {"true"}})
		c.handshake()
		if got, _ := c.collect(""); got[1] != "out\nerr\n" || len(got) != 1 {
			t.Errorf("got %v", got)
		}
	})
}

func TestAControlCharacterIsASignalToACommand(t *testing.T) {
	t.Parallel()
	s := newShellServer(t, Config{Agent: Agent{NoSleep: true}})
	c := startCommand(t, s, "command", `sh -c 'trap "echo caught; exit 7" INT; echo ready; while :; do sleep 0.01; done'`, "separateOutputStream", "true")
	c.collect("ready\n")
	c.output("nothing\n")
	c.output("\x03")
	if got, _ := c.collect(""); got[1] != "caught\n" || got[12] != "EXIT_CODE: 7" {
		t.Errorf("got %v", got)
	}
}

func TestDocumentsOfCommandsRefuse(t *testing.T) {
	t.Parallel()
	s := newShellServer(t, Config{})
	for _, test := range []struct {
		document   string
		parameters map[string][]string
	}{
		{"AWS-StartInteractiveCommand", nil},
		{"AWS-StartInteractiveCommand", map[string][]string{"command": {"true"}, "separateOutputStream": {"true"}}},
		{"AWS-StartNonInteractiveCommand", nil},
		{"AWS-StartNonInteractiveCommand", map[string][]string{"command": {"true"}, "separateOutputStream": {"yes"}}},
		{"AWS-StartNonInteractiveCommand", map[string][]string{"command": {"true"}, "stdoutSeparatorPrefix": {"> "}}},
		{preferences, map[string][]string{"command": {"true"}}},
	} {
		_, err := call(s, "StartSession", map[string]any{"Target": nodeID, "DocumentName": test.document, "Parameters": test.parameters})
		if err == nil || !strings.Contains(err.Error(), "InvalidParameters") {
			t.Errorf("%s %v: %v", test.document, test.parameters, err)
		}
	}
}
