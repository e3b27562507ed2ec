package machine

import (
	"errors"
	"fmt"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

// Options say what to connect to, and how. Commands embed them in options of
// their own.
type Options struct {
	Driver         driver.Driver // must be set
	driver.Account               // which account, and whom to tell; its fields may be nil
	Choice                       // which machine
	Limits                       // how long to try

	Host     string // reached through the target; "" means the target itself
	Port     string // on Host
	Document string // "" means the driver's
	Reason   string // for the account's records; may be empty

	// Alone says that the process does nothing else, so the Go runtime may be
	// tuned for one stream.
	Alone bool

	// Progress is called repeatedly with the state of a long wait, and with ""
	// when it ends; nil for none.
	Progress func(string)

	Use     Use  // what a session is for
	NoFlags bool // do not mention flags: the user did not type our command line

	Resumed func() // called when a session resumes after an outage; may be nil
}

// Choice says which machine is meant.
type Choice struct {
	Target      string // the user's name for the machine
	StripSuffix string // removed from the end of Target, if present
	AnyCase     bool   // match Target's name in any case, because ssh lowercases it
	Pick        Pick   // chooses among machines of the same name
	Start       bool   // start a stopped machine
}

// Limits are limits of time. 0 means no limit.
type Limits struct {
	ConnectTimeout time.Duration // until the agent is ready
	ResumeTimeout  time.Duration // for one outage

	// KeepAlive is how often to send something so that the service does not
	// consider the session idle; 0 means never.
	KeepAlive time.Duration
}

// noticeAfter is how long an outage lasts before the user is told. The
// service's hourly disconnect is over long before.
const noticeAfter = 3 * time.Second

// ErrUnsupported says that a cloud cannot do what was asked for.
var ErrUnsupported = errors.New("this cloud does not support that")

// tellOutage returns a function that turns outages into notices: one line when
// an outage lasts, and one when it is over.
func (o *Options) tellOutage() func(stream.Outage) {
	told := false
	return func(out stream.Outage) {
		if out.Over && o.Resumed != nil {
			o.Resumed()
		}
		switch {
		case out.Over && told:
			o.Notice(fmt.Sprintf("%s: reconnected after %v", o.Target, out.Lasted.Round(time.Second)))
			told = false
		case !out.Over && !told && out.Lasted >= noticeAfter:
			limit := ""
			if o.ResumeTimeout > 0 {
				limit = fmt.Sprintf(" for up to %v", o.ResumeTimeout)
			}
			o.Notice(safetext.Printable(fmt.Sprintf("%s: connection lost (%s); trying again%s, no data is lost",
				o.Target, o.Cause(out.Err), limit)))
			told = true
		}
	}
}

// tellRepeat tells the user that the stream is stalled
// although the connection is up, and for how long.
func (o *Options) tellRepeat(r stream.Repeat) {
	o.Notice(fmt.Sprintf("%s: %d messages were lost in transit; the machine is resending them, which takes about %v",
		o.Target, r.Messages, r.Takes.Round(time.Second)))
}

// tellSilence turns silences into notices.
func (o *Options) tellSilence(s stream.Silence) {
	lasted := s.Lasted.Round(time.Second)
	if s.Over {
		o.Notice(fmt.Sprintf("%s: the machine answers again after %v", o.Target, lasted))
		return
	}
	limit := ""
	if o.ResumeTimeout > 0 {
		limit = fmt.Sprintf(" for up to %v", o.ResumeTimeout)
	}
	o.Notice(fmt.Sprintf("%s: the machine has not answered for %v, though the connection to %s is up; it may be busy or rebooting; waiting%s",
		o.Target, lasted, o.Driver.Words().Cloud, limit))
}

// Tell sends the user a notice about the target.
func (o *Options) Tell(text string) { o.Notice(safetext.Printable(o.Target + ": " + text)) }
