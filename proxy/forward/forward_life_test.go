package forward

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws"
	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

var lifeSeed = flag.Uint64("seed", 0, "of what happens in TestForwardEndsAtAnyMoment; 0 is one at random")

const lifeNode = "i-0123456789abcdef0"

// TestForwardEndsAtAnyMoment ends a forward at random moments of a life with all
// that makes ends wait: a program that does not read until its session stands
// still, others beside it for which another session is started, sessions that
// become idle and are ended, programs that have said all and wait for an answer,
// and a network and agents that are away at times.
func TestForwardEndsAtAnyMoment(t *testing.T) {
	seed := *lifeSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("to repeat the choices: -seed %d", seed)
	srv := awstest.NewServer(awstest.Config{Config: ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}}})
	defer srv.Close()
	srv.AddNode(awstest.Node{ID: lifeNode, Node: ssmtest.Node{Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go servePipe(far)
		return near, nil
	}}})
	for _, setting := range srv.Env() {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	faults, calm := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { trouble(faults, srv, rand.New(rand.NewPCG(seed, 0))) })

	const workers, lives = 6, 20
	var extra, longest atomic.Int64
	var lived sync.WaitGroup
	for w := range workers {
		lived.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(1+w)))
			for range lives {
				l := &life{srv: srv, rng: rng, pace: 1}
				took := l.live(t)
				if l.extra.Load() > 0 {
					extra.Add(1)
				}
				for most := longest.Load(); int64(took) > most && !longest.CompareAndSwap(most, int64(took)); {
					most = longest.Load()
				}
			}
		})
	}
	lived.Wait()
	rng := rand.New(rand.NewPCG(seed, 1+workers))
	for n := 0; extra.Load() == 0 && n < 20; n++ { // a machine may be too busy for lives that short
		l := &life{srv: srv, rng: rng, pace: 10}
		l.live(t)
		extra.Add(l.extra.Load())
	}
	calm()
	wg.Wait()
	t.Logf("%d lives, %d with another session; the longest end took %v", workers*lives, extra.Load(), time.Duration(longest.Load()))
	if extra.Load() == 0 {
		t.Error("no life had another session: the test shows nothing")
	}
}

// servePipe is a server: a client says first what it wants.
func servePipe(c net.Conn) {
	defer c.Close()
	var want [1]byte
	if _, err := io.ReadFull(c, want[:]); err != nil {
		return
	}
	switch want[0] {
	case 'e':
		io.Copy(c, c)
	case 'z':
		c.Write(make([]byte, 8<<20)) // more than sockets hold
	case 's': // silent, and takes nothing
		io.ReadFull(c, make([]byte, 100_000))
		time.Sleep(time.Second)
	}
}

// trouble makes the network and agents go away and come back.
func trouble(ctx context.Context, srv *awstest.Server, rng *rand.Rand) {
	pause := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	for ctx.Err() == nil {
		pause(time.Duration(rng.IntN(1500)) * time.Millisecond)
		switch rng.IntN(5) {
		case 0:
			srv.Cut(ssmtest.Cut(rng.IntN(3)))
		case 1:
			srv.BlackHole()
		case 2:
			srv.StallAgent(true)
			pause(time.Duration(rng.IntN(500)) * time.Millisecond)
			srv.StallAgent(false)
		case 3:
			srv.Offline(true)
			pause(time.Duration(rng.IntN(300)) * time.Millisecond)
			srv.Offline(false)
		}
	}
}

// life is one of a forward.
type life struct {
	slog.Handler // which this is
	srv          *awstest.Server
	rng          *rand.Rand
	pace         time.Duration // how much longer all takes
	extra        atomic.Int64  // sessions for others than the program that does not read
	programs     sync.WaitGroup
}

func (l *life) Enabled(context.Context, slog.Level) bool { return true }

func (l *life) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "starting another session") {
		l.extra.Add(1)
	}
	return nil
}

// live has a forward end at a random moment and returns how long that took.
func (l *life) live(t *testing.T) time.Duration {
	ctx, end := context.WithCancel(t.Context())
	defer end()
	address := make(chan string, 1)
	spec, err := ParseLocal("0:inside:80")
	if l.rng.IntN(4) == 0 {
		spec, err = ParseDynamic("0")
	}
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Options: machine.Options{Driver: aws.Driver{}, Choice: machine.Choice{Target: lifeNode},
			Limits: machine.Limits{ConnectTimeout: 10 * time.Second}, Account: driver.Account{Log: slog.New(l)}},
		Specs: []Spec{spec},
		Ready: func(at Listening) { address <- at.Addr.String() },
		hurry: hurry{
			buffer: 200_000,
			held:   20 * time.Millisecond,
			idle:   time.Duration(20+l.rng.IntN(100)) * time.Millisecond,
		},
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Run(ctx, o)
	}()
	early := time.After(time.Hour)
	if l.rng.IntN(10) == 0 {
		early = time.After(time.Duration(l.rng.IntN(100)) * time.Millisecond)
	}
	programs, stop := context.WithCancel(t.Context())
	defer stop()
	select {
	case at := <-address:
		l.start(programs, at, spec.Dynamic)
		time.Sleep(l.pace * time.Duration(l.rng.IntN(1000)) * time.Millisecond)
	case <-ended: // the network was away
	case <-early:
	}
	end()
	begun := time.Now()
	select {
	case <-ended:
	case <-time.After(2 * time.Second):
		stacks := make([]byte, 8<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		select {
		case <-ended:
		case <-time.After(8 * time.Second): // a machine may be busy
			t.Errorf("after 10 s the end is not over; after 2 s there were\n%s", stacks)
			<-ended
		}
	}
	took := time.Since(begun)
	stop()
	l.programs.Wait()
	return took
}

// start starts programs that use the forward at an address until ctx ends.
func (l *life) start(ctx context.Context, at string, socks bool) {
	program := func(want string, then func(c net.Conn)) {
		l.programs.Go(func() {
			c, err := net.Dial("tcp", at)
			if err != nil {
				return
			}
			defer c.Close()
			c.(*net.TCPConn).SetReadBuffer(4 << 10)
			defer context.AfterFunc(ctx, func() { c.Close() })()
			if socks {
				io.WriteString(c, "\x05\x01\x00\x05\x01\x00\x03\x06inside\x00\x50")
				if _, err := io.ReadFull(c, make([]byte, 12)); err != nil {
					return
				}
			}
			if _, err := io.WriteString(c, want); err == nil {
				then(c)
			}
		})
	}
	stalled := l.pace * time.Duration(50+l.rng.IntN(300)) * time.Millisecond
	program("z", func(c net.Conn) {
		select {
		case <-time.After(stalled):
			io.Copy(io.Discard, c)
		case <-ctx.Done():
		}
	})
	for i := range l.rng.IntN(10) {
		wait, kind := l.pace*time.Duration(l.rng.IntN(500))*time.Millisecond, l.rng.IntN(4)
		l.programs.Go(func() {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
			switch kind {
			case 0: // waits for an answer after its own end
				program("s", func(c net.Conn) {
					c.(*net.TCPConn).CloseWrite()
					io.Copy(io.Discard, c)
				})
			case 1: // to whom nobody listens
				program("s", func(c net.Conn) { c.Write(make([]byte, 2<<20)) })
			default:
				program("e", func(c net.Conn) {
					text := fmt.Sprint("echo ", i)
					for range 10 {
						if _, err := io.WriteString(c, text); err != nil {
							return
						}
						if _, err := io.ReadFull(c, make([]byte, len(text))); err != nil {
							return
						}
					}
				})
			}
		})
	}
}
