// Package sshconfig writes what ssh needs to know of ssmpipe: a configuration
// with the machines in it, and the line of ~/.ssh/config that includes it.
package sshconfig

import (
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/inventory"
)

// Options say what the configuration is to hold.
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

	// Hosts are the machines to name, if ByName is set. They get their own
	// region, and HostsProfile, which is the one that they were found with.
	ByName       bool
	Hosts        []inventory.Instance
	HostsProfile string

	// Taken are the host names that mean something else already; nil: none.
	Taken *Names

	// Keys are the user's own key files that ssh tries by default. They are
	// named where ssmpipe's is, since ssh then forgets about its defaults.
	Keys []string
}

// ErrOption says that an option cannot be written into an ssh configuration.
var ErrOption = errors.New("cannot be written into an ssh configuration")

var (
	validSuffix = regexp.MustCompile(`^[A-Za-z0-9._-]*[A-Za-z0-9][A-Za-z0-9._-]*$`)
	validUser   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._@+-]*\$?$`)
	validWord   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)
)

// marker begins the first line of every file that Write made.
const marker = "# Made by ssmpipe"

// maxSocket is the longest path of a Unix socket that every system takes: 104
// bytes with their end on macOS, 108 on Linux.
const maxSocket = 103

// Write writes the configuration for o. It refuses what ssh could not read
// back, with an error that wraps ErrOption.
func Write(out io.Writer, o Options) error {
	c, err := newConfig(o)
	if err != nil {
		return err
	}
	c.head()
	if o.ByName {
		c.byName()
	}
	c.bySuffix() // before i-*, for ids have it too
	c.byID()
	c.shared()
	_, err = io.WriteString(out, c.String())
	return err
}

// config is a configuration that is being written.
type config struct {
	Options
	strings.Builder
	exe   string // quoted for ProxyCommand
	agent string // path of the socket, for ssh to expand; "" if keys are files
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
	// Unlike %C and %p, these two are known to every version of ssh here.
	if agent := o.dir() + "/%r@%h"; !o.Windows && o.PushKey && fits(agent, "administrator@mi-0123456789abcdef0") {
		c.agent = agent
	}
	return c, nil
}

// dir is where ssmpipe keeps sockets and keys.
func (o *Options) dir() string { return path.Join(o.path(o.Home), ".ssh", "ssmpipe") }

// fits says whether a socket can be called that, with its base as long as base.
func fits(socket, base string) bool { return len(path.Dir(socket))+1+len(base) <= maxSocket }

// command is a ProxyCommand, for the machine that ssh knows by token.
func (c *config) command(pushKey bool, profile, region, more, token string) string {
	words := []string{c.exe, "proxy"}
	if pushKey {
		words = append(words, "--push-key", "--user", "%r")
		if c.agent != "" {
			agent, _ := c.word(c.dir()) // newConfig has seen that it can be
			words = append(words, "--identity-agent", join(agent, "/%r@%h"))
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
	if more != "" {
		words = append(words, more)
	}
	return strings.Join(append(words, token, "%p"), " ")
}

// patterns are those of Match host, which goes by what HostName has made of the
// name.
func (c *config) patterns(nodes bool) string {
	list := []string{"i-*"}
	if nodes {
		list = append(list, "mi-*")
	}
	if c.Suffix != "" {
		list = append(list, "*"+c.Suffix)
	}
	return strings.Join(list, ",")
}
