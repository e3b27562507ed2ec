// Package completion answers shells that ask how a command line may go on:
// ssmpipe's own, and the host names on those of ssh, scp, sftp and rsync.
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

	"github.com/ssmpipe/ssmpipe/proxy/aws/inventory"
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

// Script returns what a shell reads to complete ssmpipe's command line and the
// host names on ssh's. It asks "ssmpipe complete" for all it does not know.
func Script(shell string) (string, error) {
	name, ok := scriptNames[shell]
	if !ok {
		return "", fmt.Errorf("there is no completion for %q, only for bash, zsh, fish and powershell", shell)
	}
	text, err := scripts.ReadFile(name)
	return string(text), err
}

// A candidate is a word that the one at the cursor may become.
type candidate struct {
	value string // the whole word, not quoted
	help  string // what it is, in a few words; may be empty
	open  bool   // it goes on: no space after it
}

// An asker is what answers depend on.
type asker struct {
	app   *cli.App
	known func(machine.Options) ([]inventory.Instance, time.Duration, bool)
	fresh func(profile, region string) // sees to it that known knows more the next time

	profile, region string // as the line has them
}

// Answer writes the candidates for a command line. What args are, the shells'
// scripts decide, by the first:
//
//	bash LINE TEXT      the line up to the cursor, and the end of it that readline replaces
//	zsh WORD...         the words up to the cursor without their quotes, the last one as far as it goes
//	fish WORD...        the same
//	powershell BASE64   the same, with a newline between words
//
// and for the process that fetches what answers are made of:
//
//	refresh PROFILE REGION
//
// An answer asks nobody, and has nothing to say where something is wrong: nobody wants
// to read that in the middle of a line.
func Answer(ctx context.Context, out io.Writer, app *cli.App, args []string) error {
	if len(args) == 3 && args[0] == "refresh" {
		return refresh(ctx, args[1], args[2])
	}
	debug.SetGCPercent(-1) // it is over before that would be worth its time
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

// complete returns the candidates for the last of words, and whether it may be
// a file's name as well.
func (a *asker) complete(words []string) (list []candidate, files bool) {
	command := strings.TrimSuffix(filepath.Base(words[0]), ".exe")
	if parse, ok := hostCommands[command]; ok {
		return a.hosts(parse, words[1:]), false
	}
	return a.commandLine(words[1:])
}

// matching returns the candidates for a word. Where none begins with it, those
// will do that have it somewhere in any case, unless the shell is one that
// keeps what they have in common and drops what was typed.
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
