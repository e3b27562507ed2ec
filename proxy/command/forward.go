package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/ssmpipe/ssmpipe/proxy/forward"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/stdio"
)

func forwardCommand() *cli.Command {
	var specs []forward.Spec
	spec := func(name, use string, parse func(string) (forward.Spec, error)) cli.Flag {
		return &cli.StringSliceFlag{Name: name, Usage: use, Action: func(_ *cli.Context, values []string) error {
			for _, v := range values {
				s, err := parse(v)
				if err != nil {
					return usage("%v", err)
				}
				specs = append(specs, s)
			}
			return nil
		}}
	}
	return &cli.Command{
		Name:  "forward",
		Usage: "reach ports of a machine, and of hosts behind it, without ssh",
		Flags: append([]cli.Flag{
			spec("L", "forward `SPEC` (may be repeated)", forward.ParseLocal),
			spec("D", "SOCKS5 proxy on `SPEC`: clients choose the destination", forward.ParseDynamic),
			&cli.IntFlag{Name: "sessions", Value: 1,
				Usage: "`N` sessions for each destination, 1 to 16 (1); the agent sends less than 1 MB/s on each"},
			&cli.BoolFlag{Name: "once", Usage: "exit when a session ends, instead of starting another"},
			&cli.BoolFlag{Name: "exit-on-forward-failure", Usage: "exit unless ssmpipe can listen for every forward"},
			&cli.BoolFlag{Name: "json", Usage: "print each forward on stdout, once it is ready, as a line of JSON"},
		}, sessionFlags()...),
		Action: withSession(func(c *cli.Context, o machine.Options) error {
			f := forward.Options{
				Options:       o,
				Specs:         specs,
				Sessions:      c.Int("sessions"),
				Once:          c.Bool("once"),
				ExitOnFailure: c.Bool("exit-on-forward-failure"),
				Ready:         sayReady,
			}
			ctx, cancel := context.WithCancelCause(c.Context)
			defer cancel(nil)
			if c.Bool("json") {
				f.Ready = func(l forward.Listening) {
					printReady(l)
					if err := stdout.Err(); err != nil && !errors.Is(err, stdio.ErrGone) { // programs may stop reading after the first line
						cancel(err)
					}
				}
			}
			switch {
			case c.NArg() == 0:
				return usage("forward needs a TARGET")
			case c.NArg() > 1:
				return usage("forward takes one TARGET, not %q", c.Args().Slice())
			case len(specs) == 0:
				return usage("forward needs -L or -D")
			case f.Sessions < 1 || f.Sessions > 16:
				return usage("--sessions must be from 1 to 16")
			}
			return forward.Run(ctx, f)
		}),
	}
}

// sayReady reports a forward to people.
func sayReady(l forward.Listening) {
	to := "wherever clients ask (SOCKS5)"
	if !l.Spec.Dynamic {
		to = l.Spec.Destination()
	}
	say(fmt.Sprintf("forwarding %s to %s", l.Addr, to))
}

// printReady reports a forward to programs.
func printReady(l forward.Listening) {
	line := struct {
		Listen string `json:"listen"`
		Host   string `json:"host,omitempty"`
		Port   string `json:"port,omitempty"`
		SOCKS  bool   `json:"socks,omitempty"`
	}{l.Addr.String(), l.Spec.Host, l.Spec.Port, l.Spec.Dynamic}
	if !l.Spec.Dynamic && line.Host == "" {
		line.Host = "localhost"
	}
	json.NewEncoder(stdout).Encode(line)
}
