// Package sshconfig writes ssh's configuration for ssmpipe: a file that lists the
// machines, and the line of ~/.ssh/config that includes it.
package sshconfig

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

// Options say what to write into the configuration.
type Options struct {
	Executable string // ssmpipe's absolute path
	Home       string // the absolute path of the home in which ssh looks for .ssh
	Windows    bool   // it is for OpenSSH for Windows

	Profile string // of the AWS configuration; "" leaves it to the environment
	Region  string // the same
	Suffix  string // of host names that ssmpipe is to strip and resolve; "" for none
	User    string // to log in as; "" goes by the platform
	PushKey bool   // ssmpipe brings a key, by EC2 Instance Connect
	Start   bool   // ssmpipe starts a machine that is stopped
	Pick    string // one of several machines with a name; "" means none

	// Hosts are the machines to name, if ByName is set. Each gets its own region
	// and HostsProfile, the profile with which they were found.
	ByName       bool
	Hosts        []driver.Machine
	HostsProfile string

	// Taken are the host names that already mean something else; nil means none.
	Taken *Names

	// NoSockets means that SocketDir cannot be created.
	NoSockets bool

	// Keys are the user's own key files that ssh tries by default. They are
	// listed along with ssmpipe's key, since ssh ignores its defaults as soon as
	// a key is listed.
	Keys []string
}

// ErrOption means that an option cannot be written into an ssh configuration.
var ErrOption = errors.New("cannot be written into an ssh configuration")

var (
	validSuffix = regexp.MustCompile(`^[A-Za-z0-9._-]*[A-Za-z0-9][A-Za-z0-9._-]*$`)
	validUser   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._@+-]*\$?$`)
	validWord   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)
)

// marker begins the first line of every file that Write made.
const marker = "# Made by ssmpipe"

// maxSocket is the maximum length of a Unix socket's path that all systems
// accept. With the terminating zero, the limit is 104 bytes on macOS, 108 on
// Linux.
const maxSocket = 103

// Write writes the configuration for o. If ssh could not read an option back,
// Write returns an error that wraps ErrOption.
func Write(out io.Writer, o Options) error {
	c, err := newConfig(o)
	if err != nil {
		return err
	}
	c.head()
	if o.ByName {
		c.byName()
	}
	c.bySuffix() // before i-*, since ids may have the suffix too
	c.byID()
	c.settings()
	_, err = io.WriteString(out, c.String())
	return err
}

// config is a configuration being written.
type config struct {
	Options
	strings.Builder
	exe     string   // quoted for ProxyCommand
	agent   bool     // ssmpipe is ssh's agent; else keys are files
	control bool     // ssh shares connections
	named   []string // aliases that have a Host, of EC2 instances
	nodes   []string // the same, of nodes outside EC2
	silent  bool     // omit comments, which have been written already
}

func newConfig(o Options) (*config, error) {
	if !filepath.IsAbs(o.Home) && !o.Windows || o.Home == "" {
		return nil, fmt.Errorf("the home directory %q is not an absolute path", o.Home)
	}
	c := &config{Options: o}
	var err error
	if c.exe, err = o.word(o.path(o.Executable)); err != nil {
		return nil, fmt.Errorf("the path of ssmpipe, %q, %w: install it elsewhere", o.Executable, err)
	}
	if _, err := o.value(o.path(o.Home)); err != nil {
		return nil, fmt.Errorf("the home directory %q %w", o.Home, err)
	}
	for _, p := range []string{o.Profile, o.HostsProfile} {
		if _, err := o.word(p); err != nil {
			return nil, fmt.Errorf("the profile %q %w: give it another name", p, err)
		}
	}
	for what, v := range map[string]struct {
		text  string
		valid *regexp.Regexp
	}{"--suffix": {o.Suffix, validSuffix}, "--user": {o.User, validUser}, "--region": {o.Region, validWord}, "--pick": {o.Pick, validWord}} {
		if v.text != "" && !v.valid.MatchString(v.text) {
			return nil, fmt.Errorf("%s %q %w", what, v.text, ErrOption)
		}
	}
	dir := o.path(o.Home) + strings.TrimPrefix(socketDir, "~")
	c.agent = !o.Windows && !o.NoSockets && o.PushKey && fits(dir, agentName)
	c.control = !o.Windows && !o.NoSockets && fits(dir, controlName)
	return c, nil
}

// socketDir is the directory for the sockets of ssmpipe and ssh. It is not in
// ~/.ssh, which is often mounted read-only in containers. ssh exits if it cannot
// create its socket, so ssmpipe creates the directory first.
const socketDir = "~/.cache/ssmpipe"

// hostKeyDir is the directory in which ssh keeps the host keys of machines, with
// a file for each machine.
const hostKeyDir = "~/.ssh/ssmpipe/hosts"

// SocketDir returns the directory for sockets in a home directory.
func SocketDir(home string) string { return filepath.Join(home, ".cache", "ssmpipe") }

const (
	// agentName has the length of the names of ssmpipe's agent sockets.
	agentName = ".012345.abcdef.abcdef.01234"

	// controlName has the length of the name that ssh uses for %C while it
	// creates the socket.
	controlName = "0123456789012345678901234567890123456789.0123456789abcdef"
)

// fits reports whether the path of a socket called name in dir is short enough.
func fits(dir, name string) bool { return len(dir)+1+len(name) <= maxSocket }

// command returns a ProxyCommand. It uses only the tokens %h and %p: other
// programs than ssh read it, and some exit when they find an unknown token.
func (c *config) command(pushKey bool, profile, region string, more ...string) string {
	words := []string{c.exe, "proxy"}
	if c.control {
		words = append(words, "--control-dir="+socketDir) // expanded by ssmpipe, not by the shell
	}
	if pushKey {
		words = append(words, "--push-key")
		if c.agent {
			words = append(words, "--identity-agent="+socketDir+"/agent")
		} else {
			words = append(words, "--key", "made")
		}
	}
	if profile != "" {
		p, _ := c.word(profile)
		words = append(words, "--profile", p)
	}
	if region != "" {
		words = append(words, "--region", region)
	}
	if c.Start {
		words = append(words, "--start")
	}
	return strings.Join(append(append(words, more...), "%h", "%p"), " ")
}

// maxHostLine is the maximum length of a Host line. Old versions of ssh reject
// lines of a kilobyte.
const maxHostLine = 900

// hostLines returns Host lines for all names and patterns.
func hostLines(names, patterns []string) (lines []string) {
	line := "Host"
	for _, name := range append(slices.Clip(names), patterns...) {
		if len(line)+1+len(name) > maxHostLine {
			lines = append(lines, line)
			line = "Host"
		}
		line += " " + name
	}
	return append(lines, line)
}
