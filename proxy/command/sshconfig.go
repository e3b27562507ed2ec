package command

import (
	"github.com/urfave/cli/v2"

	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/sshconfig"
)

func sshConfigCommand() *cli.Command {
	return &cli.Command{
		Name:  "ssh-config",
		Usage: "print or install a configuration for ssh",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "install", Usage: "write ~/.ssh/" + sshconfig.FileName + ", and include it in ~/.ssh/config"},
			&cli.BoolFlag{Name: "uninstall", Usage: "undo that"},
			&cli.BoolFlag{Name: "hosts", Usage: "add a Host for each machine, by its name"},
			&cli.StringFlag{Name: "suffix", Usage: "look up names that end in `SUFFIX`, such as .prod, without it; with --hosts, append it to names"},
			&cli.StringFlag{Name: "user", Usage: "log in as user `NAME` (the default user of the machine's platform)"},
			&cli.BoolFlag{Name: "no-push-key", Usage: "do not push keys through EC2 Instance Connect: yours are on the machines already"},
			&cli.StringFlag{Name: "pick", Usage: "`WHICH` of several machines with the same name: newest, oldest or any"},
			&cli.BoolFlag{Name: "start", Usage: "have ssh start stopped machines"},
		}, accountFlags()...),
		Action: withSession(func(c *cli.Context, o machine.Options) error {
			if c.Args().Present() {
				return usage("ssh-config takes no arguments, not %q", c.Args().Slice())
			}
			if c.Bool("install") && c.Bool("uninstall") {
				return usage("--install and --uninstall cannot be used together")
			}
			if c.Bool("uninstall") {
				return sshconfig.Remove(o)
			}
			return sshconfig.Run(c.Context, sshconfig.RunOptions{
				Options: o,
				Hosts:   c.Bool("hosts"),
				Suffix:  c.String("suffix"),
				User:    c.String("user"),
				PushKey: !c.Bool("no-push-key"),
				Install: c.Bool("install"),
				Out:     stdout,
			})
		}),
	}
}
