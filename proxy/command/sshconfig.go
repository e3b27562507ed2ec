package command

import (
	"github.com/urfave/cli/v2"

	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/sshconfig"
)

func sshConfigCommand() *cli.Command {
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
		}, accountFlags()...),
		Action: withSession(func(c *cli.Context, o machine.Options) error {
			if c.Args().Present() {
				return usage("ssh-config takes no arguments, but %q", c.Args().Slice())
			}
			if c.Bool("install") && c.Bool("uninstall") {
				return usage("--install and --uninstall are two different things")
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
