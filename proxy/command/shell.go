package command

import (
	"github.com/urfave/cli/v2"

	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/shell"
)

func shellCommand() *cli.Command {
	return &cli.Command{
		Name:  "shell",
		Usage: "open a shell on a machine, or in a container, without ssh",
		Flags: documentFlags(),
		Action: withSession(func(c *cli.Context, o machine.Options) error {
			parameters, terminal, err := documentOptions(c)
			if err != nil {
				return err
			}
			switch {
			case c.NArg() == 0:
				return usage("shell needs a TARGET")
			case c.NArg() > 1:
				return usage("shell takes one TARGET, not %q; exec runs a command", c.Args().Slice())
			}
			return shell.Run(c.Context, shell.Options{Options: o, Parameters: parameters, Terminal: terminal})
		}),
	}
}
