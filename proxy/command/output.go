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

// stdout is the output of all commands that do not pipe a stream to stdout.
var stdout = stdio.NewOutput(os.Stdout)

// screen returns stdout as the Screen for a list.
func screen(c *cli.Context) table.Screen {
	s := table.ScreenOf(os.Stdout, c.Bool("json"))
	s.Out = stdout
	return s
}

// say writes text to stderr: one line, or several if it contains a list.
func say(text string) {
	if text != "" {
		fmt.Fprint(os.Stderr, "ssmpipe: "+strings.ReplaceAll(text, "\n", lineEnd())+lineEnd())
	}
}

// progress returns a function that shows the progress of a wait in a line that it
// overwrites, or nil if stderr is not a terminal.
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

// lineEnd returns the end of a line on stderr. ssh puts the terminal into raw mode,
// so on a terminal it includes a carriage return.
func lineEnd() string {
	if term.IsTerminal(int(os.Stderr.Fd())) {
		return "\r\n"
	}
	return "\n"
}

// logger returns a logger to stderr that logs connection events with -v, and
// everything with -vv. It never logs payloads, tokens or keys.
func logger(verbose int) *slog.Logger {
	switch verbose {
	case 0:
		return nil
	case 1:
		return safetext.NewLogger(os.Stderr, lineEnd(), slog.LevelInfo)
	}
	return safetext.NewLogger(os.Stderr, lineEnd(), slog.LevelDebug)
}
