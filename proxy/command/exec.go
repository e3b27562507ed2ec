package command

import (
	"os"
	"os/signal"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/shell"
)

func execCommand() *cli.Command {
	return &cli.Command{
		Name:  "exec",
		Usage: "run a command on a machine, or in a container, without ssh",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "t", Usage: "run the command on a terminal"},
		}, documentFlags()...),
		Action: withSession(func(c *cli.Context, o machine.Options) error {
			interrupted := make(chan os.Signal, 1)
			signal.Notify(interrupted, os.Interrupt)
			defer signal.Stop(interrupted)
			parameters, terminal, err := documentOptions(c)
			if err != nil {
				return err
			}
			if c.NArg() == 0 {
				return usage("exec needs a TARGET and a COMMAND")
			}
			command := c.Args().Tail()
			switch {
			case len(command) > 0 && command[0] == "--":
				command = command[1:]
			case len(command) > 0 && strings.HasPrefix(command[0], "-"):
				return usage("options go first; put -- before a command that begins with -: %q", command[0])
			}
			if len(command) == 0 {
				return usage("exec needs a COMMAND")
			}
			status, err := shell.Exec(c.Context, shell.ExecOptions{
				Options: o, Command: command, TTY: c.Bool("t"), Parameters: parameters, Terminal: terminal,
			})
			select {
			case <-interrupted:
				return dieInterrupted()
			default:
			}
			if err == nil && status != 0 {
				err = cli.Exit("", status)
			}
			return err
		}),
	}
}

// dieInterrupted ends this process by the interrupt that has ended the command, now
// that the cleanup is done, so that a shell also ends its loop.
func dieInterrupted() error {
	dieBy(os.Interrupt)
	return cli.Exit("", statusSignal(os.Interrupt))
}
