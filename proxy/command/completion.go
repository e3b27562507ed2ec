package command

import (
	"io"

	"github.com/urfave/cli/v2"

	"github.com/ssmpipe/ssmpipe/completion"
)

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:  "completion",
		Usage: "print a shell completion script, for ssmpipe and for machine names in ssh",
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

// completeCommand returns the command that the shells' scripts run. It prints
// nothing to stderr, which would appear in the middle of the line being edited.
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
