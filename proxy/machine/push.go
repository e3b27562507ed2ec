package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"
	"github.com/aws/smithy-go"
	"golang.org/x/crypto/ssh"

	"github.com/ssmpipe/ssmpipe/proxy/ask"
	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/keys"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// PushKey says that a key is made known to the machine, for a minute, while the
// session is opened.
type PushKey struct {
	Way  keys.Way
	User string // whom ssh logs in as; "" asks the ssh that has started this process

	// Key is which one: a file, KeyAgent or KeyMade; "" is KeyAgent, or KeyMade
	// if there is none. It is not used with Socket.
	Key string

	// Socket is the path of a Unix socket, to be the ssh-agent at that ssh's
	// IdentityAgent names. The key is one that is made for this connection and
	// exists in memory only.
	Socket string
}

// Keys that are no files.
const (
	KeyAgent = "agent" // the first of the ssh-agent that can be pushed
	KeyMade  = "made"  // ~/.ssh/ssmpipe/key, which ssmpipe makes
)

// osUser is what Instance Connect takes for a user's name. None of it means
// anything to a shell inside quotes, or to a path.
var osUser = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9@._-]{0,30}[A-Za-z0-9$_-]?$`)

// Check says what is wrong with the way k is written.
func (k *PushKey) Check() error {
	switch {
	case k.Way != keys.InstanceConnect && k.Way != keys.RunCommand:
		return fmt.Errorf("there is no way %q to push a key: it is %s or %s", k.Way, keys.InstanceConnect, keys.RunCommand)
	case strings.ContainsAny(k.User, "/\x00"): // it is part of a path in ssh's configuration
		return fmt.Errorf("%q is not a user's name", k.User)
	case k.Socket != "" && k.Key != "":
		return errors.New("--identity-agent brings a key of its own: no --key beside it")
	case k.Socket != "":
		return keys.CheckSocket(k.Socket)
	}
	return nil
}

// Pushing is a key on its way to the machine. All methods do nothing on nil.
type Pushing struct {
	Options *Options
	agent   *keys.Agent        // nil: ssh finds the key by itself
	cancel  context.CancelFunc // nil before start
	done    sync.WaitGroup
	made    *keys.Made // if that is the key
	user    string     // whom ssh logs in as; "" until it is known

	known chan struct{} // closed once the machine knows the key, or will not
	at    chan string   // the id of the machine that the session is open to
}

// NewPushing prepares what ssh may ask for before the session is open.
func (o *Options) NewPushing() (*Pushing, error) {
	if o.Key == nil {
		return nil, nil
	}
	if err := o.Key.Check(); err != nil {
		return nil, err
	}
	p := &Pushing{Options: o, user: o.Key.User, known: make(chan struct{}), at: make(chan string, 1)}
	if o.Key.Socket != "" {
		var err error
		if p.agent, err = keys.NewAgent(o.Key.Socket, p.known, o.Log); err != nil {
			// Without the socket ssh has no agent, but perhaps a key in a file.
			if o.noSockets && filepath.Dir(o.Key.Socket) == filepath.Clean(o.ControlDir) {
				return nil, nil // that has been told
			}
			o.Notice(safetext.Printable(fmt.Sprintf("%s: no key brought: %v; ssh goes on with the keys in your files", o.Target, err)))
			return nil, nil
		}
	}
	return p, nil
}

// Start pushes the key beside the opening of the session, which it needs
// nothing of but the machine's id.
func (p *Pushing) Start(ctx context.Context, c *Client) {
	if p == nil {
		return
	}
	limit := p.Options.ConnectTimeout
	if limit == 0 {
		limit = keys.Time // somebody waits for known
	}
	ctx, p.cancel = context.WithCancel(ctx)
	limited, _, stop := ask.WithLimit(ctx, limit, fmt.Errorf("%w after %v", ErrConnectTimeout, limit))
	id := c.Machine().ID
	p.done.Go(func() {
		defer stop()
		defer close(p.known)
		err := p.push(limited, c, id)
		// Only now somebody may ask for the key. The name may have led to another
		// machine meanwhile.
		select {
		case at := <-p.at:
			if at != id {
				id, err = at, p.push(limited, c, at)
			}
		case <-ctx.Done():
			return // without a session its own error says enough
		}
		if p.agent != nil {
			p.agent.Settle(err == nil)
		}
		if err != nil {
			p.tell(id, err)
			return
		}
		p.Options.Log.Info("key pushed", "user", p.user, "to", id, "by", p.Options.Key.Way)
	})
}

// Tell says why there is no key, for the user's eyes. The session goes on: ssh
// may have another one.
func (p *Pushing) tell(id string, err error) {
	name := p.Options.Target
	if id != name {
		name = fmt.Sprintf("%s (%s)", name, id)
	}
	whom := ""
	if p.user != "" {
		whom = fmt.Sprintf(" for %q", p.user)
	}
	text := fmt.Sprintf("%s: no key pushed%s: %s", name, whom, Cause(err))
	if next := p.next(err); next != "" {
		text = strings.TrimRight(text, ". ") + "; " + next
	}
	p.Options.Notice(safetext.Printable(text))
}

// Ready says that the session is open to the machine id.
func (p *Pushing) Ready(id string) {
	if p == nil {
		return
	}
	if p.agent != nil {
		p.agent.Restore()
	}
	p.at <- id
}

// Hold returns what stdout is written by. Without an agent of ours ssh
// authenticates when it likes, so it must not get there before the machine
// knows the key. What it waits for first is sshd's banner, which has come a
// longer way than the key's one call: opening the session took as many round
// trips before it. So the key is known by then, and nothing waits; if not, the
// banner does, for as long as the push may take, while what ssh has said
// travels already.
func (p *Pushing) Hold(w io.Writer) io.Writer {
	if p == nil || p.agent != nil {
		return w
	}
	return &heldWriter{w, p.known}
}

// heldWriter writes nothing before until is closed.
type heldWriter struct {
	io.Writer
	until <-chan struct{}
}

func (h *heldWriter) Write(b []byte) (int, error) {
	<-h.until
	return h.Writer.Write(b)
}

// Close leaves nothing behind.
func (p *Pushing) Close() {
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
			p.Options.Log.Info("the key was not replaced", "err", err)
		}
	}
}

// push makes the key known to the machine id.
func (p *Pushing) push(ctx context.Context, c *Client, id string) error {
	k := p.Options.Key
	switch {
	case strings.HasPrefix(id, "ecs:"):
		return errContainer
	case k.Way == keys.InstanceConnect && !strings.HasPrefix(id, "i-"):
		return errNoInstanceConnect
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
	if k.Way == keys.RunCommand {
		return runCommand(ctx, c.Config, id, p.user, line)
	}
	_, err = ec2instanceconnect.NewFromConfig(c.Config).SendSSHPublicKey(ctx, &ec2instanceconnect.SendSSHPublicKeyInput{
		InstanceId:     &id,
		InstanceOSUser: &p.user,
		SSHPublicKey:   &line,
	})
	return awsapi.CauseOf(ctx, err)
}

// public finds the key.
func (p *Pushing) public(ctx context.Context) (ssh.PublicKey, error) {
	k := p.Options.Key
	if p.agent != nil {
		return p.agent.Public, nil
	}
	switch k.Key {
	case "", KeyAgent:
		key, err := keys.FromAgent(ctx, k.Way)
		if err == nil || k.Key == KeyAgent {
			return key, err
		}
		p.Options.Log.Debug("no key of the ssh-agent", "err", err)
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

var (
	errContainer         = errors.New("a container takes no key that way")
	errNoInstanceConnect = errors.New("EC2 Instance Connect knows EC2 instances (i-…) only")
	errUser              = errors.New("not a name that a key can be pushed for")
)

// Next is what a user can do about a key that could not be pushed.
func (p *Pushing) next(err error) string {
	k := p.Options.Key
	switch {
	case errors.Is(err, errNoInstanceConnect):
		return "use --push-key=run-command, which needs ssm:SendCommand"
	case errors.Is(err, errContainer):
		return "leave out --push-key"
	case errors.Is(err, keys.ErrKind):
		return "EC2 Instance Connect takes ed25519 and RSA, --push-key=run-command all but certificates"
	case errors.Is(err, keys.ErrNoSSH):
		return "say it with --user"
	case errors.Is(err, keys.ErrAgentEmpty):
		return "add a key with ssh-add, or use --key made"
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return p.Options.Next(err)
	}
	switch api.ErrorCode() {
	case "AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "AuthException":
		if k.Way == keys.RunCommand {
			return "allow ssm:SendCommand on the node and on the document AWS-RunShellScript, and ssm:GetCommandInvocation"
		}
		return "allow ec2-instance-connect:SendSSHPublicKey on the instance, with ec2:osuser " + p.user
	case "EC2InstanceStateInvalidException":
		return "the instance must be running: start it, or wait until it is up"
	case "EC2InstanceUnavailableException":
		return "connect again in a moment"
	case "EC2InstanceNotFoundException":
		return "check region and account"
	case "EC2InstanceTypeInvalidException", "UnsupportedOperationException":
		return "use --push-key=run-command, or a key that is there"
	case "InvalidArgsException":
		return "check the user's name and the key"
	case "InvalidInstanceId":
		return "check that the node runs and that its SSM agent calls in"
	case "InvalidDocument", "UnsupportedPlatformType":
		return "it is for Linux only: leave out --push-key"
	}
	return p.Options.Next(err)
}
