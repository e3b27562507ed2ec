package command

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ssmpipe/ssmpipe/proxy/list"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
)

func lsCommand() *cli.Command {
	return &cli.Command{
		Name:  "ls",
		Usage: "list machines, or ECS containers",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "regions", Usage: "list several `REGIONS`, separated by commas; all: every region that the account may use"},
			&cli.BoolFlag{Name: "ecs", Usage: "list the containers of ECS tasks"},
			&cli.BoolFlag{Name: "json", Usage: "print a line of JSON for each"},
		}, accountFlags()...),
		Action: withAccount(func(c *cli.Context, o machine.Options) error {
			ls := list.MachinesOptions{
				Options:  o,
				Patterns: c.Args().Slice(),
				ECS:      c.Bool("ecs"),
				Screen:   screen(c),
			}
			if c.IsSet("regions") {
				ls.Regions = strings.Split(c.String("regions"), ",")
				if slices.Contains(ls.Regions, "") {
					return usage("--regions takes a list such as us-east-1,eu-central-1, or all")
				}
			}
			return list.Machines(c.Context, ls)
		}),
	}
}
