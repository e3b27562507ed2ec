package proxy

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ssmpipe/ssmpipe/proxy/ask"
	"github.com/ssmpipe/ssmpipe/proxy/aws"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
	"github.com/ssmpipe/ssmpipe/proxy/tunnel"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

var (
	// ErrRefused means that the machine could not connect to the port: nothing
	// listens there, or the machine cannot reach the host. Read returns it, not
	// the dial, because the machine reports the failure only afterwards.
	// It also matches syscall.ECONNREFUSED.
	ErrRefused = errors.New("the machine could not connect to the port")

	// ErrAway means that the machine exists but is not connected to Systems
	// Manager: it is stopped, or its agent does not call in.
	ErrAway = errors.New("the machine is not connected to Systems Manager")
)

// Dialer connects through Session Manager to ports of machines or, with Via,
// to hosts that a machine can reach. The zero value is ready to use, with the
// default credentials and region. After the first dial a Dialer must not be
// copied and its fields must not be changed. All methods may be called
// concurrently.
//
// Connections to one port share a session, which starts when it is first
// needed and ends after two minutes without a connection. Callers must read a
// connection or close it: unread data is buffered, and beyond 64 MiB it blocks
// the other connections of the session.
//
// Agents older than 3.0.196.1 carry one connection per session. A port then
// uses up to 16 sessions, and further dials wait until a connection is closed.
// These agents do not report when the far side has ended a connection.
type Dialer struct {
	// Profile and Region select the AWS profile and region; "" means the one
	// that the environment or the profile sets.
	Profile, Region string

	// AWS, if not nil, is used instead of the environment's configuration.
	// Profile is then ignored.
	AWS *sdk.Config

	// Via, if not "", is the machine to connect through. Addresses are then
	// HOST:PORT, and that machine resolves the names.
	Via string

	// Pick chooses among machines of the same name; "" means [ErrSeveral].
	Pick Pick

	// Sessions is the number of sessions that share the connections to one
	// port, up to 16; 0 means 1. An agent sends less than 1 MB/s on each.
	Sessions int

	// ResumeTimeout is how long to try to restore a lost connection to AWS
	// before connections fail. 0 means 10 minutes; a negative value, no limit.
	ResumeTimeout time.Duration

	// KeepAlive is the interval between messages that keep the service from
	// considering a session idle; 0 means none are sent.
	KeepAlive time.Duration

	Log *slog.Logger // nil means no logging

	mu       sync.Mutex
	ctx      context.Context // nil until the first dial
	stop     context.CancelFunc
	closed   bool
	services map[string]*opened // by region
	opening  sync.WaitGroup
	tunnels  tunnel.OnDemand[dialled]
}

// dialled is the destination of a dial.
type dialled struct {
	target string
	machine.Destination
}

// dialTime limits starting a session, regardless of the dial's context.
const dialTime = 30 * time.Second

// Dial is [Dialer.DialContext] without a context.
func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialContext connects to address, which is TARGET:PORT or, with Via,
// HOST:PORT. See the package documentation for targets. The network must be
// tcp, tcp4 or tcp6; they are equivalent. ctx applies to the dial only.
//
// The connection survives interruptions of the connection to AWS. It has no
// CloseWrite: the far side sees the end of the data when the connection is
// closed. RemoteAddr returns the address as it was dialled.
//
// Errors are of type *[net.OpError]; Timeout reports true for timeouts.
// Use errors.Is to find the cause: [ErrTarget], [ErrNoMachine], [ErrSeveral],
// [ErrAway], [ErrNoRegion], fs.ErrPermission if AWS does not allow the call,
// ctx's error, or net.ErrClosed after [Dialer.Close]. errors.As finds the
// SDK's errors. A port on which nothing listens is not detected by the dial:
// Read then fails with [ErrRefused].
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: dialAddr(address), Err: err}
	}
	return conn, nil
}

func (d *Dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, net.UnknownNetworkError(network)
	}
	to, err := d.parse(address)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, dialError{err}
	}
	if !d.begin() {
		return nil, net.ErrClosed
	}
	conn, err := d.tunnels.Dial(ctx, to)
	switch {
	case err == nil:
		return newDialedConn(conn, d.ctx, dialAddr(address)), nil
	case d.ctx.Err() != nil:
		return nil, net.ErrClosed
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()): // the cause is another
		err = errors.Join(ctx.Err(), err)
	}
	return nil, dialError{err}
}

// parse splits an address into its parts.
func (d *Dialer) parse(address string) (to dialled, err error) {
	wrong := func(text string) (dialled, error) {
		return to, &net.AddrError{Err: text, Addr: address}
	}
	colon := strings.LastIndexByte(address, ':')
	if colon < 0 {
		return wrong("missing port in address")
	}
	host, port := address[:colon], address[colon+1:]
	if _, err := netip.ParseAddr(address); err == nil {
		return wrong("an IPv6 address must be in brackets")
	}
	if port, err = machine.CheckPort(port, 1); err != nil {
		return wrong(err.Error())
	}
	if d.Via == "" {
		err = d.checkTarget(host)
		return dialled{host, machine.Destination{Port: port}}, err
	}
	if n := len(host); n > 2 && host[0] == '[' && host[n-1] == ']' {
		host = host[1 : n-1]
	}
	switch {
	case host == "":
		return wrong("missing host in address")
	case machine.IsTarget(host):
		host = ""
	}
	err = d.checkTarget(d.Via)
	return dialled{d.Via, machine.Destination{Host: host, Port: port}}, err
}

func (d *Dialer) checkTarget(text string) error {
	_, err := (&machine.Options{Driver: aws.Driver{}}).ParseTarget(text)
	return err
}

// begin makes d ready for use. It reports false if d is closed.
func (d *Dialer) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx == nil && !d.closed {
		d.ctx, d.stop = context.WithCancel(context.Background())
		d.services = make(map[string]*opened)
		d.tunnels.Run(d.ctx, d.tunnel)
	}
	return !d.closed
}

// Close ends all connections and sessions, and cancels dials in progress. It
// takes less than 2 s and always returns nil.
func (d *Dialer) Close() error {
	d.mu.Lock()
	d.closed = true
	if d.ctx == nil {
		d.mu.Unlock()
		return nil
	}
	d.stop()
	d.mu.Unlock()
	d.tunnels.Close()
	d.opening.Wait()
	for _, s := range d.services { // no longer in use elsewhere
		s.service.Close()
	}
	return nil
}

// tunnel prepares the tunnel to a port.
func (d *Dialer) tunnel(to dialled) *tunnel.Tunnel {
	p := &port{d: d, to: to}
	return &tunnel.Tunnel{
		Open:     p.open,
		Log:      d.log().Info,
		Replaced: func() { d.log().Warn(to.target + ": " + tunnel.ErrReplaced.Error()) },
		Demand:   max(d.Sessions, 1),
	}
}

func (d *Dialer) log() *slog.Logger {
	return safetext.SafeLog(cmp.Or(d.Log, slog.New(slog.DiscardHandler)))
}

// port is a port that a Dialer connects to.
type port struct {
	d  *Dialer
	to dialled

	mu sync.Mutex
	c  *machine.Client // nil until the machine is found
}

// open starts a session to the port.
func (p *port) open(ctx context.Context) (stream.Port, error) {
	limited, limit, stop := ask.WithLimit(ctx, dialTime, driver.ErrConnectTimeout)
	defer stop()
	c, err := p.client(limited, limit)
	if err != nil {
		return nil, err
	}
	return c.Open(limited, p.to.Destination, false)
}

// client finds the machine on the first call and caches it.
func (p *port) client(ctx context.Context, limit *ask.Limit) (*machine.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.c != nil {
		return p.c, nil
	}
	d := p.d
	log := d.log()
	o := &machine.Options{
		Driver:  aws.Driver{Config: d.AWS},
		Account: driver.Account{Profile: d.Profile, Region: d.Region, Notice: func(line string) { log.Warn(line) }, Log: log},
		Choice:  machine.Choice{Target: p.to.target, Pick: d.Pick},
		Limits:  machine.Limits{ResumeTimeout: cmp.Or(d.ResumeTimeout, ssmproto.DefaultResumeTimeout), KeepAlive: d.KeepAlive},
	}
	c, err := o.NewClientWith(ctx, limit, func(ctx context.Context) (driver.Service, error) { return d.service(ctx, o) })
	if err != nil {
		return nil, err
	}
	p.c = c
	return c, nil
}

// opened is AWS's service in a region, or the error.
type opened struct {
	done    chan struct{} // closed when the other fields are set
	service driver.Service
	err     error
}

// service returns the service of o's region. It is opened once for all callers,
// and again after a failure.
func (d *Dialer) service(ctx context.Context, o *machine.Options) (driver.Service, error) {
	d.mu.Lock()
	s := d.services[o.Region]
	if s == nil && !d.closed {
		s = &opened{done: make(chan struct{})}
		d.services[o.Region] = s
		d.opening.Go(func() { d.open(s, o) })
	}
	d.mu.Unlock()
	if s == nil {
		return nil, net.ErrClosed
	}
	select {
	case <-s.done:
		return s.service, s.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (d *Dialer) open(s *opened, o *machine.Options) {
	ctx, _, stop := ask.WithLimit(d.ctx, dialTime, driver.ErrConnectTimeout)
	defer stop()
	s.service, s.err = o.Driver.Open(d.ctx, ctx, &o.Account)
	if s.err != nil {
		d.mu.Lock()
		delete(d.services, o.Region)
		d.mu.Unlock()
	}
	close(s.done)
	if s.err != nil {
		return
	}
	// Connections opened in advance serve the first calls.
	select {
	case <-time.After(releaseAfter):
	case <-d.ctx.Done():
	}
	s.service.Release()
}

// releaseAfter is how long connections that were opened in advance may be of use
// to the first calls.
const releaseAfter = 10 * time.Second
