package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/lastly"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// nodes are the demo's instances. There are two so that one can be a jump host.
var nodes = []string{"i-0demo", "i-0demo2"}

// names are the names of the nodes.
var names = map[string]string{"i-0demo": "web-1", "i-0demo2": "db-1"}

// endGrace is how long to wait for each ssmpipe to end: the longest that it may
// take.
const endGrace = 2 * time.Second

// login is the user name in the ssh config. The servers accept any.
const login = "demo"

// Options say what Run does. With the zero value, Run waits and prints nothing.
type Options struct {
	// Command is run in the demo's environment, and the demo ends when it
	// does. If empty, Run prints lines to paste and waits for the context.
	Command []string

	// Executable is the ssmpipe that ssh starts as its ProxyCommand. If
	// empty, it is the running binary.
	Executable string

	// NoSleep makes the instances' agents as fast as the machine allows. Real
	// agents sleep 1 ms after each kilobyte that they send. By default the
	// demo's do too, so that it is as fast as AWS.
	NoSleep bool

	// Stdin, Stdout and Stderr are the command's. A value of type *os.File is
	// passed on unchanged, so that a terminal remains one. Without a command,
	// Run prints to Stdout. Nil means the null device.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Run starts the demo, runs the command or waits for ctx to end, and removes
// everything again.
//
// The status is the command's: its exit status, 128+n if signal n ended it, 127
// if there is no such command, 126 if it cannot be run. Without a command it is
// 0. The error says why the command could not be run, or what failed in the demo
// itself (status 1 unless the command had one of its own). A command that fails is
// not an error.
//
// The caller must catch signals, and end ctx on os.Interrupt, SIGTERM and SIGHUP.
// The command then gets SIGTERM, and SIGKILL 2 s later. There is one exception, so
// that an interactive command can handle Ctrl-C itself: a terminal sends the
// interrupt to the command as well as to the caller, so when ctx ends by
// os.Interrupt and standard input is a terminal, Run sends nothing and goes on
// waiting for the command, as a shell does, until SIGTERM or SIGHUP arrives. Run
// listens for these signals itself to detect this.
func Run(ctx context.Context, o Options) (status int, err error) {
	d, err := start(o)
	if err != nil {
		return 1, fmt.Errorf("demo: %w", err)
	}
	defer func() {
		if closeErr := d.close(); closeErr != nil {
			err = errors.Join(err, fmt.Errorf("demo: %w", closeErr))
			if status == 0 {
				status = 1
			}
		}
	}()
	if len(o.Command) == 0 {
		if o.Stdout != nil {
			if _, err := io.WriteString(o.Stdout, d.dir.instructions()); err != nil {
				return 1, fmt.Errorf("demo: print how to reach it: %w", err)
			}
		}
		<-ctx.Done()
		return 0, nil
	}
	d.commanded = true
	return runCommand(ctx, o, d.dir.environ(os.Environ()))
}

// A demo is everything that Run has started.
type demo struct {
	dir     *dir
	sshds   []*sshd
	service *awstest.Server

	commanded bool // a command was run and has ended

	forget func() // cancels the call of abandon at the end of the process; nil before
}

func start(o Options) (_ *demo, err error) {
	if o.Executable == "" {
		if o.Executable, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find the ssmpipe to start: %w", err)
		}
	}
	if o.Executable, err = filepath.Abs(o.Executable); err != nil {
		return nil, fmt.Errorf("find the ssmpipe to start: %w", err)
	}

	d := new(demo)
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.dir, err = makeDir(); err != nil {
		return nil, err
	}
	client, err := newKey()
	if err != nil {
		return nil, err
	}
	d.service = awstest.NewServer(awstest.Config{Config: ssmtest.Config{Agent: ssmtest.Agent{NoSleep: o.NoSleep}}})

	network := make(hosts)
	homes := make(map[string]string)
	hostKeys := make(map[string]key)
	for _, id := range nodes {
		home, err := d.dir.makeHome(id)
		if err != nil {
			return nil, err
		}
		homes[id] = home
		host, err := newKey()
		if err != nil {
			return nil, err
		}
		s, err := startSSHD(id, home, host.signer, client.signer.PublicKey(), network.dialFrom(id))
		if err != nil {
			return nil, err
		}
		d.sshds = append(d.sshds, s)
		network[id], hostKeys[id] = s.Addr(), host
	}
	// The network is complete. From here on it is read-only.
	for _, id := range nodes {
		d.service.AddNode(awstest.Node{ID: id, Name: names[id], Node: ssmtest.Node{Dial: network.dialFrom(id), Command: commandIn(homes[id], names[id])}})
	}
	if err := d.dir.write(o.Executable, d.service.Env(), client, hostKeys); err != nil {
		return nil, err
	}
	d.forget = lastly.Add(func(context.Context) { d.abandon() })
	return d, nil
}

// commandIn returns a function that makes the commands of an instance's agent. They
// run in the instance's home with the environment of a login, not the demo's.
func commandIn(home, name string) func(string, ...string) *exec.Cmd {
	return func(program string, arg ...string) *exec.Cmd {
		cmd := exec.Command(program, arg...)
		cmd.Dir = home
		cmd.Env = append(systemEnviron(), "HOME="+home, "USER=ssm-user", "LOGNAME=ssm-user", "PS1=ssm-user@"+name+"$ ")
		return cmd
	}
}

// abandon is close for when there is no time left. It leaves no key and no command
// of the demo behind.
func (d *demo) abandon() {
	os.RemoveAll(d.dir.path)
	var wg sync.WaitGroup
	for _, s := range d.sshds {
		wg.Go(func() { s.Close() })
	}
	wg.Go(d.service.Close)
	wg.Wait()
}

// close ends everything that start has started. It ends remaining sessions, such as
// those of other terminals, before the service. Otherwise their ssmpipe would
// take the service for temporarily unreachable, and retry for minutes.
func (d *demo) close() error {
	if d.forget != nil {
		defer d.forget()
	}
	var wg sync.WaitGroup
	errs := make([]error, len(d.sshds)+1)
	if d.commanded {
		d.dir.users.wait(endGrace) // the command's ssmpipes are about to end
	}
	var left []*ssmtest.Session
	if d.service != nil {
		left = slices.DeleteFunc(d.service.Sessions(), (*ssmtest.Session).Ended)
	}
	for i, s := range d.sshds {
		wg.Go(func() { errs[i] = s.Close() })
	}
	wg.Wait()
	for _, s := range left {
		s.End("the demo has ended")
	}
	if len(left) > 0 {
		// The service's Close resets connections, so clients that have not
		// read the end of their session yet would lose it.
		d.dir.users.wait(endGrace)
	}
	if d.service != nil {
		d.service.Close()
	}
	if d.dir != nil {
		errs[len(d.sshds)] = d.dir.remove()
	}
	return errors.Join(errs...)
}
