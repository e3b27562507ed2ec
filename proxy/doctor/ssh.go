package doctor

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/openssh"
)

// withoutTarget downgrades a failure if no target was given: the user may not use
// ssh at all.
func (d *doctor) withoutTarget(f Finding) Finding {
	if f.Status == StatusFailed && d.o.Target == "" {
		f.Status = StatusWarning
	}
	return f
}

var openSSH = regexp.MustCompile(`OpenSSH(?:_for_Windows)?_([0-9]+)\.([0-9]+)`)

func (d *doctor) sshVersion(ctx context.Context) Finding {
	path, err := exec.LookPath("ssh")
	if err != nil {
		remedy := "install the OpenSSH client (openssh-client on Debian, openssh-clients on Red Hat)"
		if runtime.GOOS == "windows" {
			remedy = "install the OpenSSH client: Settings, Optional features"
		}
		return d.withoutTarget(Finding{Status: StatusFailed, Detail: "there is no ssh on PATH", Remedy: remedy, Blocks: true})
	}
	d.ssh = path
	_, said, err := openssh.Ask(ctx, path, "-V")
	version, _, _ := strings.Cut(strings.TrimSpace(said), "\n")
	f := ok("%s, %s", version, path)
	number := openSSH.FindStringSubmatch(version)
	switch {
	case err != nil:
		return d.bad(StatusWarning, fmt.Errorf("%s -V: %w", path, err), "")
	case number == nil:
		f.Status, f.Remedy = StatusWarning, "\"ssmpipe ssh-config\" writes a configuration for OpenSSH"
	default:
		major, _ := strconv.Atoi(number[1])
		minor, _ := strconv.Atoi(number[2])
		if major < 7 || major == 7 && minor < 3 {
			f.Status, f.Remedy = StatusWarning, "\"ssmpipe ssh-config --install\" needs Include, which OpenSSH has had since 7.3"
		}
	}
	return f
}

// sshConfig asks ssh itself what it would do. Like any use of ssh, that runs the
// commands of "Match exec" in the user's configuration.
func (d *doctor) sshConfig(ctx context.Context) Finding {
	host := cmp.Or(d.o.Target, d.o.Driver.Words().ID)
	switch {
	case host == "":
		return skipped("it depends on the machine")
	case strings.HasPrefix(host, "-") || strings.ContainsAny(host, " /:\\'\"`$&;|<>()*?~!"):
		return skipped("%s is not a name that ssh can use", host)
	}
	printed, said, err := openssh.Ask(ctx, d.ssh, "-G", "--", host)
	if err != nil {
		said, _, _ = strings.Cut(strings.TrimSpace(said), "\n")
		return d.withoutTarget(d.bad(StatusFailed, fmt.Errorf("ssh -G %s: %w: %s", host, err, said), "correct ~/.ssh/config where ssh reports the error"))
	}
	set := make(map[string]string)
	for line := range strings.Lines(printed) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		set[name] = value
	}
	command := set["proxycommand"]
	program := ssmpipeIn(command)
	hosts := ""
	if t, err := d.o.Driver.Parse(host); err != nil || t.ID != host {
		hosts = " --hosts" // ids match without it
	}
	install := fmt.Sprintf("run \"ssmpipe ssh-config --install%s\"", hosts)
	switch {
	case program == "" && (command == "" || command == "none"):
		return d.withoutTarget(Finding{Status: StatusFailed, Detail: fmt.Sprintf("\"ssh %s\" does not go through ssmpipe", host), Remedy: install})
	case program == "":
		return d.withoutTarget(Finding{Status: StatusFailed, Detail: fmt.Sprintf("\"ssh %s\" goes through something else: %s", host, command),
			Remedy: install + "; it must come before the present ProxyCommand, or replace it"})
	}
	if _, err := exec.LookPath(program); err != nil && !strings.ContainsAny(program, "~$%") { // expanded later
		return d.withoutTarget(Finding{Status: StatusFailed, Detail: fmt.Sprintf("\"ssh %s\" calls %s, which does not exist", host, program), Remedy: install + " again"})
	}
	f := ok("\"ssh %s\" calls %s, user %s, port %s", host, command, set["user"], set["port"])
	if strings.Contains(command, "--push-key") && !d.o.PushKey {
		f.Detail += fmt.Sprintf("; --push-key --user %s tests its key, too", set["user"])
	}
	if alive := set["serveraliveinterval"]; alive == "" || alive == "0" {
		f.Status = StatusWarning
		f.Detail += ", and lets the session end when it is idle"
		f.Remedy = "set ServerAliveInterval 60 for it"
	}
	return f
}

// ssmpipeIn returns the word of a ProxyCommand that names ssmpipe, or "".
func ssmpipeIn(command string) string {
	for _, word := range words(command) {
		name := word[strings.LastIndexAny(word, `/\`)+1:]
		if strings.TrimSuffix(strings.ToLower(name), ".exe") == "ssmpipe" {
			return word
		}
	}
	return ""
}

// words splits a command into words as shells do, but handles only quotes.
func words(command string) (list []string) {
	var word strings.Builder
	var quote rune
	begun := false
	for _, r := range command {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, begun = r, true
		case quote == 0 && r == ' ':
			if begun {
				list = append(list, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	if begun {
		list = append(list, word.String())
	}
	return list
}
