package sshconfig

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

var update = flag.Bool("update", false, "write the expected configurations anew")

// fleet is a small account.
var fleet = []driver.Machine{
	{ID: "i-0aaaaaaaaaaaaaaa1", Region: "eu-central-1", Name: "web-1", State: "running", Platform: "Ubuntu 24.04"},
	{ID: "i-0aaaaaaaaaaaaaaa2", Region: "eu-central-1", Name: "DB-Main", State: "stopped", Platform: "Amazon Linux 2023"},
	{ID: "i-0aaaaaaaaaaaaaaa3", Region: "eu-central-1", Name: "worker", State: "running", Platform: "Debian GNU/Linux 12"},
	{ID: "i-0aaaaaaaaaaaaaaa4", Region: "eu-central-1", Name: "Worker", State: "running", Platform: "Debian GNU/Linux 12"},
	{ID: "i-0aaaaaaaaaaaaaaa5", Region: "eu-central-1", State: "running", Platform: "Linux/UNIX"},
	{ID: "i-0aaaaaaaaaaaaaaa6", Region: "eu-central-1", Name: "old", State: "terminated"},
	{ID: "mi-0aaaaaaaaaaaaaaa7", Region: "eu-central-1", Name: "the pi in the attic", Platform: "Ubuntu 22.04"},
}

func write(t testing.TB, o Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestConfigurations shows what people get to read.
func TestConfigurations(t *testing.T) {
	unix := Options{Executable: "/usr/local/bin/ssmpipe", Home: "/home/ann", PushKey: true}
	hosts := unix
	hosts.ByName, hosts.Hosts, hosts.HostsProfile = true, fleet, "prod"
	suffix := unix
	suffix.Suffix, suffix.Profile, suffix.User, suffix.PushKey = ".prod", "prod", "ann", false
	windows := hosts
	windows.Windows = true
	windows.Executable, windows.Home = `C:\Program Files\ssmpipe\ssmpipe.exe`, `C:\Users\Ann`
	windows.Keys = []string{"id_rsa", "id_ed25519"}
	for name, o := range map[string]Options{"plain": unix, "hosts": hosts, "suffix": suffix, "windows": windows} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", name+".config")
			got := write(t, o)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != strings.ReplaceAll(string(want), "\r\n", "\n") {
				t.Errorf("not as in %s; go test -update writes it anew:\n%s", file, got)
			}
		})
	}
}

// TestWhatSSHCannotReadBackIsRefused wants an error rather than a broken file.
func TestWhatSSHCannotReadBackIsRefused(t *testing.T) {
	good := Options{Executable: "/bin/ssmpipe", Home: "/home/ann"}
	for name, change := range map[string]func(*Options){
		"newline in the path":         func(o *Options) { o.Executable = "/bin/ssm\npipe" },
		"newline in the home":         func(o *Options) { o.Home = "/home/a\nb" },
		"quote in the home":           func(o *Options) { o.Home = `/home/a"b` },
		"variable in the home":        func(o *Options) { o.Home = "/home/${USER}" },
		"newline in the profile":      func(o *Options) { o.Profile = "a\nb" },
		"escape in the hosts' one":    func(o *Options) { o.HostsProfile = "a\x1bb" },
		"user that is an option":      func(o *Options) { o.User = "-oProxyCommand=x" },
		"user of two words":           func(o *Options) { o.User = "a b" },
		"suffix that is a pattern":    func(o *Options) { o.Suffix = ".*" },
		"suffix of all hosts":         func(o *Options) { o.Suffix = "." },
		"suffix of two words":         func(o *Options) { o.Suffix = ".a .b" },
		"region that is a command":    func(o *Options) { o.Region = "$(id)" },
		"quote in a path of Windows":  func(o *Options) { o.Windows, o.Executable = true, `C:\a"b.exe` },
		"quote in a Windows' profile": func(o *Options) { o.Windows, o.Profile = true, `a"b` },
	} {
		o := good
		change(&o)
		var b bytes.Buffer
		if err := Write(&b, o); !errors.Is(err, ErrOption) || b.Len() > 0 {
			t.Errorf("%s: %v, and %d bytes", name, err, b.Len())
		}
	}
	if err := Write(&bytes.Buffer{}, Options{Executable: "/bin/ssmpipe", Home: "ann"}); err == nil {
		t.Error("a home that is not absolute was taken")
	}
}

// TestSocketsFitIntoTheirAddresses looks at homes with long names.
func TestSocketsFitIntoTheirAddresses(t *testing.T) {
	for length := 10; length < 110; length++ {
		home := "/" + strings.Repeat("h", length-1)
		text := write(t, Options{Executable: "/bin/ssmpipe", Home: home, PushKey: true})
		control := len(home) + len("/.cache/ssmpipe/") + 40 + len(".0123456789abcdef")
		if got, want := strings.Contains(text, "    ControlPath "), control <= 103; got != want {
			t.Errorf("home of %d bytes: control socket of %d bytes: %v", length, control, got)
		}
		agent := len(home) + len("/.cache/ssmpipe/.012345.abcdef.abcdef.01234")
		if got, want := strings.Contains(text, "    IdentityAgent "), agent <= 103; got != want {
			t.Errorf("home of %d bytes: agent's socket of %d bytes: %v", length, agent, got)
		}
		if got, want := strings.Contains(text, "IdentityFile ~/.ssh/ssmpipe/key"), agent > 103; got != want {
			t.Errorf("home of %d bytes: key in a file: %v", length, got)
		}
	}
}

func TestUsersGoByThePlatform(t *testing.T) {
	for platform, want := range map[string]string{
		"Amazon Linux 2023":               "ec2-user",
		"Amazon Linux AMI 2018.03":        "ec2-user",
		"Ubuntu 24.04":                    "ubuntu",
		"Debian GNU/Linux 12":             "admin",
		"Red Hat Enterprise Linux 9.4":    "ec2-user",
		"SLES 15.6":                       "ec2-user",
		"SUSE Linux":                      "ec2-user",
		"CentOS Linux 7.9":                "centos",
		"CentOS Stream 9":                 "ec2-user",
		"Rocky Linux 9.4":                 "rocky",
		"AlmaLinux 9.4":                   "ec2-user",
		"Fedora Linux 41":                 "fedora",
		"Microsoft Windows Server 2022":   "Administrator",
		"Windows":                         "Administrator",
		"Linux/UNIX":                      "",
		"":                                "",
		"Ubuntu\n    ProxyCommand /bin/x": "ubuntu",
	} {
		c := &config{}
		if got := c.userOf(host{id: "i-0", platform: platform}); got != want {
			t.Errorf("%q: %q, want %q", platform, got, want)
		}
		if got := c.userOf(host{id: "mi-0", platform: platform}); got != "" {
			t.Errorf("%q outside EC2: %q", platform, got)
		}
		c.User = "ann"
		if got := c.userOf(host{id: "mi-0", platform: platform}); got != "ann" {
			t.Errorf("%q with --user ann: %q", platform, got)
		}
	}
}
