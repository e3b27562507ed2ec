package examine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

// Opener opens the service with a configuration that change changes before it is
// used. It also returns the configuration as far as it has been read if there is
// an error.
type Opener func(ctx context.Context, change func(*aws.Config)) (driver.Service, aws.Config, error)

// examination is the state of one run. Only the goroutine that runs the checks
// may use the fields other than api.
type examination struct {
	*driver.ExamineRequest
	open        Opener
	sshDocument string // for sessions to ports, unless the user names another
	api         apiLog

	cfg     aws.Config
	env     config.EnvConfig
	shared  config.SharedConfig
	loadErr error // of the credentials
	who     identity
	probes  map[string]*probe
	allowed map[string]bool // actions that have been tried with success

	document *string // the preferences, if they exist and may be read
	found    driver.Machine

	session stream.Port   // to the target; nil if it could not be opened
	opening error         // why not
	opened  time.Duration // from the service's answer until the agent was ready
}

// Checks returns AWS's checks, in order, and a function that ends what they have
// started. They open the service with open, and sessions with sshDocument.
func Checks(life context.Context, r *driver.ExamineRequest, open Opener, sshDocument string) ([]driver.Check, func()) {
	e := &examination{ExamineRequest: r, open: open, sshDocument: sshDocument, probes: make(map[string]*probe), allowed: make(map[string]bool)}
	list := e.checks(life)
	for i := range list {
		look := list[i].Look
		list[i].Look = func(ctx context.Context) driver.Finding {
			f := look(ctx)
			// EC2 adds a long text for decode-authorization-message. Omit it.
			f.Detail, _, _ = strings.Cut(f.Detail, " Encoded authorization failure message:")
			return f
		}
	}
	return list, e.close
}

// checks returns the checks to make, in order.
func (e *examination) checks(life context.Context) []driver.Check {
	list := []driver.Check{
		{Name: "configuration", Patient: true, Look: func(ctx context.Context) driver.Finding { return e.configuration(life, ctx) }},
		{Name: "credentials", Needs: needs("configuration"), Patient: true, Look: e.credentials},
		{Name: "identity", Needs: needs("credentials"), Look: e.identity},
		{Name: "clock", Needs: needs("configuration"), Look: e.clock},
		{Name: "endpoint ssm", Needs: needs("configuration"), Look: e.endpoint("ssm")},
		{Name: "endpoint ssmmessages", Needs: needs("configuration"), Look: e.endpoint("ssmmessages")},
		{Name: "endpoint ec2", Needs: needs("configuration"), Look: e.endpoint("ec2")},
	}
	if e.PushKey {
		list = append(list, driver.Check{Name: "endpoint ec2-instance-connect", Needs: needs("configuration"), Look: e.endpoint("ec2-instance-connect")})
	}
	for _, p := range e.permissions() {
		list = append(list, driver.Check{Name: "permission " + p.action, Needs: needs("identity", "endpoint "+p.service), Look: p.look(e)})
	}
	if e.Target.Text != "" {
		list = append(list,
			driver.Check{Name: "target", Needs: needs("identity", "endpoint ssm"), Look: e.target},
			driver.Check{Name: "state", Needs: needs("target"), Look: e.state},
			driver.Check{Name: "permission " + e.startPermission().action, Needs: needs("target"), Look: e.start},
			driver.Check{Name: "instance profile", Needs: needs("target"), Look: e.instanceProfile},
			driver.Check{Name: "agent", Needs: needs("state"), Look: e.agent},
			driver.Check{Name: "agent version", Needs: needs("agent"), Look: e.agentVersion})
	}
	list = append(list, driver.Check{Name: "preferences", Needs: needs("permission ssm:GetDocument"), Look: e.preferences})
	if e.PushKey {
		list = append(list, driver.Check{Name: "permission " + e.pushPermission().action, Needs: needs("state", "endpoint ec2-instance-connect"), Look: e.pushKey})
	}
	if e.Target.Text != "" {
		list = append(list,
			driver.Check{Name: "session", Needs: needs("agent", "endpoint ssmmessages"), Look: e.openSession},
			driver.Check{Name: "data channel", Needs: needs("session"), Look: e.dataChannel},
			driver.Check{Name: "handshake", Needs: needs("data channel"), Look: e.handshake},
			driver.Check{Name: "port " + e.Port, Needs: needs("handshake"), Look: e.Doctor.Port},
			driver.Check{Name: "permission ssm:ResumeSession", Needs: needs("handshake"), Look: e.resumption},
			driver.Check{Name: "permission ssm:TerminateSession", Needs: needs("session"), Look: e.termination})
	}
	return list
}

func needs(names ...string) []string { return names }

// close ends the probes.
func (e *examination) close() {
	for _, p := range e.probes {
		p.cancel()
		<-p.done
	}
}

func ok(format string, args ...any) driver.Finding {
	return driver.Finding{Status: driver.StatusOK, Detail: fmt.Sprintf(format, args...)}
}

func skipped(format string, args ...any) driver.Finding {
	return driver.Finding{Status: driver.StatusSkipped, Detail: fmt.Sprintf(format, args...)}
}

// problem returns a finding that says what err means and what helps.
func (e *examination) problem(s driver.Status, err error) driver.Finding {
	return e.Doctor.Problem(s, err)
}

// bad is problem with another remedy.
func (e *examination) bad(s driver.Status, err error, remedy string) driver.Finding {
	f := e.problem(s, err)
	f.Remedy = remedy
	return f
}
