package command

import (
	"encoding/json"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ssmpipe/ssmpipe/proxy/shell"
)

// documentFlags are the flags for a session with any document on a terminal.
func documentFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringSliceFlag{Name: "parameters", Usage: "parameter `NAME=VALUE` of the document (may be repeated), or all of them as JSON"},
		&cli.StringFlag{Name: "escape-char", Aliases: []string{"e"}, Value: "~", Usage: "escape character `CHAR`, recognized at the start of a line (~), or none"},
	}, sessionFlags()...)
}

// documentOptions returns what is not part of a session's options: the document's
// parameters and this process's terminal.
func documentOptions(c *cli.Context) (map[string][]string, shell.Terminal, error) {
	p, err := parameters(c)
	if err != nil {
		return nil, shell.Terminal{}, err
	}
	escape, err := shell.ParseEscape(c.String("escape-char"))
	if err != nil {
		return nil, shell.Terminal{}, usage("--escape-char: %v", err)
	}
	return p, shell.Terminal{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Escape: escape}, nil
}

// parameters parses a document's parameters, each of which is a list.
func parameters(c *cli.Context) (map[string][]string, error) {
	var all map[string][]string
	add := func(name string, values ...string) {
		if all == nil {
			all = make(map[string][]string)
		}
		all[name] = append(all[name], values...)
	}
	for _, text := range c.StringSlice("parameters") {
		if !strings.HasPrefix(text, "{") {
			name, value, ok := strings.Cut(text, "=")
			if !ok || name == "" {
				return nil, usage("--parameters takes NAME=VALUE or JSON, not %q", text)
			}
			add(name, value)
			continue
		}
		var object map[string]any
		if err := json.Unmarshal([]byte(text), &object); err != nil {
			return nil, usage("--parameters: %v", err)
		}
		for name, value := range object {
			list, ok := value.([]any)
			if !ok {
				list = []any{value}
			}
			for _, v := range list {
				text, ok := v.(string)
				if !ok {
					return nil, usage("--parameters: the value of %s is not a string or a list of strings", name)
				}
				add(name, text)
			}
		}
	}
	return all, nil
}
