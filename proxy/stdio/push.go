package stdio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/ssmpipe/ssmpipe/proxy/ask"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/keys"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// PushKey says which key to push to the machine while the session is opened.
// The machine accepts the key for a minute.
type PushKey struct {
	Way  keys.Way
	User string // the user that ssh logs in as; "" asks the ssh that started this process

	// Key is a file, KeyAgent or KeyMade. "" means KeyAgent, or KeyMade if
	// there is no agent key. It is not used with Socket.
	Key string

	// Socket is the path of a Unix socket that serves as the ssh-agent, for
	// that ssh's IdentityAgent. The key is made for this connection and exists
	// only in memory.
	Socket string
}

// Keys that are not files.
const (
	KeyAgent = "agent" // the first key in the ssh-agent that can be pushed
	KeyMade  = "made"  // ~/.ssh/ssmpipe/key, which ssmpipe generates
)

// osUser matches the user names that Instance Connect accepts. None of their
// characters is special in a path or within shell quotes.
var osUser = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9@._-]{0,30}[A-Za-z0-9$_-]?$`)

// Check reports an error in how k is written.
func (k *PushKey) Check() error {
	switch {
	case k.Way != keys.InstanceConnect && k.Way != keys.RunCommand:
		return fmt.Errorf("unknown way to push a key, %q: it must be %s or %s", k.Way, keys.InstanceConnect, keys.RunCommand)
	case strings.ContainsAny(k.User, "/\x00"): // the user is part of a path in ssh's configuration
		return fmt.Errorf("%q is not a user name", k.User)
	case k.Socket != "" && k.Key != "":
		return errors.New("--identity-agent makes its own key: leave out --key")
	case k.Socket != "":
		return keys.CheckSocket(k.Socket)
	}
	return nil
}

// pushing pushes a key to the machine. All methods do nothing on nil.
type pushing struct {
	o      *Options
	agent  *keys.Agent        // nil if ssh finds the key itself
	cancel context.CancelFunc // nil before start
	done   sync.WaitGroup
	made   *keys.Made // nil unless the key is KeyMade
	user   string     // the user that ssh logs in as; "" until known

	known chan struct{} // closed once the push has succeeded or failed
	at    chan string   // receives the id of the machine with the session
}

// newPushing prepares what ssh may need before the session is open.
func (o *Options) newPushing() (*pushing, error) {
	if o.Key == nil {
		return nil, nil
	}
	if err := o.Key.Check(); err != nil {
		return nil, err
	}
	p := &pushing{o: o, user: o.Key.User, known: make(chan struct{}), at: make(chan string, 1)}
	if o.Key.Socket != "" {
		var err error
		if p.agent, err = keys.NewAgent(o.Key.Socket, p.known, o.Log); err != nil {
			// Without the socket ssh has no agent, but it may have a key in a
			// file.
			if o.noSockets && filepath.Dir(o.Key.Socket) == filepath.Clean(o.ControlDir) {
				return nil, nil // already reported
			}
			o.Notice(safetext.Printable(fmt.Sprintf("%s: no key supplied: %v; ssh goes on with the keys in your files", o.Target, err)))
			return nil, nil
		}
	}
	return p, nil
}

// start pushes the key while the session is being opened. It needs only the
// machine's id.
func (p *pushing) start(ctx context.Context, c *machine.Client) {
	if p == nil {
		return
	}
	limit := p.o.ConnectTimeout
	if limit == 0 {
		limit = keys.Time // others wait for known
	}
	ctx, p.cancel = context.WithCancel(ctx)
	limited, _, stop := ask.WithLimit(ctx, limit, fmt.Errorf("%w after %v", driver.ErrConnectTimeout, limit))
	id := c.Machine().ID
	p.done.Go(func() {
		defer stop()
		defer close(p.known)
		err := p.push(limited, c, id)
		// The key may be used only from here on. The name may have resolved to
		// another machine meanwhile.
		select {
		case at := <-p.at:
			if at != id {
				id, err = at, p.push(limited, c, at)
			}
		case <-ctx.Done():
			return // without a session, the session's error is enough
		}
		if p.agent != nil {
			p.agent.Settle(err == nil)
		}
		if err != nil {
			p.tell(id, err)
			return
		}
		p.o.Log.Info("key pushed", "user", p.user, "to", id, "by", p.o.Key.Way)
	})
}

// tell tells the user why there is no key. The session goes on, since ssh may
// have another one.
func (p *pushing) tell(id string, err error) {
	name := p.o.Target
	if id != name {
		name = fmt.Sprintf("%s (%s)", name, id)
	}
	whom := ""
	if p.user != "" {
		whom = fmt.Sprintf(" for %q", p.user)
	}
	text := fmt.Sprintf("%s: no key pushed%s: %s", name, whom, p.o.Cause(err))
	if next := p.next(err); next != "" {
		text = strings.TrimRight(text, ". ") + "; " + next
	}
	p.o.Notice(safetext.Printable(text))
}

// ready says that the session to machine id is open.
func (p *pushing) ready(id string) {
	if p == nil {
		return
	}
	if p.agent != nil {
		p.agent.Restore()
	}
	p.at <- id
}

// hold returns the writer to use for stdout. Without our agent, ssh
// authenticates whenever it is ready, so it must not get that far before the
// machine knows the key. The first thing that ssh waits for is sshd's banner.
// It takes longer than the single call that pushes the key, because opening the
// session took as many round trips before it. So normally the key is known by
// then and nothing waits. Otherwise hold delays the banner for as long as the
// push may take, while ssh's own output is already on its way.
func (p *pushing) hold(w io.Writer) io.Writer {
	if p == nil || p.agent != nil {
		return w
	}
	return &heldWriter{w, p.known}
}

// A heldWriter blocks writes until its channel is closed.
type heldWriter struct {
	io.Writer
	until <-chan struct{}
}

func (h *heldWriter) Write(b []byte) (int, error) {
	<-h.until
	return h.Writer.Write(b)
}

// close releases everything that the push used.
func (p *pushing) close() {
	if p == nil {
		return
	}
	if p.cancel == nil {
		close(p.known)
	} else {
		p.cancel()
	}
	if p.agent != nil {
		p.agent.Close()
	}
	p.done.Wait()
	if p.made != nil {
		if err := p.made.Close(); err != nil {
			p.o.Log.Info("the key was not replaced", "err", err)
		}
	}
}

// push pushes the key to machine id.
func (p *pushing) push(ctx context.Context, c *machine.Client, id string) error {
	k := p.o.Key
	pusher, ok := c.Service.(driver.KeyPusher)
	if !ok {
		return machine.ErrUnsupported
	}
	if err := pusher.CanPush(id, k.Way); err != nil {
		return err
	}
	if p.user == "" {
		user, err := keys.SSHUser(ctx)
		if err != nil {
			return err
		}
		p.user = user
	}
	if !osUser.MatchString(p.user) {
		return errUser
	}
	key, err := p.public(ctx)
	if err != nil {
		return err
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	return pusher.PushKey(ctx, id, driver.Key{Way: k.Way, User: p.user, Public: line})
}

// public returns the public key to push.
func (p *pushing) public(ctx context.Context) (ssh.PublicKey, error) {
	k := p.o.Key
	if p.agent != nil {
		return p.agent.Public, nil
	}
	switch k.Key {
	case "", KeyAgent:
		key, err := keys.FromAgent(ctx, k.Way)
		if err == nil || k.Key == KeyAgent {
			return key, err
		}
		p.o.Log.Debug("no key of the ssh-agent", "err", err)
	case KeyMade:
	default:
		return keys.FromFile(k.Key, k.Way)
	}
	made, err := keys.OpenMade(ctx)
	if err != nil {
		return nil, err
	}
	p.made = made
	return made.Public, nil
}

var errUser = errors.New("a key cannot be pushed for a user of this name")

// next returns what the user can do about a key that could not be pushed.
func (p *pushing) next(err error) string {
	switch {
	case errors.Is(err, keys.ErrKind):
		return "EC2 Instance Connect accepts ed25519 and RSA keys, --push-key=run-command all but certificates"
	case errors.Is(err, keys.ErrNoSSH):
		return "name the user with --user"
	case errors.Is(err, keys.ErrAgentEmpty):
		return "add a key with ssh-add, or use --key made"
	}
	return p.o.Next(err)
}
