package ssmtest

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestCloseLeavesNoGoroutine closes a server in the middle of everything.
func TestCloseLeavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, test := range []struct {
		name string
		do   func(s *Server, c *raw)
	}{
		{"idle", func(*Server, *raw) {}},
		{"ended", func(s *Server, c *raw) { c.session().End("") }},
		{"cut", func(s *Server, c *raw) { s.Cut(CutAbnormal) }},
		{"black hole", func(s *Server, c *raw) { s.BlackHole() }},
		{"stalled", func(s *Server, c *raw) { s.StallAgent(true) }},
		{"killed", func(s *Server, c *raw) { s.KillAgents() }},
		{"path", func(s *Server, c *raw) {
			s.SetPath(Path{Rate: 1000, Delay: time.Hour}, Path{Rate: 1000, Delay: time.Hour})
		}},
		{"agent's path", func(s *Server, c *raw) {
			s.SetAgentPath(Path{Rate: 1000, Delay: time.Hour}, Path{Rate: 1000, Delay: time.Hour})
		}},
		{"stalled, much to do", func(s *Server, c *raw) {
			s.StallAgent(true)
			go func() {
				for range 20 << 10 {
					c.output(strings.Repeat("x", 1024))
				}
			}()
			eventually(t, "the inbox is full", c.session().agent.Full)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, far := newServer(t, Config{Agent: Agent{NoSleep: true}})
			start(t, s) // in its handshake
			c, port := connect(t, s, far)
			go port.Write(make([]byte, 64<<20))
			for range 10 {
				c.output("x")
			}
			test.do(s, c)
			s.Close()
			s.Close()
			c.ws.Close()
			port.Close()
		})
	}
	eventually(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}
