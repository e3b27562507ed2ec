package main

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// rig is a stream from here to a far end, with the service in this process.
type rig struct {
	near net.Conn
	far  net.Conn
	sink *sink
	wire atomic.Int64 // bytes of frames that the client has sent
	srv  *awstest.Server
	wg   sync.WaitGroup

	mu  sync.Mutex   // for writing to near
	pos atomic.Int64 // bytes written
}

// newRig connects with a Conn without TLS, so that the bytes counted on the
// wire are those of frames.
func (b *bench) newRig(up, down ssmtest.Path) (r *rig, err error) {
	r = &rig{sink: newSink(), srv: awstest.NewServer(awstest.Config{Config: ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}}})}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	far, err := newFarEnd()
	if err != nil {
		return r, err
	}
	defer far.Close()
	r.srv.AddNode(awstest.Node{ID: node, Node: ssmtest.Node{Dial: dialAlways(far.addr)}})
	r.srv.SetPath(up, down)
	transport := r.srv.Transport()
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &countedConn{c, &r.wire}, nil
	}
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	conn, err := ssmproto.Dial(ctx, r.srv.NewClient(node, "22"), &ssmproto.Config{Transport: transport})
	if err != nil {
		return r, err
	}
	r.near = conn
	return r, r.connect(b, far)
}

// newPlainRig connects with plain TCP.
func (b *bench) newPlainRig() (r *rig, err error) {
	r = &rig{sink: newSink()}
	far, err := newFarEnd()
	if err != nil {
		return r, err
	}
	defer far.Close()
	if r.near, err = net.Dial("tcp", far.addr); err != nil {
		return r, err
	}
	if err = r.connect(b, far); err != nil {
		r.close()
	}
	return r, err
}

func (r *rig) connect(b *bench, far *farEnd) (err error) {
	if r.far, err = far.next(b.ctx); err != nil {
		return err
	}
	r.wg.Go(func() { r.sink.drink(r.far) })
	return nil
}

// close closes everything. A blocked Write returns.
func (r *rig) close() {
	if r.near != nil {
		r.near.SetDeadline(time.Unix(1, 0))
		r.near.Close()
	}
	if r.far != nil {
		r.far.Close()
	}
	if r.srv != nil {
		r.srv.Close()
	}
	r.wg.Wait()
}

// write writes the stream's next n bytes. A probe is timed from before it waits
// for its turn until it arrives.
func (r *rig) write(n int, timed bool) error {
	begun := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	pos := r.pos.Load()
	if timed {
		r.sink.expect(probe{pos, begun})
	}
	k, err := r.near.Write(streamAt(pos, n))
	r.pos.Add(int64(k))
	return err
}

// load writes continuously until it is stopped; with probes, another goroutine
// also writes a byte every 100 ms, like a keystroke during an upload.
type load struct {
	stop chan struct{}
	once sync.Once
	errs chan error
	wg   sync.WaitGroup
}

func (r *rig) load(probes bool) *load {
	l := &load{stop: make(chan struct{}), errs: make(chan error, 2)}
	l.wg.Go(func() {
		for {
			select {
			case <-l.stop:
				return
			default:
			}
			if err := r.write(1024, false); err != nil {
				l.errs <- err
				return
			}
		}
	})
	if probes {
		l.wg.Go(func() {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-l.stop:
					return
				case <-tick.C:
				}
				if err := r.write(1, true); err != nil {
					l.errs <- err
					return
				}
			}
		})
	}
	return l
}

// end stops the load and returns the first error of writing.
func (l *load) end() error {
	l.once.Do(func() { close(l.stop) })
	l.wg.Wait()
	select {
	case err := <-l.errs:
		return err
	default:
		return nil
	}
}

// settle waits until everything written has arrived.
func (r *rig) settle(b *bench, l *load) error {
	r.near.SetWriteDeadline(time.Now().Add(time.Minute))
	err := l.end()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errors.New("Write is blocked")
	}
	if err != nil {
		return err
	}
	return r.sink.waitFor(b.ctx, r.pos.Load()-1, time.Minute)
}

// countedConn counts the bytes written.
type countedConn struct {
	net.Conn
	n *atomic.Int64
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.n.Add(int64(n))
	return n, err
}
