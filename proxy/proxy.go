package proxy

import (
	"context"
	"net"
	"os"

	"github.com/ssmpipe/ssmpipe/proxy/stdio"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

// Stdio connects to the target's port and pipes stdin and stdout over it until
// the far side ends. Its error is for the user's eyes. When ctx ends, Stdio
// ends the session and returns ctx's cause within 2 s.
func Stdio(ctx context.Context, o Options, stdin, stdout *os.File) error {
	o.fill()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ends := stdio.Take(stdin, stdout, cancel)
	defer ends.Close()
	if o.Alone {
		stdio.TuneMemory()
	}
	o.makeControlDir()
	key, err := o.newPushing()
	if err != nil {
		return o.explain(err)
	}
	defer key.close()
	conn, err := dial(ctx, &o, key)
	if err != nil {
		return o.explain(err)
	}
	if o.Alone {
		stdio.ReleaseStart()
		ends.Tune()
	}
	err = stdio.Copy(ctx, conn, ends.In, key.hold(ends.Out), o.Log)
	conn.Close() // what goes wrong with that, session tells
	return o.explain(err)
}

// dial opens a session and its stream, and pushes key meanwhile.
func dial(ctx context.Context, o *Options, key *pushing) (net.Conn, error) {
	limited, limit, stop := o.connectLimit(ctx)
	defer stop()
	c, err := o.newClient(ctx, limited, limit)
	defer c.warm.Drop()
	if err != nil {
		return nil, err
	}
	key.start(ctx, c)
	document := ""
	if o.Host == "" {
		document = sshDocument
	}
	port, err := c.open(limited, document, destination{o.Host, o.Port})
	if err != nil {
		return nil, err
	}
	o.linkHostKeys(c.machine().id)
	key.ready(c.machine().id)
	return only(limited, port)
}

// only makes port's one connection.
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

// onlyConn takes its session with it.
type onlyConn struct {
	net.Conn
	port stream.Port
}

func (c *onlyConn) Close() error {
	c.Conn.Close()
	return c.port.Close()
}
