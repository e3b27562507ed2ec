package command

import (
	"github.com/urfave/cli/v2"

	"github.com/ssmpipe/ssmpipe/proxy/list"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
)

func sessionsCommand() *cli.Command {
	return &cli.Command{
		Name:  "sessions",
		Usage: "list your active sessions, or end them",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "everyone's sessions, not only yours"},
			&cli.BoolFlag{Name: "terminate", Usage: "end the sessions that would be listed"},
			&cli.BoolFlag{Name: "json", Usage: "print a line of JSON for each"},
		}, accountFlags()...),
		Action: withAccount(func(c *cli.Context, o machine.Options) error {
			if c.Bool("all") && c.Bool("terminate") && !c.Args().Present() {
				return usage("--all --terminate needs a TARGET or a session's ID")
			}
			return list.Sessions(c.Context, list.SessionsOptions{
				Options:   o,
				Which:     c.Args().Slice(),
				All:       c.Bool("all"),
				Terminate: c.Bool("terminate"),
				Screen:    screen(c),
			})
		}),
	}
}
