// Ssmpipe reaches private machines through AWS Systems Manager Session
// Manager: ssh starts it as its ProxyCommand.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/ssmpipe/ssmpipe/proxy"
	"github.com/ssmpipe/ssmpipe/proxy/demo"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// Exit statuses: 0 the stream ended as it should, 1 it did not, 2 wrong usage.
const (
	statusFailed = 1
	statusUsage  = 2
)

func main() {
	// A reader of our output that goes away is an error to handle, with a
	// session to end, not a reason to die at once. To ignore the signal would
	// do as well here, but commands that we start would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	var fatal []os.Signal
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // as nohup has it
			fatal = append(fatal, s)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	if len(fatal) > 0 { // with none, NotifyContext would take them all
		ctx, stop = signal.NotifyContext(ctx, fatal...)
	}
	defer stop()
	os.Exit(run(ctx, os.Args))
}

func run(ctx context.Context, args []string) int {
	err := newApp().RunContext(ctx, args)
	var status cli.ExitCoder
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		say(err.Error())
		return status.ExitCode()
	case errors.Is(err, proxy.ErrTarget):
		say(err.Error())
		return statusUsage
	case ctx.Err() != nil, errors.Is(err, proxy.ErrStdoutClosed):
		return statusFailed // whoever did that knows
	}
	say(err.Error())
	return statusFailed
}

// say writes one line to stderr.
func say(text string) {
	if text != "" {
		fmt.Fprint(os.Stderr, "ssmpipe: "+text+lineEnd())
	}
}

// lineEnd ends a line on stderr. A terminal is in raw mode under ssh, so the
// line brings its own carriage return there.
func lineEnd() string {
	if term.IsTerminal(int(os.Stderr.Fd())) {
		return "\r\n"
	}
	return "\n"
}

func usage(format string, args ...any) error {
	return cli.Exit(fmt.Sprintf(format, args...)+`; see "ssmpipe --help"`, statusUsage)
}

func newApp() *cli.App {
	cli.VersionPrinter = func(c *cli.Context) { fmt.Fprintln(c.App.Writer, "ssmpipe", c.App.Version) }
	cli.VersionFlag = &cli.BoolFlag{Name: "version", Usage: "print the version", DisableDefaultText: true}
	cli.HelpFlag = &cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "print this page", DisableDefaultText: true}
	return &cli.App{
		Name:                      "ssmpipe",
		Usage:                     "ssh to private machines through AWS Session Manager",
		Version:                   version(),
		HideHelpCommand:           true,
		CustomAppHelpTemplate:     appHelp,
		DisableSliceFlagSeparator: true,
		OnUsageError:              usageError,
		ExitErrHandler:            func(*cli.Context, error) {}, // run does it
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("unknown command %q", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		Commands: []*cli.Command{proxyCommand(), forwardCommand(), demoCommand()},
	}
}

func usageError(_ *cli.Context, err error, _ bool) error { return usage("%v", err) }

// sessionFlags are those of every command that opens sessions.
func sessionFlags(verbose *int, more ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "profile"},
		&cli.StringFlag{Name: "region"},
		&cli.StringFlag{Name: "document"},
		&cli.StringFlag{Name: "reason"},
		&cli.DurationFlag{Name: "connect-timeout", Value: 30 * time.Second},
		&cli.DurationFlag{Name: "resume-timeout", Value: ssmproto.DefaultResumeTimeout},
		&cli.DurationFlag{Name: "keepalive"},
		&cli.BoolFlag{Name: "v", Count: verbose},
	}, more...)
}

// sessionOptions reads them, and the target, which is the first argument.
func sessionOptions(c *cli.Context, verbose int) (proxy.Options, error) {
	o := proxy.Options{
		Target:         c.Args().First(),
		Document:       c.String("document"),
		Reason:         c.String("reason"),
		Profile:        c.String("profile"),
		Region:         c.String("region"),
		ConnectTimeout: c.Duration("connect-timeout"),
		ResumeTimeout:  c.Duration("resume-timeout"),
		KeepAlive:      c.Duration("keepalive"),
		Alone:          true,
		Notice:         say,
		Log:            logger(verbose),
	}
	for _, arg := range c.Args().Slice() {
		if strings.HasPrefix(arg, "-") {
			return o, usage("options go before TARGET: %q", arg)
		}
	}
	if o.ConnectTimeout < 0 || o.ResumeTimeout < 0 || o.KeepAlive < 0 {
		return o, usage("a time cannot be negative")
	}
	if o.KeepAlive > 0 && o.KeepAlive < time.Second {
		return o, usage("--keepalive is at least 1s")
	}
	return o, nil
}

// portNumber reads a port's number or name.
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

func proxyCommand() *cli.Command {
	var verbose int
	return &cli.Command{
		Name:                   "proxy",
		CustomHelpTemplate:     proxyHelp,
		OnUsageError:           usageError,
		UseShortOptionHandling: true,
		HideHelpCommand:        true,
		Flags:                  sessionFlags(&verbose, &cli.StringFlag{Name: "via"}),
		Action: func(c *cli.Context) error {
			o, err := sessionOptions(c, verbose)
			if err != nil {
				return err
			}
			args := c.Args().Slice()
			what := "TARGET"
			if via := c.String("via"); via != "" {
				what = "HOST"
				o.Target = via
				if o.Host = c.Args().First(); o.Host == "" && len(args) > 0 {
					return usage("HOST is empty")
				}
			}
			o.Port = "22"
			switch len(args) {
			case 0:
				return usage("proxy needs a %s", what)
			case 1:
			case 2:
				if o.Port, err = portNumber(args[1]); err != nil {
					return err
				}
			default:
				return usage("proxy takes %s and PORT, not %q", what, args)
			}
			return proxy.Stdio(c.Context, o, os.Stdin, os.Stdout)
		},
	}
}

func forwardCommand() *cli.Command {
	var verbose int
	var specs []proxy.Spec
	spec := func(name string, parse func(string) (proxy.Spec, error)) cli.Flag {
		return &cli.StringSliceFlag{Name: name, Action: func(_ *cli.Context, values []string) error {
			for _, v := range values {
				s, err := parse(v)
				if err != nil {
					return usage("%v", err)
				}
				specs = append(specs, s)
			}
			return nil
		}}
	}
	return &cli.Command{
		Name:                   "forward",
		CustomHelpTemplate:     forwardHelp,
		OnUsageError:           usageError,
		UseShortOptionHandling: true,
		HideHelpCommand:        true,
		Flags: sessionFlags(&verbose,
			spec("L", proxy.ParseLocal),
			spec("D", proxy.ParseDynamic),
			&cli.IntFlag{Name: "sessions", Value: 1},
			&cli.BoolFlag{Name: "once"},
			&cli.BoolFlag{Name: "exit-on-forward-failure"},
			&cli.BoolFlag{Name: "json"},
		),
		Action: func(c *cli.Context) error {
			o, err := sessionOptions(c, verbose)
			if err != nil {
				return err
			}
			f := proxy.ForwardOptions{
				Options:       o,
				Specs:         specs,
				Sessions:      c.Int("sessions"),
				Once:          c.Bool("once"),
				ExitOnFailure: c.Bool("exit-on-forward-failure"),
				Ready:         sayReady,
			}
			if c.Bool("json") {
				f.Ready = printReady
			}
			switch {
			case c.NArg() == 0:
				return usage("forward needs a TARGET")
			case c.NArg() > 1:
				return usage("forward takes one TARGET, not %q", c.Args().Slice())
			case len(specs) == 0:
				return usage("forward needs -L or -D")
			case f.Sessions < 1 || f.Sessions > 16:
				return usage("--sessions is from 1 to 16")
			}
			return proxy.Forward(c.Context, f)
		},
	}
}

// sayReady tells people of a forward.
func sayReady(l proxy.Listening) {
	to := "where the client says (SOCKS5)"
	if !l.Spec.Dynamic {
		to = l.Spec.Destination()
	}
	say(fmt.Sprintf("forwarding %s to %s", l.Addr, to))
}

// printReady tells programs.
func printReady(l proxy.Listening) {
	line := struct {
		Listen string `json:"listen"`
		Host   string `json:"host,omitempty"`
		Port   string `json:"port,omitempty"`
		SOCKS  bool   `json:"socks,omitempty"`
	}{l.Addr.String(), l.Spec.Host, l.Spec.Port, l.Spec.Dynamic}
	if !l.Spec.Dynamic && line.Host == "" {
		line.Host = "localhost"
	}
	json.NewEncoder(os.Stdout).Encode(line)
}

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:               "demo",
		CustomHelpTemplate: demoHelp,
		OnUsageError:       usageError,
		HideHelpCommand:    true,
		Action: func(c *cli.Context) error {
			exe, err := os.Executable()
			if err != nil {
				return err
			}
			status, err := demo.Run(c.Context, demo.Options{
				Command:    c.Args().Slice(),
				Executable: exe,
				Stdin:      os.Stdin,
				Stdout:     os.Stdout,
				Stderr:     os.Stderr,
			})
			switch {
			case status == 0:
				return err
			case err == nil:
				return cli.Exit("", status) // the command has said what it had to
			}
			return cli.Exit(err, status)
		},
	}
}

// logger writes to stderr: with -v what happens to the connection, with -vv
// everything. Payloads, tokens and keys are in neither.
func logger(verbose int) *slog.Logger {
	switch verbose {
	case 0:
		return nil
	case 1:
		return proxy.NewLogger(os.Stderr, lineEnd(), slog.LevelInfo)
	}
	return proxy.NewLogger(os.Stderr, lineEnd(), slog.LevelDebug)
}

// version is what the build knows: a tag, or the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// The help texts are written by hand, because they are the manual.

const appHelp = `NAME
    ssmpipe - ssh to private machines through AWS Session Manager

SYNOPSIS
    ssmpipe proxy [OPTION]... TARGET [PORT]
    ssmpipe forward [OPTION]... -L [BIND:]PORT:HOST:HOSTPORT... TARGET
    ssmpipe demo [-- COMMAND [ARG]...]
    ssmpipe --help | --version

DESCRIPTION
    ssmpipe is what ssh starts as its ProxyCommand. It opens an AWS Systems
    Manager session and pipes stdin and stdout over it, so that ssh, scp, sftp,
    rsync and port forwarding work to machines that no network path leads to.
    Nothing but the AWS SSM agent and sshd is needed there, and nothing but this
    binary and ssh here.

    Put this into ~/.ssh/config:

        Host i-* mi-*
            ProxyCommand ssmpipe proxy %h %p

    and say "ssh i-0123456789abcdef0".

COMMANDS
    proxy    connect stdin and stdout to a port of a machine
    forward  make ports of a machine, or behind it, ports of this one
    demo     try it without an AWS account: a service, an agent and an SSH
             server in this process

    "ssmpipe COMMAND --help" tells more about each.

ENVIRONMENT
    Credentials, region and endpoints come from where every AWS tool finds them:
    AWS_PROFILE, AWS_REGION, AWS_ACCESS_KEY_ID ..., ~/.aws/config, SSO, an
    instance's role; also AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_SSM,
    AWS_ENDPOINT_URL_SSMMESSAGES, AWS_USE_FIPS_ENDPOINT,
    AWS_USE_DUALSTACK_ENDPOINT and AWS_CA_BUNDLE. HTTPS_PROXY and NO_PROXY are
    honoured for all connections.

EXIT STATUS
    0    the stream ended as it should
    1    it did not; the last line on stderr says why and what to do
    2    wrong usage
`

const proxyHelp = `NAME
    ssmpipe proxy - connect stdin and stdout to a port of a machine

SYNOPSIS
    ssmpipe proxy [OPTION]... TARGET [PORT]
    ssmpipe proxy [OPTION]... --via TARGET HOST [PORT]

DESCRIPTION
    Opens a Session Manager session to TARGET and pipes stdin to PORT there
    (22 if not given) and what comes back to stdout, until the far side ends.
    stdout carries the stream and nothing else.

    When the connection to AWS is lost, the session is resumed and the stream
    goes on without a byte lost or doubled. When ssmpipe ends, for whatever
    reason, the session is terminated.

    TARGET is an EC2 instance (i-...), a managed node (mi-...) or a container
    (ecs:CLUSTER_TASKID_RUNTIMEID).

    With --via the port is HOST's, which TARGET reaches and resolves. HOST needs
    no agent, and TARGET neither sshd nor a key:

        Host *.internal
            ProxyCommand ssmpipe proxy --via i-0123456789abcdef0 %h %p

OPTIONS
    --via TARGET              the machine to go through
    --profile NAME            profile of the AWS configuration [$AWS_PROFILE]
    --region REGION           region of TARGET [$AWS_REGION]
    --document NAME           session document (AWS-StartSSHSession; with --via
                              AWS-StartPortForwardingSessionToRemoteHost)
    --reason TEXT             why, for the records of the account
    --connect-timeout TIME    how long connecting may take (30s); 0: no limit
    --resume-timeout TIME     how long to try to overcome one outage (10m0s);
                              0: no limit
    --keepalive TIME          send something so often that the account's idle
                              timeout does not end the session; it is there for
                              a reason, so this is off. ssh has a way of its own:
                              ServerAliveInterval
    -v                        tell on stderr what happens; -vv: all of it

    TIME is written as 90s, 10m or 1h30m.

    An MFA code is asked for on the terminal.

EXIT STATUS
    0    the far side ended the stream, and all of it was written
    1    anything else; the last line on stderr says why and what to do
    2    wrong usage
`

const forwardHelp = `NAME
    ssmpipe forward - reach ports of a machine, and of hosts behind it, without ssh

SYNOPSIS
    ssmpipe forward [OPTION]... -L [BIND:]PORT:HOST:HOSTPORT... TARGET
    ssmpipe forward [OPTION]... -D [BIND:]PORT TARGET

DESCRIPTION
    Listens on this machine and forwards each connection through TARGET, as
    "ssh -L" and "ssh -D" do, but with neither sshd nor a key there. It stays up:
    a session that ends is replaced, and the listeners stay meanwhile.

    HOST is as TARGET sees it; localhost is TARGET itself. IPv6 addresses are
    written in brackets. BIND is loopback if it is not given; * is all addresses.
    PORT 0 chooses one that is free. Instead of [BIND:]PORT a path names a Unix
    socket.

OPTIONS
    -L SPEC                   forward a port (may be repeated)
    -D SPEC                   SOCKS5: clients say where to connect to
    --sessions N              sessions for each destination, 1 to 16 (1); the
                              agent sends less than 1 MB/s on each
    --once                    end when a session has ended
    --exit-on-forward-failure end if one of several cannot be listened on
    --json                    print what is ready as JSON lines on stdout

    and those of "ssmpipe proxy".

EXIT STATUS
    1    the last line on stderr says why
    2    wrong usage
`

const demoHelp = `NAME
    ssmpipe demo - try ssmpipe without an AWS account

SYNOPSIS
    ssmpipe demo
    ssmpipe demo -- COMMAND [ARG]...

DESCRIPTION
    Starts, in this process and on loopback, a Session Manager service, an
    agent, and an SSH server that stands for the instances i-0demo and i-0demo2.
    Commands that you run there run on this machine, as you, in a temporary
    directory.

    Without COMMAND it prints lines to paste into another terminal, and ends
    with Ctrl-C. With COMMAND it runs that, with plain ssh, scp, sftp, rsync and
    ssmpipe set up for these instances, and exits with its status:

        ssmpipe demo -- ssh i-0demo uname -a
`
