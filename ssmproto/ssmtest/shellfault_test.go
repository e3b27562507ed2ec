//go:build unix

package ssmtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest/agent"
)

// alive tells whether a process is there.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err == nil { // one that nobody has waited for yet has ended
		return !strings.Contains(string(stat), ") Z ")
	}
	return syscall.Kill(pid, 0) == nil
}

// pids reads process numbers that a test's programs write to a file.
func pids(t *testing.T, file string, want int) (list []int) {
	t.Helper()
	eventually(t, fmt.Sprint(want, " processes run"), func() bool {
		text, _ := os.ReadFile(file)
		list = nil
		for _, line := range strings.Split(strings.TrimRight(string(text), "\n"), "\n") {
			if pid, err := strconv.Atoi(line); err == nil {
				list = append(list, pid)
			}
		}
		return len(list) == want && strings.HasSuffix(string(text), "\n")
	})
	return list
}

func TestNoProgramOutlivesItsSession(t *testing.T) {
	noLeaks(t)
	file := ""
	shell := func(s *Server) (*raw, []int) {
		c := startShell(t, s)
		c.collect("$ ")
		// Jobs are groups of their own, and these do not mind a hangup.
		c.output(fmt.Sprintf("set -m; trap '' HUP; sleep 1000 & echo $! >>%[1]s; sh -c 'echo $$ >>%[1]s; exec sleep 1000'\n", file))
		return c, pids(t, file, 2)
	}
	command := func(separate string) func(s *Server) (*raw, []int) {
		return func(s *Server) (*raw, []int) {
			c := startCommand(t, s, "command", fmt.Sprintf(`sh -c "sleep 1000 & echo \$! >>%[1]s; echo \$\$ >>%[1]s; wait"`, file), "separateOutputStream", separate)
			return c, pids(t, file, 2)
		}
	}
	programs := map[string]func(s *Server) (*raw, []int){"a shell": shell, "a command": command("false"), "a command, apart": command("true")}
	for _, test := range []struct {
		name string
		end  func(s *Server, c *raw)
	}{
		{"ended", func(_ *Server, c *raw) { c.session().End("") }},
		{"terminated by flag", func(_ *Server, c *raw) { c.send(c.next, ssmproto.FlagPayload, "\x00\x00\x00\x02") }},
		{"killed", func(s *Server, _ *raw) { s.KillAgents() }},
		{"closed", func(s *Server, _ *raw) { s.Close() }},
		{"closed while it is paused", func(s *Server, c *raw) {
			s.Cut(CutReset)
			eventually(c.t, "paused", c.session().agent.Paused)
			s.Close()
		}},
		{"closed while it is stalled", func(s *Server, _ *raw) {
			s.StallAgent(true)
			s.Close()
		}},
	} {
		for name, start := range programs {
			t.Run(test.name+", "+name, func(t *testing.T) {
				file = filepath.Join(t.TempDir(), "pids")
				s := newShellServer(t, Config{Agent: Agent{NoSleep: true}})
				c, list := start(s)
				test.end(s, c)
				eventually(t, "the processes are gone", func() bool { return !alive(list[0]) && !alive(list[1]) })
			})
		}
	}
}

func TestAnAgentWaitsASecondBeforeItReadsATerminal(t *testing.T) {
	t.Parallel()
	s := newShellServer(t, Config{})
	began := time.Now()
	c := startShell(t, s)
	c.collect("$ ")
	if took := time.Since(began); took < agent.ShellWait {
		t.Errorf("the prompt came after %v", took)
	}
	began = time.Now()
	c.output("head -c 100000 /dev/zero | tr '\\0' x; echo; echo end of it\n")
	got, _ := c.collect("xxx\r\nend of it\r\n")
	if n := strings.Count(got[ssmproto.Output], "x"); n < 100_000 {
		t.Errorf("%d bytes came", n)
	}
	if took := time.Since(began); took < 97*agent.Pace {
		t.Errorf("98 messages took %v", took)
	}
}

func TestAPausedAgentDoesNotReadItsTerminal(t *testing.T) {
	t.Parallel()
	s := newShellServer(t, Config{Agent: Agent{NoSleep: true}})
	c := startShell(t, s)
	c.collect("$ ")
	s.Cut(CutReset)
	eventually(t, "paused", c.session().agent.Paused)
	c.resume()
	c.output("stty -onlcr; seq 100000\n")
	c.collect("\n5000\n")
	s.Cut(CutAbnormal)
	eventually(t, "paused", c.session().agent.Paused)
	// What is being read is sent yet, and then no more: not all fits in between.
	eventually(t, "it stands still", func() bool {
		before := c.session().BytesDown()
		time.Sleep(20 * time.Millisecond)
		return c.session().BytesDown() == before
	})
	if n := c.session().BytesDown(); n > 500_000 {
		t.Errorf("%d bytes were read", n)
	}
	c.resume()
	got, _ := c.collect("\n100000\n")
	if strings.Contains(got[ssmproto.Output], "\n1000\n") {
		t.Error("it begins anew")
	}
}

// TestAPausedAgentGivesUpACommandsPipes is about a fault of the agent's.
func TestAPausedAgentGivesUpACommandsPipes(t *testing.T) {
	t.Parallel()
	var givenUp atomic.Bool
	s := newShellServer(t, Config{Agent: Agent{NoSleep: true}, Logf: func(format string, args ...any) {
		if strings.HasSuffix(fmt.Sprintf(format, args...), "payload type 1 is given up") {
			givenUp.Store(true)
		}
	}})
	dir := t.TempDir()
	c := startCommand(t, s, "command", fmt.Sprintf(
		"sh -c 'on() { until test -e %s/$1; do sleep 0.01; done; echo $1; }; echo one; on two; on three; exit 3'", dir), "separateOutputStream", "true")
	c.collect("one\n")
	goOn := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.Cut(CutReset)
	eventually(t, "paused", c.session().agent.Paused)
	goOn("two")
	eventually(t, "the pipe is given up", givenUp.Load)
	c.resume()
	eventually(t, "resumed", func() bool { return !c.session().agent.Paused() })
	goOn("three")
	got, _ := c.collect("")
	// What was read before is sent.
	if out := got[ssmproto.Output]; out != "two\n" && out != "" || got[ssmproto.ExitCode] != "EXIT_CODE: 3" {
		t.Errorf("got %v", got)
	}
}

func TestAShellOfAnOldAgentBeginsAtOnce(t *testing.T) {
	t.Parallel()
	s := newShellServer(t, encrypting(Agent{NoHandshake: true, NoSleep: true}))
	c := startDocument(t, s, preferences, nil)
	if m := c.recv(); m.PayloadType != ssmproto.Output || m.Sequence != 0 || m.Flags != ssmproto.SYN {
		t.Errorf("got %+v", m)
	}
	c.output("echo $((6*7))\n")
	c.collect("42\r\n")
}

func TestAnIdleShellEnds(t *testing.T) {
	t.Parallel()
	s := newShellServer(t, Config{IdleTimeout: 300 * time.Millisecond, Agent: Agent{NoSleep: true}})
	c := startShell(t, s)
	if _, reason := c.collect(""); reason != idleReason {
		t.Errorf("it ended with %q", reason)
	}
}

// TestAShellSurvivesFaults has a client of its own code, as they take one that
// sends again.
func TestAShellSurvivesFaults(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		fault func(s *Server)
	}{
		{"cuts", func(s *Server) {
			s.CutEach(func(link int) (int64, Cut) { return 40_000, []Cut{CutReset, CutBye, CutAbnormal}[link%3] })
		}},
		{"loss", func(s *Server) {
			p := Path{Drop: 0.02, Duplicate: 0.02, Reorder: 0.02, Seed: 1}
			s.SetPath(p, p)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newShellServer(t, Config{Agent: Agent{NoSleep: true, ResendEvery: 5 * time.Millisecond}})
			test.fault(s)
			ctx, cancel := context.WithTimeout(t.Context(), 4*wait)
			defer cancel()
			conn, err := ssmproto.Dial(ctx, s.NewDocumentClient(nodeID, "", nil), &ssmproto.Config{Transport: s.Transport()})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(4 * wait))
			go io.WriteString(conn, "stty -echo -onlcr; PS1=; echo begin; seq 20000; exit\n")
			out, err := io.ReadAll(conn)
			if err != nil && !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			_, numbers, _ := strings.Cut(string(out), "begin\n") // the echo goes on with ;
			var want strings.Builder
			for i := range 20000 {
				fmt.Fprintln(&want, i+1)
			}
			if numbers != want.String() {
				t.Errorf("%d bytes, want %d", len(numbers), want.Len())
			}
		})
	}
}
