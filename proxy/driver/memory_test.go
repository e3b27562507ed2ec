package driver_test

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

// memory is a cloud that exists in this process only. Its machines share this
// machine's network, and have a shell with two commands.
type memory struct{ machines []driver.Machine }

var errAsleep = errors.New("the machine is asleep")

func (*memory) Words() driver.Words { return driver.Words{Cloud: "memory", Agent: "agent"} }

func (*memory) Parse(text string) (driver.Target, error) {
	if strings.HasPrefix(text, "m-") {
		return driver.Target{Text: text, ID: text}, nil
	}
	return driver.Target{Text: text, Name: text}, nil
}

func (*memory) Names(t driver.Target, m *driver.Machine) bool {
	return strings.EqualFold(t.Name, m.Name)
}

func (m *memory) Open(life, ctx context.Context, a *driver.Account) (driver.Service, error) {
	return &memoryService{m, cmp.Or(a.Region, "here")}, nil
}

func (*memory) CacheKey(*driver.Account) []string { return []string{"memory"} }

func (*memory) Explain(err error, _ *driver.Account) driver.Meaning {
	m := driver.Meaning{Cause: err.Error(), NotConnected: errors.Is(err, errAsleep)}
	if m.NotConnected {
		m.Next = "wake it"
	}
	return m
}

type memoryService struct {
	cloud  *memory
	region string
}

func (s *memoryService) Region() string                                            { return s.region }
func (s *memoryService) CacheKey() []string                                        { return []string{"memory", s.region} }
func (s *memoryService) Inventory(func(action string, err error)) driver.Inventory { return s }
func (s *memoryService) Release()                                                  {}
func (s *memoryService) Close()                                                    {}

func (s *memoryService) Find(ctx context.Context, t driver.Target, anyCase bool) (list []driver.Machine, err error) {
	for _, m := range s.cloud.machines {
		if m.ID == t.ID || t.Name != "" && m.Name == t.Name {
			list = append(list, m)
		}
	}
	return list, nil
}

func (s *memoryService) List(ctx context.Context, page func([]driver.Machine) error) error {
	return page(s.cloud.machines)
}

// awake returns an error unless the machine with that id is awake.
func (s *memoryService) awake(id string) error {
	for _, m := range s.cloud.machines {
		if m.ID == id && m.Online() {
			return nil
		}
	}
	return errAsleep
}

func (s *memoryService) OpenPort(ctx context.Context, id string, r driver.PortRequest) (stream.Port, error) {
	if err := s.awake(id); err != nil {
		return nil, err
	}
	return &memoryPort{newMemoryConn(nil), net.JoinHostPort(cmp.Or(r.To.Host, "127.0.0.1"), r.To.Port)}, nil
}

func (s *memoryService) OpenShell(ctx context.Context, id string, r driver.ShellRequest) (*driver.Shell, error) {
	if err := s.awake(id); err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	sh := &memoryShell{memoryConn: newMemoryConn(near), out: bufio.NewReader(near)}
	go func() {
		defer far.Close()
		if r.Command != "" {
			sh.status = run(far, r.Command)
			return
		}
		for lines := bufio.NewScanner(far); lines.Scan() && lines.Text() != "exit"; {
			run(far, lines.Text())
		}
	}()
	return &driver.Shell{Shell: sh}, nil
}

// run runs a command of the memory's shell. Each of its lines begins with the
// stream that it is for.
func run(w io.Writer, command string) (status int) {
	word, rest, _ := strings.Cut(command, " ")
	switch word {
	case "echo":
		fmt.Fprintf(w, "1%s\n", rest)
		return 0
	case "fail":
		fmt.Fprintf(w, "2%s\n", rest)
		return 3
	}
	fmt.Fprintf(w, "2%s: not found\n", word)
	return 127
}

// memoryConn is a stream that nothing interrupts.
type memoryConn struct {
	net.Conn // nil if only Open gives connections
	once     sync.Once
	done     chan struct{}
	err      error
}

func newMemoryConn(c net.Conn) *memoryConn { return &memoryConn{Conn: c, done: make(chan struct{})} }

func (c *memoryConn) Done() <-chan struct{} { return c.done }

func (c *memoryConn) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

func (c *memoryConn) Fail(err error) {
	c.once.Do(func() {
		c.err = err
		close(c.done)
	})
}

func (c *memoryConn) Close() error {
	c.Fail(io.EOF)
	if c.Conn != nil {
		return c.Conn.Close()
	}
	return nil
}

func (*memoryConn) Silence() (time.Duration, int, <-chan struct{}) { return 0, 0, nil }

// memoryPort is a port of this machine.
type memoryPort struct {
	*memoryConn
	address string
}

func (*memoryPort) Multiplexed() bool      { return true }
func (*memoryPort) Stalled() time.Duration { return 0 }

func (p *memoryPort) Open(ctx context.Context) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", p.address)
}

// memoryShell is a shell whose output is in lines.
type memoryShell struct {
	*memoryConn
	out    *bufio.Reader
	status int
}

func (*memoryShell) Message() string              { return "welcome to memory" }
func (*memoryShell) Resize(cols, rows int)        {}
func (s *memoryShell) ExitStatus() (int, bool)    { return s.status, true }
func (s *memoryShell) Read(p []byte) (int, error) { n, _, err := s.ReadPart(p); return n, err }

func (s *memoryShell) ReadPart(p []byte) (n int, stderr bool, err error) {
	line, err := s.out.ReadString('\n')
	if line == "" {
		return 0, false, err
	}
	return copy(p, line[1:]), line[0] == '2', nil // p holds a line of these tests
}
