package demo

import (
	"io"
	"net"
	"strings"
	"sync"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// A ptyRequest describes the client's terminal (RFC 4254 section 6.2).
type ptyRequest struct {
	Term                      string
	Cols, Rows, Width, Height uint32
	Modes                     string // pairs of opcode and value, section 8
}

// A winsize is the payload of window-change.
type winsize struct{ Cols, Rows, Width, Height uint32 }

// A session is one channel of type session: one command, shell or sftp.
type session struct {
	*sshConn
	ch      ssh.Channel
	env     []string
	pty     *ptyRequest // nil without a terminal
	started bool
	proc    *process // nil until exec or shell
	wg      sync.WaitGroup
}

func (c *sshConn) serveSession(channel ssh.NewChannel) {
	ch, requests, err := channel.Accept()
	if err != nil {
		return
	}
	s := &session{sshConn: c, ch: ch}
	for req := range requests {
		ok, then := s.request(req)
		if req.WantReply {
			_ = req.Reply(ok, nil)
		}
		if then != nil {
			then() // after the reply: clients expect it before output and status
		}
	}
	// The channel is closed, by whichever side.
	if s.proc != nil {
		s.proc.end()
	}
	s.wg.Wait()
}

// request handles one request. It returns what to do once the reply has been sent.
func (s *session) request(req *ssh.Request) (ok bool, then func()) {
	switch req.Type {
	case "env":
		var v struct{ Name, Value string }
		if s.started || ssh.Unmarshal(req.Payload, &v) != nil || v.Name == "" || strings.ContainsAny(v.Name+v.Value, "\x00") {
			return false, nil
		}
		// sshd accepts only a few names, because its users may be restricted.
		// The demo's users may run anything anyway.
		s.env = append(s.env, v.Name+"="+v.Value)
		return true, nil
	case "pty-req":
		var v ptyRequest
		if s.started || !havePty || ssh.Unmarshal(req.Payload, &v) != nil {
			return false, nil
		}
		s.pty = &v
		return true, nil
	case "window-change":
		var v winsize
		if ssh.Unmarshal(req.Payload, &v) != nil || s.proc == nil || s.proc.tty == nil {
			return false, nil
		}
		return setSize(s.proc.tty, v) == nil, nil
	case "exec":
		var v struct{ Command string }
		if ssh.Unmarshal(req.Payload, &v) != nil {
			return false, nil
		}
		return s.start(&v.Command)
	case "shell":
		return s.start(nil)
	case "subsystem":
		var v struct{ Name string }
		if s.started || ssh.Unmarshal(req.Payload, &v) != nil || v.Name != "sftp" {
			return false, nil
		}
		return s.startSFTP()
	case "signal":
		var v struct{ Name string }
		if ssh.Unmarshal(req.Payload, &v) != nil || s.proc == nil {
			return false, nil
		}
		return s.proc.signal(v.Name), nil
	}
	return false, nil
}

// start runs command in the shell, or the shell itself if command is nil.
func (s *session) start(command *string) (ok bool, then func()) {
	if s.started {
		return false, nil // one per channel: RFC 4254 section 6.5
	}
	cmd := shellCommand(command)
	cmd.Dir = s.home
	cmd.Env = s.environ()
	proc, err := startProcess(cmd, s.pty)
	if err != nil {
		_, _ = io.WriteString(s.ch.Stderr(), "ssmpipe demo: "+err.Error()+"\n")
		return false, nil
	}
	s.started, s.proc = true, proc
	return true, func() { s.attach(proc) }
}

// attach copies between the channel and the process, and closes the channel when
// the process has ended and all its output has been sent.
func (s *session) attach(p *process) {
	s.wg.Go(func() {
		_, _ = io.Copy(p.stdin, s.ch)
		if p.tty == nil {
			p.stdin.Close()
		} // else: as with sshd, a terminal has no end of file except a typed one
		// A process that does not read must not stop the client from
		// reaching its end of file.
		_, _ = io.Copy(io.Discard, s.ch)
	})
	drained := make(chan struct{})
	s.wg.Go(func() {
		var out sync.WaitGroup
		out.Go(func() { _, _ = io.Copy(s.ch, p.stdout) })
		if p.stderr != nil {
			out.Go(func() { _, _ = io.Copy(s.ch.Stderr(), p.stderr) })
		}
		out.Wait()
		_ = s.ch.CloseWrite()
		close(drained)
	})
	s.wg.Go(func() {
		<-p.done
		s.exit(p.status())
		// As with sshd, a background process that holds stdout open keeps
		// the channel open.
		<-drained
		s.ch.Close()
	})
}

// startSFTP serves sftp, which scp uses as well, in this process.
func (s *session) startSFTP() (ok bool, then func()) {
	server, err := sftp.NewServer(s.ch, sftp.WithServerWorkingDirectory(s.home))
	if err != nil {
		return false, nil
	}
	s.started = true
	return true, func() {
		s.wg.Go(func() {
			var status exitStatus
			if err := server.Serve(); err != nil {
				status.code = 1
			}
			// Not server.Close, which would close the channel before the
			// status, and scp fails without one.
			s.exit(status)
			s.ch.Close()
		})
	}
}

// An exitStatus says how a process ended: by a signal if signal is not empty.
type exitStatus struct {
	code   int
	signal string // RFC 4254's name, without SIG
	core   bool
}

// exit tells the client how the process ended (RFC 4254 section 6.10).
func (s *session) exit(status exitStatus) {
	if status.signal == "" {
		_, _ = s.ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(status.code)}))
		return
	}
	_, _ = s.ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
		Name     string
		Core     bool
		Message  string
		Language string
	}{Name: status.signal, Core: status.core}))
}

// environ returns the environment of a login. Of the demo's environment it has only
// what is needed to find and run programs.
func (s *session) environ() []string {
	user := s.conn.User()
	env := append(systemEnviron(),
		"HOME="+s.home,
		"USER="+user,
		"LOGNAME="+user,
		"SSH_CONNECTION="+connectionVar(s.conn.RemoteAddr(), s.conn.LocalAddr()),
		"PS1="+user+"@"+s.name+"$ ",
	)
	if s.pty != nil && s.pty.Term != "" {
		env = append(env, "TERM="+s.pty.Term)
	}
	return append(env, s.env...)
}

// connectionVar returns SSH_CONNECTION as sshd sets it: addresses and ports,
// separated by spaces.
func connectionVar(remote, local net.Addr) string {
	rh, rp, _ := net.SplitHostPort(remote.String())
	lh, lp, _ := net.SplitHostPort(local.String())
	return strings.Join([]string{rh, rp, lh, lp}, " ")
}
