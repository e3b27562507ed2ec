package demo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A dir is the demo's temporary directory:
//
//	ssh_config   makes ssh connect to the instances
//	key          the client's private key
//	known_hosts  the instances' host keys
//	env          the AWS settings, for a shell to read
//	cache/       what ssmpipe keeps for a while
//	users        tells whether an ssmpipe of the demo still runs
//	bin/         ssmpipe with those settings, and ssh, scp and sftp with -F
//	i-…/         the instances' home directories
type dir struct {
	path  string
	aws   []string // the settings, as NAME=value
	users *users
}

// makeDir creates the directory, which only the user can access.
func makeDir() (*dir, error) {
	path, err := os.MkdirTemp("", "ssmpipe-demo-")
	if err != nil {
		return nil, err
	}
	d := &dir{path: path}
	if err := checkPath(path); err != nil {
		return nil, errors.Join(err, d.remove())
	}
	// TMPDIR may be relative to the current directory.
	if d.path, err = filepath.Abs(path); err != nil {
		return nil, errors.Join(err, os.RemoveAll(path))
	}
	if err := os.Mkdir(d.file("bin"), 0o700); err != nil {
		return nil, errors.Join(err, d.remove())
	}
	if d.users, err = makeUsers(d.file("users")); err != nil {
		return nil, errors.Join(err, d.remove())
	}
	return d, nil
}

func (d *dir) file(name string) string { return filepath.Join(d.path, name) }

func (d *dir) makeHome(id string) (string, error) {
	home := filepath.Join(d.path, id, "home")
	return home, os.MkdirAll(home, 0o700)
}

func (d *dir) remove() error {
	var err error
	if d.users != nil {
		err = d.users.close()
	}
	return errors.Join(err, os.RemoveAll(d.path))
}

// write writes all files. service has the AWS settings of the service.
func (d *dir) write(executable string, service []string, client key, hostKeys map[string]key) error {
	d.aws = append(service, "SSMPIPE_CACHE="+d.file("cache"))
	private, err := client.privateFile()
	if err != nil {
		return err
	}
	var known strings.Builder
	for _, id := range nodes {
		fmt.Fprintf(&known, "%s,%s %s\n", id, names[id], hostKeys[id].publicLine())
	}
	files := map[string]string{
		"key":         string(private),
		"known_hosts": known.String(),
		"ssh_config":  d.sshConfig(),
	}
	for name, text := range files {
		if err := os.WriteFile(d.file(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return d.writeWrappers(executable)
}

// sshConfig returns an ssh config that connects to every instance through ssmpipe.
// It is complete: with -F, ssh reads neither the user's config nor the system's.
// The ProxyCommand is the wrapper, which sets the AWS settings, so that the config
// works from any terminal.
func (d *dir) sshConfig() string {
	return strings.Join([]string{
		"# ssmpipe demo: ssh -F " + shellQuote(d.file("ssh_config")) + " " + nodes[0],
		"Host i-* mi-* " + names[nodes[0]] + " " + names[nodes[1]],
		"    ProxyCommand " + doublePercent(shellQuote(d.wrapper("ssmpipe"))) + " proxy %h %p",
		"    User " + login,
		"    IdentityFile " + configQuote(d.file("key")),
		"    IdentitiesOnly yes",
		"    IdentityAgent none",
		"    PreferredAuthentications publickey",
		"    UserKnownHostsFile " + configQuote(d.file("known_hosts")),
		"    StrictHostKeyChecking yes",
		"    ServerAliveInterval 60",
		"",
	}, "\n")
}

// environ returns the environment of the command: base, with the service's AWS
// settings replacing any others, and the wrappers first on PATH.
func (d *dir) environ(base []string) []string {
	env := slices.DeleteFunc(slices.Clone(base), func(v string) bool {
		name, _, _ := strings.Cut(strings.ToUpper(v), "=")
		switch name {
		case "RSYNC_RSH", "GIT_SSH", "GIT_SSH_COMMAND":
			return true // they would make rsync and git bypass the wrapper
		}
		return strings.HasPrefix(name, "AWS_")
	})
	env = append(env, d.aws...)
	path := d.file("bin")
	if old := os.Getenv("PATH"); old != "" {
		path += string(os.PathListSeparator) + old
	}
	return append(env, "PATH="+path)
}

// instructions returns the lines to paste into any terminal.
func (d *dir) instructions() string {
	config := shellQuote(d.file("ssh_config"))
	return fmt.Sprintf(`The instances %[2]s are up, on this machine, behind a
Session Manager service of their own. Paste into another terminal:

  ssh -F %[1]s i-0demo
  ssh -F %[1]s i-0demo uname -a
  ssh -F %[1]s -J i-0demo i-0demo2
  scp -F %[1]s %[3]s i-0demo:
  sftp -F %[1]s i-0demo
  rsync -e "ssh -F %[1]s" %[3]s i-0demo:
  ssh -F %[1]s -N -L 8022:localhost:22 i-0demo

Or make a terminal part of the demo, and leave out the -F:

  %[4]s
  ssh web-1
  ssmpipe shell web-1
  ssmpipe exec web-1 uname -a
  ssmpipe proxy i-0demo 22

Commands run as you; each instance's home is a temporary directory.
Press Ctrl-C to end.
`, config, strings.Join(nodes, " and "), shellQuote(d.file("known_hosts")), d.enterLine())
}
