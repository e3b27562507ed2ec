package sshconfig

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/private"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// RunOptions say what to write into ssh's configuration.
type RunOptions struct {
	machine.Options           // Target is not used
	Hosts           bool      // list the existing machines
	Suffix          string    // of host names; stripped before the lookup
	User            string    // to log in as; "" means the platform's default
	PushKey         bool      // push a key
	Install         bool      // write ssh's files, not Out
	Out             io.Writer // for the configuration
}

// Run writes a configuration for ssh, or installs it and reports the changes to
// o.Notice. It returns [ErrOption] for options that ssh could not read back.
func Run(ctx context.Context, o RunOptions) error {
	o.Fill()
	home, err := Home(o.Install)
	if err != nil {
		return err
	}
	exe, err := Executable()
	switch {
	case errors.Is(err, ErrGoRun) && !o.Install:
		o.Notice(err.Error()) // good enough to print
	case err != nil:
		return err
	}
	s := Options{
		Executable:   exe,
		Home:         home,
		Windows:      runtime.GOOS == "windows",
		Profile:      o.Profile,
		Region:       o.Region,
		Suffix:       o.Suffix,
		User:         o.User,
		PushKey:      o.PushKey,
		Start:        o.Start,
		Pick:         string(o.Pick),
		ByName:       o.Hosts,
		HostsProfile: cmp.Or(o.Profile, os.Getenv("AWS_PROFILE"), os.Getenv("AWS_DEFAULT_PROFILE")),
		Keys:         Keys(home),
	}
	if o.Hosts {
		if s.Taken = ReadNames(home); s.Taken.Cut() {
			o.Notice("~/.ssh/config includes more than ssmpipe reads: a machine may get the name of a host in the rest")
		}
		err := machine.List(ctx, o.Options, func(page []driver.Machine) error {
			s.Hosts = append(s.Hosts, page...)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if o.Install && !s.Windows {
		if err := private.Dir(SocketDir(home)); err != nil {
			s.NoSockets = true
			o.Notice(safetext.Printable(fmt.Sprintf("%v; ssh will not share connections, and will find ssmpipe's key in a file", err)))
		}
	}
	var text bytes.Buffer
	if err := Write(&text, s); err != nil {
		return err
	}
	if !o.Install {
		_, err := text.WriteTo(o.Out)
		return err
	}
	did, err := Install(home, text.Bytes())
	if len(did) == 0 && err == nil {
		did = []string{"everything is installed already"}
	}
	return tellDone(&o.Options, did, err)
}

// Remove removes what Run has installed.
func Remove(o machine.Options) error {
	o.Fill()
	home, err := Home(true)
	if err != nil {
		return err
	}
	did, err := Uninstall(home)
	if len(did) == 0 && err == nil {
		did = []string{"nothing was installed"}
	}
	return tellDone(&o, did, err)
}

// tellDone reports what was done, even if an error stopped it halfway.
func tellDone(o *machine.Options, did []string, err error) error {
	for _, line := range did {
		o.Notice(line)
	}
	return err
}
