package command

import (
	"os"

	"github.com/urfave/cli/v2"

	"github.com/ssmpipe/ssmpipe/proxy/doctor"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "find what keeps sessions from working, and how to fix it",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "push-key", Usage: "test whether a key can be pushed for --user; its private key is discarded, and it expires after 60 s"},
			&cli.StringFlag{Name: "user", Usage: "user `NAME` on the machine"},
			&cli.StringFlag{Name: "document", Usage: "use session document `NAME` (AWS's own)"},
			&cli.StringFlag{Name: "reason", Usage: "reason `TEXT` for AWS to record with the session (ssmpipe doctor)"},
			&cli.BoolFlag{Name: "json", Usage: "print findings as JSON lines"},
		}, nameFlags()...),
		Action: withSession(func(c *cli.Context, o machine.Options) error {
			d := doctor.Options{Options: o, PushKey: c.Bool("push-key"), User: c.String("user")}
			switch {
			case c.NArg() > 2:
				return usage("doctor takes TARGET and PORT, not %q", c.Args().Slice())
			case c.NArg() > 0 && o.Target == "":
				return usage("TARGET is empty")
			case c.NArg() == 2:
				port, err := portNumber(c.Args().Get(1))
				if err != nil {
					return err
				}
				d.Port = port
			}
			if d.PushKey && (d.User == "" || o.Target == "") {
				return usage("--push-key needs a TARGET and --user")
			}
			tell := doctor.Encoder(stdout)
			if !c.Bool("json") {
				tell = doctor.Printer(stdout, doctor.StyleFor(os.Stdout))
			}
			failed, err := doctor.Run(c.Context, d, tell)
			if err == nil && failed > 0 {
				err = cli.Exit("", statusFailed) // the findings say it all
			}
			return err
		}),
	}
}
