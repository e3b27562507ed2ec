package command

import (
	"os"

	"github.com/urfave/cli/v2"

	"github.com/ssmpipe/ssmpipe/proxy/demo"
)

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
				return cli.Exit("", status) // the command has printed its own errors
			}
			return cli.Exit(err, status)
		},
	}
}
