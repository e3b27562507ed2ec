package stdio

import (
	"context"
	"net"
	"os"

	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

// Options say what to connect to, and what ssh needs besides the stream.
type Options struct {
	machine.Options
	Key        *PushKey // the key that ssh uses; nil if not known
	HostKeys   string   // directory of known_hosts files by machine, with links by name; "" for none
	ControlDir string   // directory for ssh's ControlPath, created for this user; "" for none

	noSockets bool // ControlDir cannot be used
}

// Connect connects to the target's port and pipes stdin and stdout over it
// until the far side ends. Its error is written for the user. When ctx ends,
// Connect ends the session and returns ctx's cause within 2 s.
func Connect(ctx context.Context, o Options, stdin, stdout *os.File) error {
	o.Fill()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ends := Take(stdin, stdout, cancel)
	defer ends.Close()
	if o.Alone {
		TuneMemory()
	}
	o.makeControlDir()
	key, err := o.newPushing()
	if err != nil {
		return o.Explain(err)
	}
	defer key.close()
	conn, err := dial(ctx, &o, key)
	if err != nil {
		return o.Explain(err)
	}
	if o.Alone {
		ReleaseStart()
		ends.Tune()
	}
	err = Copy(ctx, conn, ends.In, key.hold(ends.Out), o.Log)
	conn.Close() // the session reports its own errors in closing
	return o.Explain(err)
}

// dial opens a session and its stream, and pushes key meanwhile.
func dial(ctx context.Context, o *Options, key *pushing) (net.Conn, error) {
	limited, limit, stop := o.ConnectLimit(ctx)
	defer stop()
	c, err := o.NewClient(ctx, limited, limit)
	defer c.Release()
	if err != nil {
		return nil, err
	}
	key.start(ctx, c)
	port, err := c.Open(limited, machine.Destination{Host: o.Host, Port: o.Port}, o.Host == "")
	if err != nil {
		return nil, err
	}
	o.linkHostKeys(c.Machine().ID)
	key.ready(c.Machine().ID)
	return only(limited, port)
}

// only opens the single connection of port.
func only(ctx context.Context, port stream.Port) (net.Conn, error) {
	if !port.Multiplexed() {
		return port, nil
	}
	c, err := port.Open(ctx)
	if err != nil {
		port.Close()
		return nil, err
	}
	return &onlyConn{c, port}, nil
}

// onlyConn closes its session when it is closed.
type onlyConn struct {
	net.Conn
	port stream.Port
}

func (c *onlyConn) Close() error {
	c.Conn.Close()
	return c.port.Close()
}
