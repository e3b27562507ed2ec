package doctor

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

// Finding is what one check has found. Its texts are safe for a terminal.
type Finding = driver.Finding

// Status is the result of a check.
type Status = driver.Status

// The results.
const (
	StatusOK      = driver.StatusOK
	StatusWarning = driver.StatusWarning
	StatusFailed  = driver.StatusFailed
	StatusSkipped = driver.StatusSkipped
)

// Options say what to check. Without a Target, Run checks only what applies to all
// machines.
type Options struct {
	machine.Options

	// PushKey tries whether a public key can be put on the machine for User. On AWS
	// EC2 Instance Connect does it, and the key is valid for 60 s. The private key is
	// discarded.
	PushKey bool
	User    string
}

// callLimit limits the time of each check. Shorter checks have limits of their
// own.
const callLimit = 15 * time.Second

// doctor is the state of one run. Only the goroutine that runs the checks may use
// it.
type doctor struct {
	o      *Options
	client *machine.Client

	// unfit holds the checks that failed or could not be made, on which others
	// cannot build, each with the check that is the cause.
	unfit map[string]string

	end     func()      // ends what the driver's checks have started
	session stream.Port // to the target; nil if there is none
	ssh     string      // its path
}

// Run checks, in order, everything that a session to o.Target needs, and calls tell
// for each finding as it is made. It returns the number of failed checks. An error
// means that it ended early. It leaves nothing behind that it started.
func Run(ctx context.Context, o Options, tell func(Finding)) (failed int, err error) {
	o.Fill()
	o.Notice = func(text string) { o.Log.Info(text) } // the findings include it
	o.Port, o.Reason = cmp.Or(o.Port, "22"), cmp.Or(o.Reason, "ssmpipe doctor")
	d := &doctor{o: &o, client: &machine.Client{Options: &o.Options}, unfit: make(map[string]string), end: func() {}}
	if o.Target != "" {
		if d.client.Target, err = o.ParseTarget(o.Target); err != nil {
			return 0, err
		}
		o.Region = cmp.Or(d.client.Target.Region, o.Region)
	}
	defer d.close()
	for _, c := range d.checks(ctx) {
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

// checks returns the checks to make, in order: the driver's, then those of ssh.
func (d *doctor) checks(ctx context.Context) (list []driver.Check) {
	if e, ok := d.o.Driver.(driver.Examiner); ok {
		list, d.end = e.Examine(ctx, &driver.ExamineRequest{
			Account:  &d.o.Account,
			Target:   d.client.Target,
			Port:     d.o.Port,
			Document: d.o.Document,
			PushKey:  d.o.PushKey,
			User:     d.o.User,
			Doctor:   d,
		})
	} else {
		list = d.plainChecks(ctx)
	}
	return append(list,
		driver.Check{Name: "ssh", Look: d.sshVersion},
		driver.Check{Name: "ssh config", Needs: []string{"ssh"}, Look: d.sshConfig})
}

// run makes one check, unless a check that it depends on has failed.
func (d *doctor) run(ctx context.Context, c driver.Check) Finding {
	f := Finding{Status: StatusSkipped}
	for _, name := range c.Needs {
		if why, ok := d.unfit[name]; ok {
			f.Detail = fmt.Sprintf("needs %q", why)
			d.unfit[c.Name] = why
			break
		}
	}
	if f.Detail == "" {
		limited, stop := d.limit(ctx, c.Patient)
		defer stop()
		f = c.Look(limited)
	}
	if f.Status == StatusFailed || f.Blocks {
		d.unfit[c.Name] = c.Name
	}
	f.Check, f.Detail, f.Remedy = safetext.Printable(c.Name), safetext.Printable(f.Detail), safetext.Printable(f.Remedy)
	return f
}

// limit limits the time of a check.
func (d *doctor) limit(ctx context.Context, patient bool) (limited context.Context, stop func()) {
	if patient {
		limited, _, stop = d.o.ConnectLimit(ctx)
		return limited, stop
	}
	return context.WithTimeout(ctx, callLimit)
}

// close ends everything that the checks have started.
func (d *doctor) close() {
	if d.session != nil {
		d.session.Close()
	}
	d.end()
	if d.client.Service != nil {
		d.client.Release()
		d.client.Service.Close()
	}
}

func ok(format string, args ...any) Finding {
	return Finding{Status: StatusOK, Detail: fmt.Sprintf(format, args...)}
}

func skipped(format string, args ...any) Finding {
	return Finding{Status: StatusSkipped, Detail: fmt.Sprintf(format, args...)}
}
