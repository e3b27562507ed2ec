//go:build unix

package completion_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
)

// An interactive shell, and what is true of it.
type shell struct {
	name  string
	start func(t *testing.T, home string, env []string, script string) *terminal

	describes bool // shows descriptions beside names
	knowsSSH  bool // has a completion of its own for ssh
}

// script is how a start-up file reads the script, twice as somebody might.
const script = "source <(ssmpipe completion SHELL)\nsource <(ssmpipe completion SHELL)\n"

const bashCompletion = ". /usr/share/bash-completion/bash_completion\n"

func startBash(t *testing.T, home string, env []string, start string) *terminal {
	rc := filepath.Join(home, "bashrc")
	writeFile(t, rc, "bind 'set enable-bracketed-paste off'\nbind 'set show-all-if-ambiguous on'\n"+
		strings.ReplaceAll(start, "SHELL", "bash")+"PS1='ready> '\n")
	return newShell(t, home, env, "bash", "--noprofile", "--rcfile", rc, "-i")
}

func startZsh(t *testing.T, home string, env []string, start string) *terminal {
	writeFile(t, filepath.Join(home, ".zshrc"), "bindkey -e\nunset zle_bracketed_paste\nunsetopt listambiguous promptcr promptsp\n"+
		strings.ReplaceAll(start, "SHELL", "zsh")+"PS1='ready> '\n")
	return newShell(t, home, env, "zsh", "-d", "-i")
}

func startFish(t *testing.T, home string, env []string, start string) *terminal {
	start = strings.ReplaceAll(start, "source <(ssmpipe completion SHELL)", "ssmpipe completion fish | source")
	writeFile(t, filepath.Join(home, "config", "fish", "config.fish"),
		"set -g fish_greeting\nset -g fish_autosuggestion_enabled 0\nfunction fish_prompt; printf 'ready> '; end\n"+start)
	return newShell(t, home, env, "fish", "-i")
}

const compinit = "autoload -Uz compinit && compinit -u -D\n"

var shells = []shell{
	{name: "bash", start: startBash},
	{name: "bash-completion", knowsSSH: true, start: func(t *testing.T, home string, env []string, script string) *terminal {
		needFile(t, "/usr/share/bash-completion/bash_completion")
		return startBash(t, home, env, bashCompletion+script)
	}},
	{name: "bash-completion afterwards", knowsSSH: true, start: func(t *testing.T, home string, env []string, script string) *terminal {
		needFile(t, "/usr/share/bash-completion/bash_completion")
		return startBash(t, home, env, script+bashCompletion)
	}},
	{name: "zsh", knowsSSH: true, describes: true, start: func(t *testing.T, home string, env []string, script string) *terminal {
		return startZsh(t, home, env, compinit+script)
	}},
	{name: "zsh, compinit afterwards", knowsSSH: true, describes: true, start: func(t *testing.T, home string, env []string, script string) *terminal {
		return startZsh(t, home, env, script+compinit)
	}},
	{name: "fish", knowsSSH: true, describes: true, start: startFish},
}

func needFile(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Stat(name); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// TestShells types, presses Tab and sees what comes of it, in real shells.
func TestShells(t *testing.T) {
	for _, sh := range shells {
		t.Run(sh.name, func(t *testing.T) {
			home, env := newHome(t, fleet())
			term := sh.start(t, home, env, script)

			term.offers(t, "ssmpipe ", "completion", "demo", "forward", "proxy")
			term.becomes(t, "ssmpipe pro", "ssmpipe", "proxy")
			term.becomes(t, "ssmpipe proxy --reg", "ssmpipe", "proxy", "--region")
			term.becomes(t, "ssmpipe proxy --region eu-central-1 --profile st", "ssmpipe", "proxy", "--region", "eu-central-1", "--profile", "staging")
			term.becomes(t, "ssmpipe proxy --profile=st", "ssmpipe", "proxy", "--profile=staging")
			term.offers(t, "ssmpipe proxy --region=eu-cen", "-central-1", "-central-2")
			term.becomes(t, "ssmpipe completion fi", "ssmpipe", "completion", "fish")
			term.becomes(t, "ssmpipe demo -- keyf", "ssmpipe", "demo", "--", "keyfile")

			took := term.offers(t, "ssmpipe proxy fleet-000", "fleet-0000", "fleet-0009")
			t.Logf("%v from Tab to the names that fit of 2,000", took)
			term.becomes(t, "ssmpipe proxy uni", "ssmpipe", "proxy", "unique")
			term.becomes(t, "ssmpipe proxy i-0bbb", "ssmpipe", "proxy", "i-0bbbbbbbbbbbbbbb1")
			term.becomes(t, "ssmpipe proxy sp", "ssmpipe", "proxy", "spaced out")
			term.becomes(t, `ssmpipe proxy "spaced o`, "ssmpipe", "proxy", "spaced out")
			term.becomes(t, `ssmpipe proxy 'sp`, "ssmpipe", "proxy", "spaced out")
			term.becomes(t, `ssmpipe proxy spaced\ o`, "ssmpipe", "proxy", "spaced out")
			term.offers(t, "ssmpipe proxy tag:", "tag:Name=|Name=", "tag:Team=|Team=")
			term.becomes(t, "ssmpipe proxy tag:Te", "ssmpipe", "proxy", "tag:Team=")
			term.becomes(t, "ssmpipe proxy tag:Team=gr", "ssmpipe", "proxy", "tag:Team=green")
			term.becomes(t, "ssmpipe proxy asg:we", "ssmpipe", "proxy", "asg:web:blue")
			term.becomes(t, "ssmpipe proxy unique--il", "ssmpipe", "proxy", "unique--il-central-1")
			term.becomes(t, "ssmpipe proxy unique 338", "ssmpipe", "proxy", "unique", "3389")
			if sh.describes {
				term.offers(t, "ssmpipe proxy fleet-000", "i-00000000000000003, running")
				term.offers(t, "ssmpipe proxy i-0aaa", "twin, running")
				term.offers(t, "ssmpipe proxy unique 54", "PostgreSQL")
				term.offers(t, "ssh fleet-000", "i-00000000000000003, running")
			}

			for _, command := range []string{"ssh", "sftp"} {
				if command == "sftp" && strings.HasPrefix(sh.name, "zsh") {
					continue // it says HOST: there
				}
				term.becomes(t, command+" uni", command, "unique")
				term.becomes(t, command+" me@uni", command, "me@unique")
				term.becomes(t, command+" i-0bbb", command, "i-0bbbbbbbbbbbbbbb1")
			}
			term.becomes(t, "scp uni", "scp", "unique:")
			term.becomes(t, "scp keyfile me@uni", "scp", "keyfile", "me@unique:")
			term.becomes(t, "rsync -a uni", "rsync", "-a", "unique:")
			term.becomes(t, "ssh spac", "ssh", "spac") // no name for a host
		})
	}
}

// TestOtherCommandsKeepTheirCompletion looks at what ssh and its kin complete
// without ssmpipe.
func TestOtherCommandsKeepTheirCompletion(t *testing.T) {
	for _, sh := range shells {
		t.Run(sh.name, func(t *testing.T) {
			home, env := newHome(t, fleet())
			writeFile(t, filepath.Join(home, "unique.txt"), "")
			term := sh.start(t, home, env, script)
			term.becomes(t, "ssh -i keyf", "ssh", "-i", "keyfile")
			term.becomes(t, "scp keyf", "scp", "keyfile")
			term.becomes(t, "rsync keyf", "rsync", "keyfile")
			term.offers(t, "scp unique", "unique(:|  --)", "unique.txt")
			term.offers(t, "rsync unique", "unique(:|  --)", "unique.txt")
			if !sh.knowsSSH {
				return
			}
			term.becomes(t, "ssh known", "ssh", "known.example.org")
			term.becomes(t, "scp known", "scp", "known.example.org:")
			option := "StrictHostKeyChecking" // the others take the = off again
			if strings.HasPrefix(sh.name, "bash") {
				option += "="
			}
			term.becomes(t, "ssh -o StrictHostKeyC", "ssh", "-o", option)
		})
	}
}

func TestUsersOwnCompletionIsKept(t *testing.T) {
	t.Run("bash words", func(t *testing.T) {
		home, env := newHome(t, fleet())
		term := startBash(t, home, env, "complete -W 'alpha uniform' ssh\n"+script)
		term.becomes(t, "ssh al", "ssh", "alpha")
		term.offers(t, "ssh uni", "uniform", "unique")
	})
	t.Run("bash function", func(t *testing.T) {
		home, env := newHome(t, fleet())
		term := startBash(t, home, env, "_mine() { COMPREPLY=(own:$1:$2:$3); }\ncomplete -o nospace -F _mine ssh\n"+script)
		term.becomes(t, "ssh a b", "ssh", "a", "own:ssh:b:a")
	})
	t.Run("zsh hosts", func(t *testing.T) {
		home, env := newHome(t, fleet())
		term := startZsh(t, home, env, compinit+script+"zstyle ':completion:*:hosts' hosts alpha.example uniform.example\n")
		term.becomes(t, "ssh al", "ssh", "alpha.example")
		term.offers(t, "ssh uni", "unique", "uniform.example")
		term.becomes(t, "ping al", "ping", "alpha.example")
	})
	t.Run("fish lines", func(t *testing.T) {
		home, env := newHome(t, fleet())
		term := startFish(t, home, env, "complete -c ssh -xa 'alpha uniform'\n"+script)
		term.becomes(t, "ssh al", "ssh", "alpha")
		term.offers(t, "ssh uni", "uniform", "unique")
	})
}

// TestHostileNamesInShells gives machines names that mean something to a shell
// or to a terminal.
func TestHostileNamesInShells(t *testing.T) {
	usable := []string{
		"a b", `it's`, `say "hi"`, "$(touch pwned)", "`touch pwned`", "x;touch pwned", "x|y&z>pwned<q", "*", "[a-z]?{b,c}",
		"!!", "^old^new", "a=b:c@d", "%F{red}%n%s", "=ls", "(group)", "Grüße-日本", "~root", "#comment", "-dash",
	}
	unusable := []string{`back\slash`, "two\ntouch pwned\n", "tab\tbed", "\x1b]0;pwned\x07", "\x1b[41mred", "\u009b41mred", "\u202egnp.exe", "nul\x00"}
	for _, sh := range shells {
		t.Run(sh.name, func(t *testing.T) {
			var nodes []awstest.Node
			for i, name := range append(usable, unusable...) {
				n := awstest.Node{ID: fmt.Sprintf("i-0eeeeeeeeeeeeee%02d", i), Name: fmt.Sprintf("evil%02d%s", i, name)}
				n.Tags = map[string]string{"Key": n.Name, "Evil" + name: "x"}
				if strings.ContainsAny(name, "\x00\x1b") { // EC2's XML cannot say that, Systems Manager's JSON can
					n.ID, n.Tags = "m"+n.ID, nil
				}
				nodes = append(nodes, n)
			}
			home, env := newHome(t, nodes)
			term := sh.start(t, home, env, script)
			term.offers(t, "ssmpipe proxy evil", "evil00", "evil08", "evil16")
			term.offers(t, "ssmpipe proxy i-0e", "eeeeee00", "eeeeee19", "eeeeee21")
			term.offers(t, "ssmpipe proxy tag:E", "(tag:)?Evil")
			term.becomes(t, "ssmpipe proxy mi-0eeeeeeeeeeeeee2", "ssmpipe", "proxy", "mi-0eeeeeeeeeeeeee2")
			term.offers(t, "ssmpipe proxy tag:Key=evil", "evil00", "evil08", "evil16")
			for i, name := range usable {
				prefix := fmt.Sprintf("evil%02d", i)
				term.becomes(t, "ssmpipe proxy "+prefix, "ssmpipe", "proxy", prefix+name)
				term.becomes(t, "ssmpipe proxy tag:Key="+prefix, "ssmpipe", "proxy", "tag:Key="+prefix+name)
			}
			term.becomes(t, "ssh evil0", "ssh", "evil0")
			out := term.output()
			for _, sequence := range []string{"\x1b]0;pwned", "\x1b[41m", "\u009b", "\u202e"} {
				if strings.Contains(out, sequence) {
					t.Errorf("%q reached the terminal", sequence)
				}
			}
			if found, _ := filepath.Glob(filepath.Join(home, "pwned*")); len(found) > 0 {
				t.Error("a name was run as a command")
			}
		})
	}
}

// fleet is 2,000 machines and a few.
func fleet() []awstest.Node {
	nodes := []awstest.Node{
		{ID: "i-0bbbbbbbbbbbbbbb1", Name: "unique", ASG: "web:blue", Tags: map[string]string{"Team": "green"}},
		{ID: "i-0ccccccccccccccc1", Name: "spaced out", Tags: map[string]string{"Team": "blue"}},
		{ID: "i-0aaaaaaaaaaaaaaa1", Name: "twin"},
		{ID: "i-0aaaaaaaaaaaaaaa2", Name: "twin"},
	}
	return append(nodes, manyNodes(2000)...)
}
