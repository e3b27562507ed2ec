// Ssmpipe reaches private machines through AWS Systems Manager Session
// Manager: ssh starts it as its ProxyCommand.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/ssmpipe/ssmpipe/completion"
	"github.com/ssmpipe/ssmpipe/proxy"
	"github.com/ssmpipe/ssmpipe/proxy/demo"
	"github.com/ssmpipe/ssmpipe/proxy/manual"
	"github.com/ssmpipe/ssmpipe/proxy/sshconfig"
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
	plugin, args := asPlugin(os.Args)
	fatal, limit := caught(os.Args, plugin)
	ctx := withSignals(fatal, limit, !plugin && forOthers(os.Args))
	if plugin {
		os.Exit(runPlugin(ctx, args))
	}
	os.Exit(run(ctx, os.Args))
}

func run(ctx context.Context, args []string) int {
	err := newApp().RunContext(ctx, args)
	if failed := stdout.Err(); failed != nil {
		err = failed // whatever came of it
	}
	return exitStatus(ctx, err)
}

// stdout is where all commands print that do not pipe a stream there.
var stdout = proxy.NewOutput(os.Stdout)

// exitStatus says what err leaves to say.
func exitStatus(ctx context.Context, err error) int {
	var status cli.ExitCoder
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		say(err.Error())
		return status.ExitCode()
	case errors.Is(err, proxy.ErrTarget), errors.Is(err, proxy.ErrPattern), errors.Is(err, proxy.ErrCommand),
		errors.Is(err, proxy.ErrPlugin), errors.Is(err, sshconfig.ErrOption):
		say(err.Error())
		return statusUsage
	case ctx.Err() != nil, errors.Is(err, proxy.ErrStdoutClosed), errors.Is(err, proxy.ErrTold):
		return statusFailed // whoever did that knows, or was told
	}
	say(err.Error())
	return statusFailed
}

// say writes one line to stderr, or several where there is a list.
func say(text string) {
	if text != "" {
		fmt.Fprint(os.Stderr, "ssmpipe: "+strings.ReplaceAll(text, "\n", lineEnd())+lineEnd())
	}
}

// progress returns what shows how a wait goes, in a line that is written over,
// or nil where nobody looks.
func progress() func(string) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return nil
	}
	return func(text string) {
		if text != "" {
			text = "ssmpipe: " + text
		}
		fmt.Fprint(os.Stderr, "\r"+text+"\x1b[K")
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
	commands := []*cli.Command{proxyCommand(), forwardCommand(), shellCommand(), execCommand(), lsCommand(), sessionsCommand(),
		doctorCommand(), sshConfigCommand(), pluginCommand(), completionCommand(), demoCommand()}
	var index []manual.Item
	for _, c := range commands {
		index = append(index, manual.Item{Name: c.Name, Use: c.Usage})
		c.OnUsageError = usageError
		c.HideHelpCommand = true
		c.UseShortOptionHandling = true
		c.CustomHelpTemplate = manual.Page(c.Name, options(c.Flags))
	}
	return &cli.App{
		Name:                      "ssmpipe",
		Writer:                    stdout,
		Usage:                     "ssh to private machines through AWS Session Manager",
		Version:                   version(),
		HideHelpCommand:           true,
		CustomAppHelpTemplate:     manual.Page("ssmpipe", index),
		DisableSliceFlagSeparator: true,
		OnUsageError:              usageError,
		ExitErrHandler:            func(*cli.Context, error) {}, // run does it
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("unknown command %q", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		Commands: append(commands, completeCommand()),
	}
}

// options lists flags as the manual does. A flag's value is named in its usage
// text in backquotes; that of a generic flag may be left out.
func options(flags []cli.Flag) (items []manual.Item) {
	for _, f := range flags {
		doc, ok := f.(cli.DocGenerationFlag)
		if !ok || doc.GetUsage() == "" {
			continue
		}
		name := "--" + f.Names()[0]
		if len(f.Names()[0]) == 1 {
			name = name[1:]
		}
		use := doc.GetUsage()
		if before, rest, ok := strings.Cut(use, "`"); ok {
			value, after, _ := strings.Cut(rest, "`")
			if _, optional := f.(*cli.GenericFlag); optional {
				name += "[=" + value + "]"
			} else {
				name += " " + value
			}
			use = before + value + after
		}
		items = append(items, manual.Item{Name: name, Use: use})
	}
	return items
}

func usageError(_ *cli.Context, err error, _ bool) error { return usage("%v", err) }

// sessionFlags are those of every command that opens sessions.
func sessionFlags(verbose *int) []cli.Flag {
	return append(targetFlags(verbose),
		&cli.StringFlag{Name: "document", Usage: "session document `NAME` (AWS's own)"},
		&cli.StringFlag{Name: "reason", Usage: "`TEXT` for the records of the account"},
		&cli.DurationFlag{Name: "resume-timeout", Value: ssmproto.DefaultResumeTimeout,
			Usage: "`TIME` to try to overcome one outage (10m0s); 0: no limit"},
		&cli.DurationFlag{Name: "keepalive",
			Usage: "send something each `TIME`, so that the account's idle timeout does not end the session; " +
				"it is there for a reason, so this is off. ssh has a way of its own: ServerAliveInterval"},
	)
}

// targetFlags are those of every command that looks for a machine.
func targetFlags(verbose *int) []cli.Flag {
	return append(nameFlags(verbose),
		&cli.BoolFlag{Name: "start", Usage: "start a machine that is stopped, and wait for its agent"},
	)
}

// nameFlags are those of every command that finds a machine by its name.
func nameFlags(verbose *int) []cli.Flag {
	return append(accountFlags(verbose),
		&cli.StringFlag{Name: "pick", Usage: "`WHICH` of several machines of the same name: newest, oldest or any"},
		&cli.StringFlag{Name: "strip-suffix", Usage: "`SUFFIX` to cut off TARGET, so that a Host pattern of ssh can choose a profile"},
		&cli.BoolFlag{Name: "any-case", Usage: "find TARGET in upper and lower case, since ssh lowers it in %h"},
	)
}

// accountFlags are those of every command that asks AWS.
func accountFlags(verbose *int) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "profile", Usage: "`NAME` of a profile of the AWS configuration [$AWS_PROFILE]"},
		&cli.StringFlag{Name: "region", Usage: "`REGION` of TARGET [$AWS_REGION]"},
		&cli.DurationFlag{Name: "connect-timeout", Value: 30 * time.Second,
			Usage: "`TIME` that connecting may take (30s); 0: no limit"},
		&cli.BoolFlag{Name: "v", Count: verbose, Usage: "tell on stderr what happens; -vv: all of it"},
	}
}

// sessionOptions reads them, and the target, which is the first argument.
func sessionOptions(c *cli.Context, verbose int) (proxy.Options, error) {
	o, err := accountOptions(c, verbose)
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
	o.Pick = proxy.Pick(c.String("pick"))
	o.Start = c.Bool("start")
	o.Alone = true
	switch o.Pick {
	case "", proxy.PickNewest, proxy.PickOldest, proxy.PickAny:
	default:
		return o, usage("--pick is newest, oldest or any, not %q", o.Pick)
	}
	if o.ResumeTimeout < 0 || o.KeepAlive < 0 {
		return o, usage("a time cannot be negative")
	}
	if o.KeepAlive > 0 && o.KeepAlive < time.Second {
		return o, usage("--keepalive is at least 1s")
	}
	return o, nil
}

// accountOptions reads the flags of a command that asks AWS.
func accountOptions(c *cli.Context, verbose int) (proxy.Options, error) {
	o := proxy.Options{
		Profile:        c.String("profile"),
		Region:         c.String("region"),
		ConnectTimeout: c.Duration("connect-timeout"),
		Notice:         say,
		Progress:       progress(),
		Log:            logger(verbose),
	}
	args := c.Args().Slice()
	if c.Command.Name == "exec" && len(args) > 0 {
		args = args[:1] // what follows is the command's
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

// pushWay is --push-key's value, which may be left out.
type pushWay struct{ proxy.PushWay }

func (w *pushWay) IsBoolFlag() bool { return true }
func (w *pushWay) String() string   { return string(w.PushWay) }

func (w *pushWay) Set(text string) error {
	switch text {
	case "true": // as package flag has it where there is no value
		w.PushWay = proxy.InstanceConnect
	case "false":
		w.PushWay = ""
	case string(proxy.InstanceConnect), string(proxy.RunCommand):
		w.PushWay = proxy.PushWay(text)
	default:
		return fmt.Errorf("it is %s or %s", proxy.InstanceConnect, proxy.RunCommand)
	}
	return nil
}

// keyFlags are those of a key that is pushed.
func keyFlags(way *pushWay) []cli.Flag {
	return []cli.Flag{
		&cli.GenericFlag{Name: "push-key", Value: way,
			Usage: "make a key known to the machine for a minute, by `WAY`: instance-connect or run-command"},
		&cli.StringFlag{Name: "user", Usage: "`NAME` as whom ssh logs in (what the ssh that started ssmpipe says)"},
		&cli.StringFlag{Name: "key", Usage: "the `KEY`: a file, agent or made"},
		&cli.StringFlag{Name: "identity-agent", Usage: "be the ssh-agent at `SOCKET`, with a key for this connection only"},
	}
}

// pushKey reads them.
func pushKey(c *cli.Context, way proxy.PushWay) (*proxy.PushKey, error) {
	if way == "" {
		for _, name := range []string{"user", "key", "identity-agent"} {
			if c.IsSet(name) {
				return nil, usage("--%s needs --push-key", name)
			}
		}
		return nil, nil
	}
	k := &proxy.PushKey{Way: way, User: c.String("user"), Key: c.String("key"), Socket: sshconfig.InHome(c.String("identity-agent"))}
	if c.String("via") != "" {
		return nil, usage("--push-key would give TARGET a key, not HOST behind it: leave one of --push-key and --via out")
	}
	if err := k.Check(); err != nil {
		return nil, usage("%v", err)
	}
	return k, nil
}

func proxyCommand() *cli.Command {
	var verbose int
	var way pushWay
	return &cli.Command{
		Name:  "proxy",
		Usage: "connect stdin and stdout to a port of a machine",
		Flags: append(append([]cli.Flag{
			&cli.StringFlag{Name: "via", Usage: "go through `TARGET` to HOST"},
			&cli.StringFlag{Name: "host-keys", Usage: "keep host keys by machine in `DIR`, for UserKnownHostsFile DIR/%h"},
			&cli.StringFlag{Name: "control-dir", Usage: "make `DIR`, for you only, in which ssh's ControlPath lies"},
		}, keyFlags(&way)...), sessionFlags(&verbose)...),
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
			if o.Key, err = pushKey(c, way.PushWay); err != nil {
				return err
			}
			o.HostKeys = sshconfig.InHome(c.String("host-keys"))
			o.ControlDir = sshconfig.InHome(c.String("control-dir"))
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
	spec := func(name, use string, parse func(string) (proxy.Spec, error)) cli.Flag {
		return &cli.StringSliceFlag{Name: name, Usage: use, Action: func(_ *cli.Context, values []string) error {
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
		Name:  "forward",
		Usage: "make ports of a machine, or behind it, ports of this one",
		Flags: append([]cli.Flag{
			spec("L", "forward `SPEC` (may be repeated)", proxy.ParseLocal),
			spec("D", "SOCKS5 on `SPEC`: clients say where to connect to", proxy.ParseDynamic),
			&cli.IntFlag{Name: "sessions", Value: 1,
				Usage: "`N` sessions for each destination, 1 to 16 (1); the agent sends less than 1 MB/s on each"},
			&cli.BoolFlag{Name: "once", Usage: "end when a session has ended"},
			&cli.BoolFlag{Name: "exit-on-forward-failure", Usage: "end if one of several cannot be listened on"},
			&cli.BoolFlag{Name: "json", Usage: "print what is ready as JSON lines on stdout"},
		}, sessionFlags(&verbose)...),
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
			ctx, cancel := context.WithCancelCause(c.Context)
			defer cancel(nil)
			if c.Bool("json") {
				f.Ready = func(l proxy.Listening) {
					printReady(l)
					if err := stdout.Err(); err != nil && !errors.Is(err, proxy.ErrStdoutClosed) { // programs need read no more than one line
						cancel(err)
					}
				}
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
			return proxy.Forward(ctx, f)
		},
	}
}

// documentFlags are those of a session of any document, on a terminal.
func documentFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "parameters", Usage: "`NAME=VALUE` of the document (may be repeated), or all as JSON"},
		&cli.StringFlag{Name: "escape-char", Aliases: []string{"e"}, Value: "~", Usage: "`CHAR` that begins an escape at the start of a line (~), or none"},
	}
}

// parameters reads a document's, which are lists each.
func parameters(c *cli.Context) (map[string][]string, error) {
	var all map[string][]string
	add := func(name string, values ...string) {
		if all == nil {
			all = make(map[string][]string)
		}
		all[name] = append(all[name], values...)
	}
	for _, text := range c.StringSlice("parameters") {
		if !strings.HasPrefix(text, "{") {
			name, value, ok := strings.Cut(text, "=")
			if !ok || name == "" {
				return nil, usage("--parameters is NAME=VALUE or JSON, not %q", text)
			}
			add(name, value)
			continue
		}
		var object map[string]any
		if err := json.Unmarshal([]byte(text), &object); err != nil {
			return nil, usage("--parameters: %v", err)
		}
		for name, value := range object {
			list, ok := value.([]any)
			if !ok {
				list = []any{value}
			}
			for _, v := range list {
				text, ok := v.(string)
				if !ok {
					return nil, usage("--parameters: the value of %s is not a string or a list of strings", name)
				}
				add(name, text)
			}
		}
	}
	return all, nil
}

// terminalOf is this process's terminal.
func terminalOf(c *cli.Context) (proxy.Terminal, error) {
	escape, err := proxy.ParseEscape(c.String("escape-char"))
	if err != nil {
		return proxy.Terminal{}, usage("--escape-char: %v", err)
	}
	return proxy.Terminal{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Escape: escape}, nil
}

func shellCommand() *cli.Command {
	var verbose int
	return &cli.Command{
		Name:  "shell",
		Usage: "open a shell on a machine, or in a container, without ssh",
		Flags: append(documentFlags(), sessionFlags(&verbose)...),
		Action: func(c *cli.Context) error {
			o, err := sessionOptions(c, verbose)
			if err != nil {
				return err
			}
			s := proxy.ShellOptions{Options: o}
			if s.Parameters, err = parameters(c); err != nil {
				return err
			}
			if s.Terminal, err = terminalOf(c); err != nil {
				return err
			}
			switch {
			case c.NArg() == 0:
				return usage("shell needs a TARGET")
			case c.NArg() > 1:
				return usage("shell takes one TARGET, not %q; exec runs a command", c.Args().Slice())
			}
			return proxy.Shell(c.Context, s)
		},
	}
}

func execCommand() *cli.Command {
	var verbose int
	return &cli.Command{
		Name:  "exec",
		Usage: "run a command on a machine, or in a container, without ssh",
		Flags: append(append([]cli.Flag{&cli.BoolFlag{Name: "t", Usage: "run it on a terminal"}},
			documentFlags()...), sessionFlags(&verbose)...),
		Action: func(c *cli.Context) error {
			interrupted := make(chan os.Signal, 1)
			signal.Notify(interrupted, os.Interrupt)
			defer signal.Stop(interrupted)
			o, err := sessionOptions(c, verbose)
			if err != nil {
				return err
			}
			e := proxy.ExecOptions{Options: o, TTY: c.Bool("t")}
			if e.Parameters, err = parameters(c); err != nil {
				return err
			}
			if e.Terminal, err = terminalOf(c); err != nil {
				return err
			}
			if c.NArg() == 0 {
				return usage("exec needs a TARGET and a COMMAND")
			}
			switch e.Command = c.Args().Tail(); {
			case len(e.Command) > 0 && e.Command[0] == "--":
				e.Command = e.Command[1:]
			case len(e.Command) > 0 && strings.HasPrefix(e.Command[0], "-"):
				return usage("options go first, or -- before the command: %q", e.Command[0])
			}
			if len(e.Command) == 0 {
				return usage("exec needs a COMMAND")
			}
			status, err := proxy.Exec(c.Context, e)
			select {
			case <-interrupted:
				return dieInterrupted()
			default:
			}
			if err == nil && status != 0 {
				err = cli.Exit("", status)
			}
			return err
		},
	}
}

// dieInterrupted ends this process by the interrupt that has ended the command,
// as it would have if nothing had had to be put in order before. So a shell ends
// its loop, too.
func dieInterrupted() error {
	dieBy(os.Interrupt)
	return cli.Exit("", statusSignal(os.Interrupt))
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
	json.NewEncoder(stdout).Encode(line)
}

// screen is stdout for a list.
func screen(c *cli.Context) proxy.Screen {
	s := proxy.ScreenOf(os.Stdout, c.Bool("json"))
	s.Out = stdout
	return s
}

func lsCommand() *cli.Command {
	var verbose int
	return &cli.Command{
		Name:  "ls",
		Usage: "list machines, or ECS containers",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "regions", Usage: "list `REGIONS`, separated by commas, at once; all: those that the account may use"},
			&cli.BoolFlag{Name: "ecs", Usage: "list the containers of ECS tasks"},
			&cli.BoolFlag{Name: "json", Usage: "print a line of JSON for each"},
		}, accountFlags(&verbose)...),
		Action: func(c *cli.Context) error {
			o, err := accountOptions(c, verbose)
			if err != nil {
				return err
			}
			ls := proxy.LsOptions{
				Options:  o,
				Patterns: c.Args().Slice(),
				ECS:      c.Bool("ecs"),
				Screen:   screen(c),
			}
			if c.IsSet("regions") {
				ls.Regions = strings.Split(c.String("regions"), ",")
				if slices.Contains(ls.Regions, "") {
					return usage("--regions is a list as us-east-1,eu-central-1, or all")
				}
			}
			return proxy.Ls(c.Context, ls)
		},
	}
}

func sessionsCommand() *cli.Command {
	var verbose int
	return &cli.Command{
		Name:  "sessions",
		Usage: "list one's own active sessions, or end them",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "everybody's"},
			&cli.BoolFlag{Name: "terminate", Usage: "end those that would be listed"},
			&cli.BoolFlag{Name: "json", Usage: "print a line of JSON for each"},
		}, accountFlags(&verbose)...),
		Action: func(c *cli.Context) error {
			o, err := accountOptions(c, verbose)
			if err != nil {
				return err
			}
			if c.Bool("all") && c.Bool("terminate") && !c.Args().Present() {
				return usage("--all --terminate needs to be told which: a TARGET or a session's ID")
			}
			return proxy.Sessions(c.Context, proxy.SessionsOptions{
				Options:   o,
				Which:     c.Args().Slice(),
				All:       c.Bool("all"),
				Terminate: c.Bool("terminate"),
				Screen:    screen(c),
			})
		},
	}
}

func sshConfigCommand() *cli.Command {
	var verbose int
	return &cli.Command{
		Name:  "ssh-config",
		Usage: "print or install what ssh needs to know",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "install", Usage: "write ~/.ssh/" + sshconfig.FileName + ", and a line of ~/.ssh/config that includes it"},
			&cli.BoolFlag{Name: "uninstall", Usage: "take that back"},
			&cli.BoolFlag{Name: "hosts", Usage: "a Host for each machine, by its name"},
			&cli.StringFlag{Name: "suffix", Usage: "look up what ends in `SUFFIX`, such as .prod, without it; with --hosts names get it"},
			&cli.StringFlag{Name: "user", Usage: "log in as `NAME` (whom the machine's platform comes with)"},
			&cli.BoolFlag{Name: "no-push-key", Usage: "no keys by EC2 Instance Connect: your own are there already"},
			&cli.StringFlag{Name: "pick", Usage: "`WHICH` of several machines of the same name: newest, oldest or any"},
			&cli.BoolFlag{Name: "start", Usage: "have ssh start a machine that is stopped"},
		}, accountFlags(&verbose)...),
		Action: func(c *cli.Context) error {
			o, err := sessionOptions(c, verbose)
			if err != nil {
				return err
			}
			if c.Args().Present() {
				return usage("ssh-config takes no arguments, but %q", c.Args().Slice())
			}
			if c.Bool("install") && c.Bool("uninstall") {
				return usage("--install and --uninstall are two different things")
			}
			if c.Bool("uninstall") {
				return proxy.UninstallSSHConfig(o)
			}
			return proxy.SSHConfig(c.Context, proxy.SSHConfigOptions{
				Options: o,
				Hosts:   c.Bool("hosts"),
				Suffix:  c.String("suffix"),
				User:    c.String("user"),
				PushKey: !c.Bool("no-push-key"),
				Install: c.Bool("install"),
				Out:     stdout,
			})
		},
	}
}

func doctorCommand() *cli.Command {
	var verbose int
	return &cli.Command{
		Name:  "doctor",
		Usage: "look for what keeps sessions from working, and say what helps",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "push-key", Usage: "see whether a key can be pushed for --user; it is one that nobody has, and expires after 60 s"},
			&cli.StringFlag{Name: "user", Usage: "`NAME` on the machine"},
			&cli.StringFlag{Name: "document", Usage: "session document `NAME` (AWS's own)"},
			&cli.StringFlag{Name: "reason", Usage: "`TEXT` for the records of the account (ssmpipe doctor)"},
			&cli.BoolFlag{Name: "json", Usage: "print findings as JSON lines"},
		}, nameFlags(&verbose)...),
		Action: func(c *cli.Context) error {
			o, err := sessionOptions(c, verbose)
			if err != nil {
				return err
			}
			d := proxy.DoctorOptions{Options: o, PushKey: c.Bool("push-key"), User: c.String("user")}
			switch {
			case c.NArg() > 2:
				return usage("doctor takes TARGET and PORT, not %q", c.Args().Slice())
			case c.NArg() > 0 && o.Target == "":
				return usage("TARGET is empty")
			case c.NArg() == 2:
				if d.Port, err = portNumber(c.Args().Get(1)); err != nil {
					return err
				}
			}
			if d.PushKey && (d.User == "" || o.Target == "") {
				return usage("--push-key needs a TARGET and --user")
			}
			tell := proxy.FindingEncoder(stdout)
			if !c.Bool("json") {
				tell = proxy.FindingPrinter(stdout, proxy.FindingStyleFor(os.Stdout))
			}
			failed, err := proxy.Doctor(c.Context, d, tell)
			if err == nil && failed > 0 {
				err = cli.Exit("", statusFailed) // the findings say it all
			}
			return err
		},
	}
}

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "try it without an AWS account: a service, an agent and an SSH server in this process",
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

// asPlugin says whether a command line is one for the AWS CLI's plugin, and
// returns the plugin's own arguments: we are called by its name, or by ours
// with "plugin" and what is no option of that command.
func asPlugin(args []string) (plugin bool, rest []string) {
	name := strings.ToLower(filepath.Base(args[0]))
	if strings.TrimSuffix(name, ".exe") == "session-manager-plugin" {
		return true, args[1:]
	}
	if len(args) < 2 || args[1] != "plugin" {
		return false, nil
	}
	if len(args) > 2 {
		switch args[2] {
		case "--install", "--uninstall", "--force", "--help", "-h":
			return false, nil
		}
	}
	return true, args[2:]
}

// runPlugin is AWS's session-manager-plugin.
func runPlugin(ctx context.Context, args []string) int {
	o := proxy.Options{
		ConnectTimeout: 30 * time.Second,
		ResumeTimeout:  ssmproto.DefaultResumeTimeout,
		Alone:          true,
		Notice:         say,
		Progress:       progress(),
	}
	return exitStatus(ctx, proxy.Plugin(ctx, o, args, proxy.Terminal{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

func pluginCommand() *cli.Command {
	return &cli.Command{
		Name:  "plugin",
		Usage: "be the session-manager-plugin of the AWS CLI",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "install", Usage: "let the AWS CLI find ssmpipe as its plugin, by a link in DIR"},
			&cli.BoolFlag{Name: "uninstall", Usage: "take that link away"},
			&cli.BoolFlag{Name: "force", Usage: "with --install: replace another plugin that is in DIR"},
		},
		Action: func(c *cli.Context) error {
			// DIR may stand before --force.
			args, force := c.Args().Slice(), c.Bool("force")
			if len(args) == 2 && args[1] == "--force" {
				args, force = args[:1], true
			}
			o := proxy.Options{Notice: say}
			install, uninstall := c.Bool("install"), c.Bool("uninstall")
			switch {
			case len(args) > 1 || len(args) == 1 && strings.HasPrefix(args[0], "-"):
				return usage("plugin takes one DIR, not %q", args)
			case len(args) == 1 && args[0] == "":
				return usage("DIR is empty")
			case install == uninstall:
				return usage("plugin needs one of --install and --uninstall")
			case force && uninstall:
				return usage("--force goes with --install")
			case install:
				return proxy.InstallPlugin(o, c.Args().First(), force)
			}
			return proxy.UninstallPlugin(o, c.Args().First())
		},
	}
}

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:  "completion",
		Usage: "print what a shell needs to complete command lines, and machines' names for ssh",
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usage("completion needs the name of a shell: bash, zsh, fish or powershell")
			}
			script, err := completion.Script(c.Args().First())
			if err != nil {
				return usage("%v", err)
			}
			_, err = io.WriteString(stdout, script)
			return err
		},
	}
}

// completeCommand is what the shells' scripts run. It has nothing to say on
// stderr: that is in the middle of somebody's line.
func completeCommand() *cli.Command {
	return &cli.Command{
		Name:            "complete",
		Hidden:          true,
		HideHelp:        true,
		SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			if completion.Answer(c.Context, stdout, c.App, c.Args().Slice()) != nil {
				return cli.Exit("", statusFailed)
			}
			return nil
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
