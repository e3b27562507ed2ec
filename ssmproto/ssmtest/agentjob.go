package ssmtest

import "github.com/ssmpipe/ssmpipe/ssmproto/ssmtest/agent"

// Agent configures an agent's behaviour. The zero value is amazon-ssm-agent
// 3.3.
type Agent = agent.Config

// AgentVersion is the default version of agents.
const AgentVersion = agent.Version

// job returns the job of the session's agent.
func (s *Session) job(sessionType string, properties map[string]string) agent.Job {
	cfg := &s.srv.cfg
	job := agent.Job{
		Config:       cfg.Agent,
		SessionID:    s.id,
		SessionType:  sessionType,
		Properties:   properties,
		NodeID:       s.node.ID,
		Dial:         s.node.Dial,
		Hosts:        s.node.Hosts,
		Command:      s.node.Command,
		Mux:          s.node.Mux,
		ShellProfile: cfg.ShellProfile,
		KeyID:        cfg.KeyID,
		Decrypt:      cfg.Decrypt,
		Service:      forAgent{s},
	}
	if s.node.Agent != nil {
		job.Config = *s.node.Agent
	}
	if host := s.params["host"]; len(host) > 0 {
		job.ToHost = host[0]
	}
	return job
}

// forAgent is the agent.Service of a session's agent.
type forAgent struct{ s *Session }

func (f forAgent) Go(fn func()) { f.s.srv.wg.Go(fn) }

func (f forAgent) Logf(format string, args ...any) {
	f.s.srv.logf("%s: "+format, append([]any{f.s.id}, args...)...)
}

func (f forAgent) Running(stop <-chan struct{}) bool { return f.s.srv.faults.stall.pass(stop) }

func (f forAgent) ToClient(frames []byte, limit int) { f.s.down.pushFrames(frames, limit) }

func (f forAgent) End(reason string) {
	f.s.down.push(parcel{kind: farewell, data: []byte(reason)})
}

func (f forAgent) Stopped() {
	f.s.up.close()
	f.s.down.close()
}

func (f forAgent) Resized(cols, rows int) {
	f.s.size.Store(uint32(cols)<<16 | uint32(rows))
}
