package stdio

import (
	"context"
	"net"
	"os"

	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

// Connect connects to the target's port and pipes stdin and stdout over it
// until the far side ends. Its error is written for the user. When ctx ends,
// Connect ends the session and returns ctx's cause within 2 s.
func Connect(ctx context.Context, o machine.Options, stdin, stdout *os.File) error {
	o.Fill()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ends := Take(stdin, stdout, cancel)
	defer ends.Close()
	if o.Alone {
		TuneMemory()
	}
	o.MakeControlDir()
	key, err := o.NewPushing()
	if err != nil {
		return o.Explain(err)
	}
	defer key.Close()
	conn, err := dial(ctx, &o, key)
	if err != nil {
		return o.Explain(err)
	}
	if o.Alone {
		ReleaseStart()
		ends.Tune()
	}
	err = Copy(ctx, conn, ends.In, key.Hold(ends.Out), o.Log)
	conn.Close() // the session reports its own errors in closing
	return o.Explain(err)
}

// dial opens a session and its stream, and pushes key meanwhile.
func dial(ctx context.Context, o *machine.Options, key *machine.Pushing) (net.Conn, error) {
	limited, limit, stop := o.ConnectLimit(ctx)
	defer stop()
	c, err := o.NewClient(ctx, limited, limit)
	defer c.Release()
	if err != nil {
		return nil, err
	}
	key.Start(ctx, c)
	port, err := c.Open(limited, machine.Destination{Host: o.Host, Port: o.Port}, o.Host == "")
	if err != nil {
		return nil, err
	}
	o.LinkHostKeys(c.Machine().ID)
	key.Ready(c.Machine().ID)
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
