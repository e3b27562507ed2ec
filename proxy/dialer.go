package proxy

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ssmpipe/ssmpipe/proxy/ask"
	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
	"github.com/ssmpipe/ssmpipe/proxy/tunnel"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

var (
	// ErrRefused says that the machine could not connect to the port: nothing
	// listens there, or the host cannot be reached from it. It is what Read of a
	// connection fails with then, because the machine tells it only afterwards.
	// syscall.ECONNREFUSED matches it too.
	ErrRefused = errors.New("the machine could not connect to the port")

	// ErrAway says that the machine is there but not connected to Systems
	// Manager: it is stopped, or its agent does not call in.
	ErrAway = errors.New("the machine is not connected to Systems Manager")
)

// Dialer connects to ports of machines by way of Session Manager, and, with
// Via, of what a machine reaches. The zero value is ready to use, with the
// default credentials and region. It must not be copied after the first dial,
// and its fields not be changed. All methods may be called concurrently.
//
// Connections to one port share a session, which is started when it is first
// needed and ended when it has had no connection for two minutes. Read a
// connection or close it: what has come for one that is not read is kept, and
// past 64 MiB the others of the session wait for it.
//
// Agents older than 3.0.196.1 carry one connection in a session: there are up to
// 16 sessions to a port then, and a dial beyond these waits until a connection is
// closed. They do not tell when the far side has ended a connection.
type Dialer struct {
	// Profile and Region are those of the AWS configuration; "" means what the
	// environment or the profile says.
	Profile, Region string

	// AWS, if not nil, is used instead of the configuration of the environment,
	// and Profile means nothing then.
	AWS *aws.Config

	// Via, if not "", is the machine behind which addresses are: they are
	// HOST:PORT then, with names as that machine resolves them.
	Via string

	// Pick chooses among machines of the same name; "" is [ErrSeveral].
	Pick Pick

	// Sessions is over how many sessions the connections to one port are spread,
	// up to 16; 0 means 1. An agent sends less than 1 MB/s on each.
	Sessions int

	// ResumeTimeout is for how long a connection to AWS that was lost is tried to
	// overcome before connections fail. 0 means 10 minutes, less than 0 no limit.
	ResumeTimeout time.Duration

	// KeepAlive is how often something is sent so that the service does not take
	// a session for idle; 0 means never.
	KeepAlive time.Duration

	Log *slog.Logger // nil: nothing

	mu      sync.Mutex
	ctx     context.Context // nil until the first dial
	stop    context.CancelFunc
	closed  bool
	loading map[string]*loadedConfig // by region
	loads   sync.WaitGroup
	tunnels tunnel.OnDemand[dialled]
}

// dialled is where a Dialer connects to.
type dialled struct {
	target string
	machine.Destination
}

// dialTime is how long it may take to start a session, whatever a dial's
// context says.
const dialTime = 30 * time.Second

// Dial is [Dialer.DialContext] without a context.
func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialContext connects to address, which is TARGET:PORT, or with Via HOST:PORT;
// see the package's documentation for targets. The network is tcp, tcp4 or
// tcp6, which makes no difference. ctx bounds the dial only.
//
// The connection goes on through cuts of the connection to AWS. It has no
// CloseWrite: the far side learns of the end of what was written when the
// connection is closed. Its RemoteAddr is the address as it was dialled.
//
// Errors are of type *[net.OpError], with Timeout if they are about time.
// errors.Is finds what they are about: [ErrTarget], [ErrNoMachine],
// [ErrSeveral], [ErrAway], [ErrNoRegion], fs.ErrPermission if AWS does not allow
// it, ctx's error, or net.ErrClosed after [Dialer.Close]; errors.As finds the
// SDK's. That nothing listens on the port is known only when something should
// come from there: a Read fails with [ErrRefused] then.
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

// parse takes an address apart.
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
		_, err = machine.ParseTarget(host, "")
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
	_, err = machine.ParseTarget(d.Via, "")
	return dialled{d.Via, machine.Destination{Host: host, Port: port}}, err
}

// begin makes d ready for use; it says whether it is not closed.
func (d *Dialer) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx == nil && !d.closed {
		d.ctx, d.stop = context.WithCancel(context.Background())
		d.loading = make(map[string]*loadedConfig)
		d.tunnels.Run(d.ctx, d.tunnel)
	}
	return !d.closed
}

// Close ends all connections and sessions, and dials that are under way. It
// takes less than 2 s. It returns nil.
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
	d.loads.Wait()
	for _, l := range d.loading { // nothing else uses it any more
		l.close()
	}
	return nil
}

// tunnel prepares the one to a port.
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

// port is one that a Dialer connects to.
type port struct {
	d  *Dialer
	to dialled

	mu sync.Mutex
	c  *machine.Client // nil until the machine is found
}

// open starts a session to the port.
func (p *port) open(ctx context.Context) (stream.Port, error) {
	limited, limit, stop := ask.WithLimit(ctx, dialTime, machine.ErrConnectTimeout)
	defer stop()
	c, err := p.client(limited, limit)
	if err != nil {
		return nil, err
	}
	return c.Open(limited, "", p.to.Destination)
}

// client finds the machine, once.
func (p *port) client(ctx context.Context, limit *ask.Limit) (*machine.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.c != nil {
		return p.c, nil
	}
	d := p.d
	log := d.log()
	o := &machine.Options{
		Target:        p.to.target,
		Profile:       d.Profile,
		Region:        d.Region,
		Pick:          d.Pick,
		ResumeTimeout: cmp.Or(d.ResumeTimeout, ssmproto.DefaultResumeTimeout),
		KeepAlive:     d.KeepAlive,
		Notice:        func(line string) { log.Warn(line) },
		Log:           log,
	}
	o.Fill()
	c := &machine.Client{Options: o, Warm: &awsapi.Warm{}}
	var err error
	if c.Target, err = machine.ParseTarget(o.Target, ""); err != nil {
		return nil, err
	}
	if c.Target.Region != "" {
		o.Region = c.Target.Region
	}
	loaded, err := d.config(ctx, o)
	if err != nil {
		return nil, err
	}
	c.Config, c.Account = loaded.cfg, loaded.account
	if c.At, err = c.Resolve(ctx); err != nil {
		return nil, err
	}
	if err := c.Awake(ctx, limit); err != nil {
		return nil, err
	}
	p.c = c
	return c, nil
}

// loadedConfig is an AWS configuration with credentials, or why there is none.
type loadedConfig struct {
	done    chan struct{} // closed when the others are there
	cfg     aws.Config
	account string
	err     error
}

// config returns the configuration for o's region. It is loaded once, for all
// who wait for it, and after a failure again.
func (d *Dialer) config(ctx context.Context, o *machine.Options) (*loadedConfig, error) {
	d.mu.Lock()
	l := d.loading[o.Region]
	if l == nil && !d.closed {
		l = &loadedConfig{done: make(chan struct{})}
		d.loading[o.Region] = l
		d.loads.Go(func() { d.load(l, o) })
	}
	d.mu.Unlock()
	if l == nil {
		return nil, net.ErrClosed
	}
	select {
	case <-l.done:
		return l, l.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (d *Dialer) load(l *loadedConfig, o *machine.Options) {
	ctx, _, stop := ask.WithLimit(d.ctx, dialTime, machine.ErrConnectTimeout)
	defer stop()
	var w *awsapi.Warm
	if d.AWS != nil {
		l.cfg, l.account, w, l.err = awsapi.Given(d.ctx, ctx, *d.AWS, o.Account())
	} else {
		l.cfg, l.account, w, l.err = awsapi.Load(d.ctx, ctx, o.Account())
	}
	if l.err != nil {
		d.mu.Lock()
		delete(d.loading, o.Region)
		d.mu.Unlock()
	}
	close(l.done)
	if l.err == nil {
		// What is connected to beforehand is for the first calls.
		select {
		case <-time.After(awsapi.WarmTimeout):
		case <-d.ctx.Done():
		}
	}
	w.Drop()
}

// close ends the connections to the API that are kept open, if they are ours.
func (l *loadedConfig) close() {
	awsapi.CloseIdle(&l.cfg)
}

// dialError is why a dial failed, in the service's own words.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

func (e dialError) Error() string {
	text := machine.Cause(e.error)
	var at *machine.MachineError
	if errors.As(e.error, &at) {
		text = at.ID + ": " + text
	}
	return safetext.Printable(text)
}

// Timeout makes a net.OpError say so.
func (e dialError) Timeout() bool {
	return errors.Is(e.error, context.DeadlineExceeded) || errors.Is(e.error, machine.ErrConnectTimeout)
}

// Is knows what the SDK has no sentinels for.
func (e dialError) Is(target error) bool {
	switch target {
	case ErrRefused:
		return stream.Refused(e.error)
	case ErrAway:
		var away *machine.AwayError
		return errors.As(e.error, &away) || machine.IsCode(e.error, "TargetNotConnected")
	case fs.ErrPermission:
		return machine.IsCode(e.error, "AccessDeniedException") || machine.IsCode(e.error, "UnauthorizedOperation")
	}
	return false
}

// refusedError is ErrRefused in the driver's words, also for those who look for
// the system's.
type refusedError struct{ error }

func (e refusedError) Unwrap() error { return e.error }

func (e refusedError) Is(target error) bool {
	return target == ErrRefused || target == syscall.ECONNREFUSED
}
