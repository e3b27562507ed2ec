package command

import (
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ssmpipe/ssmpipe/proxy/aws"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// connectTimeout is the default time limit for connecting.
const connectTimeout = 30 * time.Second

// sessionFlags returns the flags of every command that opens sessions.
func sessionFlags() []cli.Flag {
	return append(nameFlags(),
		&cli.BoolFlag{Name: "start", Usage: "start a stopped machine, and wait for its agent"},
		&cli.StringFlag{Name: "document", Usage: "use session document `NAME` (AWS's own)"},
		&cli.StringFlag{Name: "reason", Usage: "reason `TEXT` for AWS to record with the session"},
		&cli.DurationFlag{Name: "resume-timeout", Value: ssmproto.DefaultResumeTimeout,
			Usage: "`TIME` to keep trying to resume after an outage (10m0s); 0: no limit"},
		&cli.DurationFlag{Name: "keepalive",
			Usage: "send something every `TIME`, so that the account's idle timeout does not end the session; " +
				"off by default, because that timeout is the account's policy. For ssh use ServerAliveInterval"},
	)
}

// nameFlags returns the flags of every command that looks up a machine by name.
func nameFlags() []cli.Flag {
	return append(accountFlags(),
		&cli.StringFlag{Name: "pick", Usage: "`WHICH` of several machines with the same name: newest, oldest or any"},
		&cli.StringFlag{Name: "strip-suffix", Usage: "remove `SUFFIX` from TARGET, so that a Host pattern of ssh can select a profile"},
		&cli.BoolFlag{Name: "any-case", Usage: "ignore case in TARGET, since ssh converts %h to lower case"},
	)
}

// accountFlags returns the flags of every command that calls AWS.
func accountFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "profile", Usage: "use profile `NAME` of the AWS configuration [$AWS_PROFILE]"},
		&cli.StringFlag{Name: "region", Usage: "`REGION` of TARGET [$AWS_REGION]"},
		&cli.DurationFlag{Name: "connect-timeout", Value: connectTimeout,
			Usage: "`TIME` that connecting may take (30s); 0: no limit"},
		&cli.BoolFlag{Name: "v", Usage: "log to stderr what happens; -vv: in full detail"},
	}
}

// withSession returns an action that calls run with the options from sessionFlags
// and the target.
func withSession(run func(*cli.Context, machine.Options) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		o, err := sessionOptions(c)
		if err != nil {
			return err
		}
		return run(c, o)
	}
}

// withAccount returns an action that calls run with the options from accountFlags.
func withAccount(run func(*cli.Context, machine.Options) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		o, err := accountOptions(c)
		if err != nil {
			return err
		}
		return run(c, o)
	}
}

// sessionOptions reads those of sessionFlags that a command has, and the target,
// which is the first argument.
func sessionOptions(c *cli.Context) (machine.Options, error) {
	o, err := accountOptions(c)
	if err != nil {
		return o, err
	}
	o.Target = c.Args().First()
	o.Document = c.String("document")
	o.Reason = c.String("reason")
	o.ResumeTimeout = c.Duration("resume-timeout")
	o.KeepAlive = c.Duration("keepalive")
	o.StripSuffix = c.String("strip-suffix")
	o.AnyCase = c.Bool("any-case")
	o.Pick = machine.Pick(c.String("pick"))
	o.Start = c.Bool("start")
	o.Alone = true
	switch o.Pick {
	case "", machine.PickNewest, machine.PickOldest, machine.PickAny:
	default:
		return o, usage("--pick must be newest, oldest or any, not %q", o.Pick)
	}
	if o.ResumeTimeout < 0 || o.KeepAlive < 0 {
		return o, usage("a time cannot be negative")
	}
	if o.KeepAlive > 0 && o.KeepAlive < time.Second {
		return o, usage("--keepalive must be at least 1s")
	}
	return o, nil
}

// accountOptions reads accountFlags.
func accountOptions(c *cli.Context) (machine.Options, error) {
	o := machine.Options{
		Driver:   aws.Driver{},
		Account:  driver.Account{Profile: c.String("profile"), Region: c.String("region"), Notice: say, Log: logger(c.Count("v"))},
		Limits:   machine.Limits{ConnectTimeout: c.Duration("connect-timeout")},
		Progress: progress(),
	}
	args := c.Args().Slice()
	if c.Command.Name == "exec" && len(args) > 0 {
		args = args[:1] // the rest is the command to run
	}
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") {
			return o, usage("options go first: %q", arg)
		}
	}
	if o.ConnectTimeout < 0 {
		return o, usage("a time cannot be negative")
	}
	return o, nil
}

// portNumber parses a port's number or name.
func portNumber(text string) (string, error) {
	if n, err := strconv.ParseUint(text, 10, 16); err == nil && n > 0 {
		return text, nil
	}
	n, err := net.LookupPort("tcp", text)
	if err != nil || n == 0 {
		return "", usage("%q is not a port", text)
	}
	return strconv.Itoa(n), nil
}
