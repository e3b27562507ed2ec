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

// Status is the result of a check.
type Status string

const (
	StatusOK      Status = "ok"
	StatusWarning Status = "warning" // it works only in part, or not for long
	StatusFailed  Status = "failed"
	StatusSkipped Status = "skipped" // it could not be checked
)

// Finding is what one check has found. Its texts are safe for a terminal.
type Finding struct {
	Check  string     `json:"check"`
	Status Status     `json:"status"`
	Detail string     `json:"detail"`
	Remedy string     `json:"remedy,omitempty"`
	Allow  *Statement `json:"allow,omitempty"` // what an IAM policy lacks
}

// Statement is a statement of an IAM policy.
type Statement struct {
	Effect   string
	Action   string
	Resource []string
}

// Options say what to check. Without a Target, Run checks only what applies to all
// machines.
type Options struct {
	machine.Options

	// PushKey asks EC2 Instance Connect to put a public key on the machine for
	// User, where it is valid for 60 s. The private key is discarded.
	PushKey bool
	User    string
}

// callLimit limits the time of each check. Shorter checks have limits of their
// own.
const callLimit = 15 * time.Second

// check is one check. Those that it depends on come before it. A finding without
// a status means that there was nothing to check.
type check struct {
	name  string
	needs []string
	look  func(context.Context) Finding
}

// doctor is the state of one run. Only the goroutine that runs the checks may use
// the fields other than api.
type doctor struct {
	o   *Options
	api apiLog

	// unfit holds the checks that failed or could not be made, on which others
	// cannot build, each with the check that is the cause.
	unfit map[string]string

	client  *machine.Client
	cfg     aws.Config
	env     config.EnvConfig
	shared  config.SharedConfig
	loadErr error // of the credentials
	who     identity
	probes  map[string]*probe

	document *string // the preferences, if they exist and may be read
	found    inventory.Instance
	trial    trial
	ssh      string // its path
}

// Run checks, in order, everything that a session to o.Target needs, and calls tell
// for each finding as it is made. It returns the number of failed checks. An error
// means that it ended early. It leaves nothing behind that it started.
func Run(ctx context.Context, o Options, tell func(Finding)) (failed int, err error) {
	o.Fill()
	o.Notice = func(text string) { o.Log.Info(text) } // the findings include it
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

// checks returns the checks to make, in order.
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

// run makes one check, unless a check that it depends on has failed.
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
			limited = ctx // a user may be asked, without a time limit
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

// block records that other checks cannot build on a check.
func (d *doctor) block(name string) { d.unfit[name] = name }

// blocked reports whether other checks cannot build on a check.
func (d *doctor) blocked(name string) bool {
	_, ok := d.unfit[name]
	return ok
}

// close ends everything that the checks have started.
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

// bad returns a finding of a problem, with the cause of err as its detail.
func bad(s Status, err error, remedy string) Finding {
	text := machine.Cause(err)
	if errors.Is(err, context.DeadlineExceeded) {
		text = "no answer in time"
	}
	// EC2 adds a long text for decode-authorization-message. Omit it.
	text, _, _ = strings.Cut(text, " Encoded authorization failure message:")
	return Finding{Status: s, Detail: text, Remedy: remedy}
}
