package command

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/plugin"
	"github.com/ssmpipe/ssmpipe/proxy/shell"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

func pluginCommand() *cli.Command {
	return &cli.Command{
		Name:  "plugin",
		Usage: "act as the AWS CLI's session-manager-plugin",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "install", Usage: "make a link in DIR that the AWS CLI finds as its plugin"},
			&cli.BoolFlag{Name: "uninstall", Usage: "remove that link"},
			&cli.BoolFlag{Name: "force", Usage: "with --install: replace another plugin in DIR"},
		},
		Action: func(c *cli.Context) error {
			// DIR may precede --force.
			args, force := c.Args().Slice(), c.Bool("force")
			if len(args) == 2 && args[1] == "--force" {
				args, force = args[:1], true
			}
			o := machine.Options{Account: driver.Account{Notice: say}}
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
				return plugin.Install(o, c.Args().First(), force)
			}
			return plugin.Uninstall(o, c.Args().First())
		},
	}
}

// asPlugin reports whether ssmpipe runs as the AWS CLI's plugin, and returns the
// plugin's arguments. It does if it is called by the plugin's name, or as
// "ssmpipe plugin" followed by something other than an option of that command.
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

// runPlugin runs as AWS's session-manager-plugin.
func runPlugin(ctx context.Context, args []string) int {
	o := machine.Options{
		Account:  driver.Account{Notice: say},
		Limits:   machine.Limits{ConnectTimeout: connectTimeout, ResumeTimeout: ssmproto.DefaultResumeTimeout},
		Alone:    true,
		Progress: progress(),
	}
	return exitStatus(ctx, plugin.Run(ctx, o, args, shell.Terminal{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
