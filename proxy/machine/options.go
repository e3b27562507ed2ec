package machine

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// Options say what to connect to, and how.
type Options struct {
	Target   string // what the user calls the machine; see [Find]
	Host     string // behind the target; "" means the target itself
	Port     string // there
	Document string // "" means AWS's own
	Reason   string // for the account's records; may be empty
	Profile  string // of the AWS configuration; "" means the default
	Region   string // "" means the profile's or the environment's

	StripSuffix string   // is no part of Target, if that ends in it
	AnyCase     bool     // Target's name may be written in another case: ssh lowers it
	Pick        Pick     // chooses among machines of the same name
	Start       bool     // a machine that is stopped
	Key         *PushKey // that ssh uses; nil: none that we know of
	HostKeys    string   // a directory of known_hosts by machine, with links by name; "" for none
	ControlDir  string   // where ssh's ControlPath lies, to be made for this user; "" for none

	ConnectTimeout time.Duration // until the agent is ready; 0 means no limit
	ResumeTimeout  time.Duration // for one outage; 0 means no limit

	// KeepAlive is how often something is sent so that the service does not
	// take the session for idle; 0 means never.
	KeepAlive time.Duration

	// Alone says that the process does nothing else, so that the Go runtime may
	// be set for one stream.
	Alone bool

	Notice func(string) // told one line at a time what a user should know; nil: nobody

	// Progress is told how a long wait goes, again and again, and "" at its end;
	// nil: nobody.
	Progress func(string)

	Log *slog.Logger // nil: nothing

	Use     use  // what a session is for
	NoFlags bool // to speak of: nobody has typed our command line

	noSockets bool // ControlDir cannot be used

	Buffer int // a test's, for programs that do not read; 0 is ssmproto.DefaultMuxBuffer

	Resumed func() // told when a session goes on after an outage; nil: nobody
}

// noticeAfter is how long an outage lasts before the user is told: the
// service's hourly disconnect is over long before.
const noticeAfter = 3 * time.Second

var ErrConnectTimeout = errors.New("timed out")

// tellOutage returns what turns outages into notices: one line when it lasts,
// one when it is over.
func (o *Options) tellOutage() func(ssmproto.Outage) {
	told := false
	return func(out ssmproto.Outage) {
		if out.Over && o.Resumed != nil {
			o.Resumed()
		}
		switch {
		case out.Over && told:
			o.Notice(fmt.Sprintf("%s: connected again after %v", o.Target, out.Lasted.Round(time.Second)))
			told = false
		case !out.Over && !told && out.Lasted >= noticeAfter:
			limit := ""
			if o.ResumeTimeout > 0 {
				limit = fmt.Sprintf(" for up to %v", o.ResumeTimeout)
			}
			o.Notice(safetext.Printable(fmt.Sprintf("%s: connection lost (%s); trying again%s, nothing is lost",
				o.Target, Cause(out.Err), limit)))
			told = true
		}
	}
}

// tellRepeat returns what tells the user that the stream stands still although
// the connection is there, and for how long.
func (o *Options) tellRepeat() func(ssmproto.Repeat) {
	return func(r ssmproto.Repeat) {
		o.Notice(fmt.Sprintf("%s: %d messages were lost on the way; the machine repeats them, which takes about %v",
			o.Target, r.Messages, r.Takes.Round(time.Second)))
	}
}

// tellSilence turns silences into notices.
func (o *Options) tellSilence(s ssmproto.Silence) {
	lasted := s.Lasted.Round(time.Second)
	if s.Over {
		o.Notice(fmt.Sprintf("%s: the machine answers again after %v", o.Target, lasted))
		return
	}
	limit := ""
	if o.ResumeTimeout > 0 {
		limit = fmt.Sprintf(" for up to %v", o.ResumeTimeout)
	}
	o.Notice(fmt.Sprintf("%s: the machine has not answered for %v, though the connection to AWS is up; it may be busy or rebooting; waiting%s",
		o.Target, lasted, limit))
}

// Tell tells the user something about the target.
func (o *Options) Tell(text string) { o.Notice(safetext.Printable(o.Target + ": " + text)) }

// Account is the part of o that says whom to ask.
func (o *Options) Account() *awsapi.Account {
	return &awsapi.Account{Profile: o.Profile, Region: o.Region, Notice: o.Notice, Log: o.Log}
}
