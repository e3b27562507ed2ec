// Package completion completes command lines for shells: those of ssmpipe, and
// the host names on those of ssh, scp, sftp and rsync.
package completion

import (
	"context"
	"embed"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
)

//go:embed ssmpipe.bash ssmpipe.zsh ssmpipe.fish ssmpipe.ps1
var scripts embed.FS

var scriptNames = map[string]string{
	"bash":       "ssmpipe.bash",
	"zsh":        "ssmpipe.zsh",
	"fish":       "ssmpipe.fish",
	"powershell": "ssmpipe.ps1",
}

// Script returns the script with which a shell completes ssmpipe's command line
// and the host names on ssh's. The script calls "ssmpipe complete" for
// candidates.
func Script(shell string) (string, error) {
	name, ok := scriptNames[shell]
	if !ok {
		return "", fmt.Errorf("there is no completion for %q, only for bash, zsh, fish and powershell", shell)
	}
	text, err := scripts.ReadFile(name)
	return string(text), err
}

// A candidate is a word that may replace the one at the cursor.
type candidate struct {
	value string // the whole word, not quoted
	help  string // what it is, in a few words; may be empty
	open  bool   // more follows in the same word: no space after it
}

// An asker has what answers depend on.
type asker struct {
	app   *cli.App
	known func(machine.Options) ([]driver.Machine, time.Duration, bool)
	fresh func(profile, region string) // refreshes the list that known returns next time

	profile, region string // from the line
}

// Answer writes the candidates for a command line. The first of args, which
// come from the shells' scripts, determines the others:
//
//	bash LINE TEXT      the line up to the cursor, and the end of it that readline replaces
//	zsh WORD...         the words up to the cursor without their quotes, the last one as far as it goes
//	fish WORD...        the same
//	powershell BASE64   the same, with a newline between words
//
// and for the process that fetches the list of machines:
//
//	refresh PROFILE REGION
//
// Except for refresh, Answer makes no network calls and never prompts, and it
// prints no errors: they would appear in the middle of a line.
func Answer(ctx context.Context, out io.Writer, app *cli.App, args []string) error {
	if len(args) == 3 && args[0] == "refresh" {
		return refresh(ctx, args[1], args[2])
	}
	debug.SetGCPercent(-1) // the process ends before collecting garbage pays off
	a := asker{app: app, known: machine.Known, fresh: startRefresh}
	return a.answer(out, args)
}

func (a *asker) answer(out io.Writer, args []string) error {
	if len(args) == 0 {
		return nil
	}
	shell, args := args[0], args[1:]
	var words []string
	var write func(io.Writer, []candidate, bool) error
	switch {
	case shell == "bash" && len(args) == 2:
		l := splitBash(args[0], args[1])
		words, write = l.words, l.write
	case shell == "zsh":
		words, write = args, writeZsh
	case shell == "fish":
		words, write = args, writeFish
	case shell == "powershell" && len(args) == 1:
		var err error
		if words, err = splitPowerShell(args[0]); err != nil {
			return err
		}
		write = writePowerShell
	}
	if len(words) < 2 {
		return nil
	}
	list, files := a.complete(words)
	return write(out, matching(list, words[len(words)-1], shell == "bash"), files)
}

// complete returns the candidates for the last of words, and whether it may
// also be a file name.
func (a *asker) complete(words []string) (list []candidate, files bool) {
	command := strings.TrimSuffix(filepath.Base(words[0]), ".exe")
	if parse, ok := hostCommands[command]; ok {
		return a.hosts(parse, words[1:]), false
	}
	return a.commandLine(words[1:])
}

// matching returns the candidates that begin with word. If there are none, it
// returns those that contain word, ignoring case, unless strict is set for a
// shell that would replace the typed word with the candidates' common prefix.
func matching(list []candidate, word string, strict bool) []candidate {
	filter := func(ok func(value string) bool) (found []candidate) {
		for _, c := range list {
			if ok(c.value) {
				found = append(found, c)
			}
		}
		return found
	}
	found := filter(func(value string) bool { return strings.HasPrefix(value, word) })
	if len(found) == 0 && !strict && !strings.HasPrefix(word, "-") {
		word = strings.ToLower(word)
		found = filter(func(value string) bool { return strings.Contains(strings.ToLower(value), word) })
	}
	return found
}
