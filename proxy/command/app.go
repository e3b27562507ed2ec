package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/list"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/plugin"
	"github.com/ssmpipe/ssmpipe/proxy/quote"
	"github.com/ssmpipe/ssmpipe/proxy/sshconfig"
	"github.com/ssmpipe/ssmpipe/proxy/stdio"
)

// Exit statuses: 0 the stream ended as it should, 1 it did not, 2 wrong usage.
const (
	statusFailed = 1
	statusUsage  = 2
)

// Main runs a command line and returns the exit status.
func Main(args []string) int {
	// If the reader of our output goes away, handle the write error and end the
	// session instead of dying at once. Ignoring the signal would work too, but
	// commands that we start would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	plugin, rest := asPlugin(args)
	fatal, limit := caught(args, plugin)
	ctx := withSignals(fatal, limit, !plugin && forOthers(args))
	if plugin {
		return runPlugin(ctx, rest)
	}
	return run(ctx, args)
}

func run(ctx context.Context, args []string) int {
	err := newApp().RunContext(ctx, args)
	if failed := stdout.Err(); failed != nil {
		err = failed // takes precedence over the command's result
	}
	return exitStatus(ctx, err)
}

// exitStatus prints err, unless that has been done, and returns the exit status.
func exitStatus(ctx context.Context, err error) int {
	var status cli.ExitCoder
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		say(err.Error())
		return status.ExitCode()
	case errors.Is(err, driver.ErrTarget), errors.Is(err, list.ErrPattern), errors.Is(err, quote.ErrCommand),
		errors.Is(err, plugin.ErrPlugin), errors.Is(err, sshconfig.ErrOption):
		say(err.Error())
		return statusUsage
	case ctx.Err() != nil, errors.Is(err, stdio.ErrGone), errors.Is(err, machine.ErrTold):
		return statusFailed // the user knows the cause, or was told
	}
	say(err.Error())
	return statusFailed
}

func newApp() *cli.App {
	cli.VersionPrinter = func(c *cli.Context) { fmt.Fprintln(c.App.Writer, "ssmpipe", c.App.Version) }
	cli.VersionFlag = &cli.BoolFlag{Name: "version", Usage: "print the version", DisableDefaultText: true}
	cli.HelpFlag = &cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "print this page", DisableDefaultText: true}
	commands := []*cli.Command{proxyCommand(), forwardCommand(), shellCommand(), execCommand(), lsCommand(), sessionsCommand(),
		doctorCommand(), sshConfigCommand(), pluginCommand(), completionCommand(), demoCommand()}
	var index []item
	for _, c := range commands {
		index = append(index, item{c.Name, c.Usage})
		c.OnUsageError = usageError
		c.HideHelpCommand = true
		c.UseShortOptionHandling = true
		c.CustomHelpTemplate = page(c.Name, options(c.Flags))
	}
	return &cli.App{
		Name:                      "ssmpipe",
		Writer:                    stdout,
		Usage:                     "ssh to private machines through AWS Session Manager",
		Version:                   version(),
		HideHelpCommand:           true,
		CustomAppHelpTemplate:     page("ssmpipe", index),
		DisableSliceFlagSeparator: true,
		OnUsageError:              usageError,
		ExitErrHandler:            func(*cli.Context, error) {}, // run handles errors
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("unknown command %q", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		Commands: append(commands, completeCommand()),
	}
}

func usage(format string, args ...any) error {
	return cli.Exit(fmt.Sprintf(format, args...)+`; see "ssmpipe --help"`, statusUsage)
}

func usageError(_ *cli.Context, err error, _ bool) error { return usage("%v", err) }

// version returns the build's version: a tag, or the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
