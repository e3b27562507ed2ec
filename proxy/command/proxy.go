package command

import (
	"fmt"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/ssmpipe/ssmpipe/proxy/keys"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/sshconfig"
	"github.com/ssmpipe/ssmpipe/proxy/stdio"
)

func proxyCommand() *cli.Command {
	var way pushWay
	return &cli.Command{
		Name:  "proxy",
		Usage: "connect stdin and stdout to a port of a machine",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "via", Usage: "go through `TARGET` to HOST"},
			&cli.StringFlag{Name: "host-keys", Usage: "keep host keys per machine in `DIR`, for UserKnownHostsFile DIR/%h"},
			&cli.StringFlag{Name: "control-dir", Usage: "create `DIR`, accessible only to you, for ssh's ControlPath"},
		}, keyFlags(&way), sessionFlags()),
		Action: withSession(func(c *cli.Context, shared machine.Options) error {
			o := stdio.Options{Options: shared}
			args := c.Args().Slice()
			what := "TARGET"
			if via := c.String("via"); via != "" {
				what = "HOST"
				o.Target = via
				if o.Host = c.Args().First(); o.Host == "" && len(args) > 0 {
					return usage("HOST is empty")
				}
			}
			key, err := pushKey(c, way.way)
			if err != nil {
				return err
			}
			o.Key = key
			o.HostKeys = sshconfig.InHome(c.String("host-keys"))
			o.ControlDir = sshconfig.InHome(c.String("control-dir"))
			o.Port = "22"
			switch len(args) {
			case 0:
				return usage("proxy needs a %s", what)
			case 1:
			case 2:
				if o.Port, err = portNumber(args[1]); err != nil {
					return err
				}
			default:
				return usage("proxy takes %s and PORT, not %q", what, args)
			}
			return stdio.Connect(c.Context, o, os.Stdin, os.Stdout)
		}),
	}
}

// pushWay is the value of --push-key, which is optional.
type pushWay struct{ way keys.Way }

func (w *pushWay) IsBoolFlag() bool { return true }
func (w *pushWay) String() string   { return string(w.way) }

func (w *pushWay) Set(text string) error {
	switch text {
	case "true": // what package flag passes if there is no value
		w.way = keys.InstanceConnect
	case "false":
		w.way = ""
	case string(keys.InstanceConnect), string(keys.RunCommand):
		w.way = keys.Way(text)
	default:
		return fmt.Errorf("it must be %s or %s", keys.InstanceConnect, keys.RunCommand)
	}
	return nil
}

// keyFlags returns the flags for pushing a key.
func keyFlags(way *pushWay) []cli.Flag {
	return []cli.Flag{
		&cli.GenericFlag{Name: "push-key", Value: way,
			Usage: "make a key known to the machine for a minute, by `WAY`: instance-connect or run-command"},
		&cli.StringFlag{Name: "user", Usage: "user `NAME` that ssh logs in as (default: ask the ssh that started ssmpipe)"},
		&cli.StringFlag{Name: "key", Usage: "push `KEY`: a file, agent or made"},
		&cli.StringFlag{Name: "identity-agent", Usage: "act as an ssh-agent at `SOCKET`, with a key for this connection only"},
	}
}

// pushKey reads keyFlags.
func pushKey(c *cli.Context, way keys.Way) (*stdio.PushKey, error) {
	if way == "" {
		for _, name := range []string{"user", "key", "identity-agent"} {
			if c.IsSet(name) {
				return nil, usage("--%s needs --push-key", name)
			}
		}
		return nil, nil
	}
	k := &stdio.PushKey{Way: way, User: c.String("user"), Key: c.String("key"), Socket: sshconfig.InHome(c.String("identity-agent"))}
	if c.String("via") != "" {
		return nil, usage("--push-key pushes a key to TARGET, not to HOST behind it: leave out --push-key or --via")
	}
	if err := k.Check(); err != nil {
		return nil, usage("%v", err)
	}
	return k, nil
}
