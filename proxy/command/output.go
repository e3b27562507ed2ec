package command

import (
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/proxy/stdio"
	"github.com/ssmpipe/ssmpipe/proxy/table"
)

// stdout is where all commands print that do not pipe a stream there.
var stdout = stdio.NewOutput(os.Stdout)

// screen is stdout for a list.
func screen(c *cli.Context) table.Screen {
	s := table.ScreenOf(os.Stdout, c.Bool("json"))
	s.Out = stdout
	return s
}

// say writes one line to stderr, or several where there is a list.
func say(text string) {
	if text != "" {
		fmt.Fprint(os.Stderr, "ssmpipe: "+strings.ReplaceAll(text, "\n", lineEnd())+lineEnd())
	}
}

// progress returns what shows how a wait goes, in a line that is written over,
// or nil where nobody looks.
func progress() func(string) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return nil
	}
	return func(text string) {
		if text != "" {
			text = "ssmpipe: " + text
		}
		fmt.Fprint(os.Stderr, "\r"+text+"\x1b[K")
	}
}

// lineEnd ends a line on stderr. A terminal is in raw mode under ssh, so the
// line brings its own carriage return there.
func lineEnd() string {
	if term.IsTerminal(int(os.Stderr.Fd())) {
		return "\r\n"
	}
	return "\n"
}

// logger writes to stderr: with -v what happens to the connection, with -vv
// everything. Payloads, tokens and keys are in neither.
func logger(verbose int) *slog.Logger {
	switch verbose {
	case 0:
		return nil
	case 1:
		return safetext.NewLogger(os.Stderr, lineEnd(), slog.LevelInfo)
	}
	return safetext.NewLogger(os.Stderr, lineEnd(), slog.LevelDebug)
}
