package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/aws/inventory"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// Status is how a check ended.
type Status string

const (
	StatusOK      Status = "ok"
	StatusWarning Status = "warning" // it works, but not all of it, or not for long
	StatusFailed  Status = "failed"
	StatusSkipped Status = "skipped" // it could not be checked
)

// Finding is what one of Doctor's checks has found. Its texts are fit for a
// terminal.
type Finding struct {
	Check  string     `json:"check"`
	Status Status     `json:"status"`
	Detail string     `json:"detail"`
	Remedy string     `json:"remedy,omitempty"`
	Allow  *Statement `json:"allow,omitempty"` // what an IAM policy lacks
}

// Statement is one of an IAM policy's.
type Statement struct {
	Effect   string
	Action   string
	Resource []string
}

// Options say what to check. Without a Target it is what concerns all
// machines.
type Options struct {
	machine.Options

	// PushKey asks EC2 Instance Connect to put a key, whose other half nobody
	// has, on the machine for User, where it is good for 60 s.
	PushKey bool
	User    string
}

// callLimit bounds each check; those that need less have limits of their own.
const callLimit = 15 * time.Second

// check is one thing to look at. The ones that it needs come before it. A
// finding without a status is that there is nothing to look at.
type check struct {
	name  string
	needs []string
	look  func(context.Context) Finding
}

// doctor is what one run has found out so far. All but api is for the goroutine
// that runs the checks.
type doctor struct {
	o   *Options
	api apiLog

	// unfit is what others cannot build on, checks that failed or could not be
	// made, each with the one that it comes from.
	unfit map[string]string

	client  *machine.Client
	cfg     aws.Config
	env     config.EnvConfig
	shared  config.SharedConfig
	loadErr error // of the credentials
	who     identity
	probes  map[string]*probe

	document *string // the preferences, if they may be read and there are any
	found    inventory.Instance
	trial    trial
	ssh      string // its path
}

// Run checks, in order, all that a session to o.Target needs, and tells each
// finding as it is made. It returns how many checks have failed; an error means
// that it ended before its time. Nothing that it started is left behind.
func Run(ctx context.Context, o Options, tell func(Finding)) (failed int, err error) {
	o.Fill()
	o.Notice = func(text string) { o.Log.Info(text) } // the findings say it
	o.Port, o.Reason = cmp.Or(o.Port, "22"), cmp.Or(o.Reason, "ssmpipe doctor")
	if o.Target != "" {
		if _, err := machine.ParseTarget(o.Target, o.StripSuffix); err != nil {
			return 0, err
		}
	}
	d := &doctor{o: &o, unfit: make(map[string]string), client: &machine.Client{Warm: &awsapi.Warm{}}, probes: make(map[string]*probe)}
	defer d.close()
	for _, c := range d.checks() {
		f := d.run(ctx, c)
		if ctx.Err() != nil {
			return failed, context.Cause(ctx)
		}
		switch f.Status {
		case "":
			continue
		case StatusFailed:
			failed++
		}
		tell(f)
	}
	return failed, nil
}

// checks lists what there is to check.
func (d *doctor) checks() []check {
	list := []check{
		{"configuration", nil, d.configuration},
		{"credentials", needs("configuration"), d.credentials},
		{"identity", needs("credentials"), d.identity},
		{"clock", needs("configuration"), d.clock},
		{"endpoint ssm", needs("configuration"), d.endpoint("ssm")},
		{"endpoint ssmmessages", needs("configuration"), d.endpoint("ssmmessages")},
		{"endpoint ec2", needs("configuration"), d.endpoint("ec2")},
	}
	if d.o.PushKey {
		list = append(list, check{"endpoint ec2-instance-connect", needs("configuration"), d.endpoint("ec2-instance-connect")})
	}
	for _, p := range d.permissions() {
		list = append(list, check{"permission " + p.action, needs("identity", "endpoint "+p.service), p.look(d)})
	}
	if d.o.Target != "" {
		list = append(list,
			check{"target", needs("identity", "endpoint ssm"), d.target},
			check{"state", needs("target"), d.state},
			check{"permission " + d.startPermission().action, needs("target"), d.start},
			check{"instance profile", needs("target"), d.instanceProfile},
			check{"agent", needs("state"), d.agent},
			check{"agent version", needs("agent"), d.agentVersion})
	}
	list = append(list, check{"preferences", needs("permission ssm:GetDocument"), d.preferences})
	if d.o.PushKey {
		list = append(list, check{"permission " + d.pushPermission().action, needs("state", "endpoint ec2-instance-connect"), d.pushKey})
	}
	if d.o.Target != "" {
		port := "port " + d.o.Port
		list = append(list,
			check{"session", needs("agent", "endpoint ssmmessages"), d.session},
			check{"data channel", needs("session"), d.dataChannel},
			check{"handshake", needs("data channel"), d.handshake},
			check{port, needs("handshake"), d.port},
			check{"permission ssm:ResumeSession", needs("handshake"), d.resumption},
			check{"permission ssm:TerminateSession", needs("session"), d.termination})
	}
	return append(list,
		check{"ssh", nil, d.sshVersion},
		check{"ssh config", needs("ssh"), d.sshConfig})
}

func needs(names ...string) []string { return names }

// run makes one check, unless what it needs is missing.
func (d *doctor) run(ctx context.Context, c check) Finding {
	f := Finding{Status: StatusSkipped}
	for _, name := range c.needs {
		if why, ok := d.unfit[name]; ok {
			f.Detail = fmt.Sprintf("needs %q", why)
			d.unfit[c.name] = why
			break
		}
	}
	if f.Detail == "" {
		limited, stop := context.WithTimeout(ctx, callLimit)
		defer stop()
		if c.name == "credentials" || c.name == "configuration" {
			limited = ctx // a person may be asked, who is not held to a time
		}
		f = c.look(limited)
	}
	f.Check = c.name
	if f.Status == StatusFailed {
		d.block(c.name)
	}
	f.Check, f.Detail, f.Remedy = safetext.Printable(f.Check), safetext.Printable(f.Detail), safetext.Printable(f.Remedy)
	return f
}

// block says that others cannot build on a check.
func (d *doctor) block(name string) { d.unfit[name] = name }

// blocked says whether they cannot.
func (d *doctor) blocked(name string) bool {
	_, ok := d.unfit[name]
	return ok
}

// close ends what the checks have begun.
func (d *doctor) close() {
	d.trial.close()
	d.client.Warm.Drop()
	for _, p := range d.probes {
		p.cancel()
		<-p.done
	}
}

func ok(format string, args ...any) Finding {
	return Finding{Status: StatusOK, Detail: fmt.Sprintf(format, args...)}
}

func skipped(format string, args ...any) Finding {
	return Finding{Status: StatusSkipped, Detail: fmt.Sprintf(format, args...)}
}

// bad is a finding of what does not work, told as an error's cause.
func bad(s Status, err error, remedy string) Finding {
	text := machine.Cause(err)
	if errors.Is(err, context.DeadlineExceeded) {
		text = "no answer in time"
	}
	// What EC2 adds is for decode-authorization-message, and fills the screen.
	text, _, _ = strings.Cut(text, " Encoded authorization failure message:")
	return Finding{Status: s, Detail: text, Remedy: remedy}
}
