//go:build unix

package sshconfig

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kevinburke/ssh_config"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

// Programs other than ssh read ~/.ssh/config as well. They know less of it, and
// what they do not know must not be in it: some refuse the whole file.

// readerSettings are what all of them have to find, by keyword in lower case.
type readerSettings map[string]string

// readers are programs that print what they make of a configuration for hosts,
// as JSON: a list of objects. They get the file and the hosts as arguments.
var readers = map[string]struct{ command, script string }{
	"paramiko": {"/usr/bin/python3", `
import json, sys, paramiko
c = paramiko.SSHConfig.from_path(sys.argv[1])
print(json.dumps([dict(c.lookup(h)) for h in sys.argv[2:]]))
`},
	"net-ssh": {"ruby", `
require "json"; require "net/ssh"; require "net/ssh/proxy/command"
puts ARGV[1..].map { |h|
  o = Net::SSH::Config.for(h, [ARGV[0]])
  r = { "hostname" => o[:host_name] || h, "user" => o[:user], "hostkeyalias" => o[:host_key_alias], "identityagent" => o[:identity_agent] }
  if o[:proxy]
    # What it makes of the tokens, by a command that only says it.
    t = o[:proxy].command_line_template
    io = Net::SSH::Proxy::Command.new("echo '" + t + "'").open(o[:host_name] || h, 22, {})
    r["proxycommand"] = io.read.chomp
  end
  r.compact
}.to_json
`},
	"npm ssh-config": {"node", `
const SSHConfig = require("ssh-config"), fs = require("fs");
const c = (SSHConfig.default || SSHConfig).parse(fs.readFileSync(process.argv[2], "utf8"));
console.log(JSON.stringify(process.argv.slice(3).map(h => {
  const r = {};
  for (const [k, v] of Object.entries(c.compute(h))) r[k.toLowerCase()] = Array.isArray(v) ? v.join(" ") : v;
  return r;
})));
`},
}

// runReader returns what a reader makes of hosts.
func runReader(t *testing.T, name, file string, hosts []string) (list []map[string]any) {
	t.Helper()
	r := readers[name]
	skip := func(why string) {
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	program, err := exec.LookPath(r.command)
	if err != nil {
		skip(err.Error())
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "reader"+map[string]string{"node": ".js"}[r.command])
	if err := os.WriteFile(script, []byte(r.script), 0o600); err != nil {
		t.Fatal(err)
	}
	if r.command == "node" {
		npm := exec.Command("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", dir, "ssh-config@5.1.0")
		if out, err := npm.CombinedOutput(); err != nil {
			skip(fmt.Sprintf("npm: %v\n%s", err, out))
		}
		t.Setenv("NODE_PATH", filepath.Join(dir, "node_modules"))
	}
	var stderr strings.Builder
	cmd := exec.Command(program, append([]string{script, file}, hosts...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		if text := stderr.String(); strings.Contains(text, "No module named") || strings.Contains(text, "cannot load such file") {
			skip(text)
		}
		t.Fatalf("%v\n%s", err, &stderr)
	}
	if err := json.Unmarshal(out, &list); err != nil || len(list) != len(hosts) {
		t.Fatalf("%v: %s", err, out)
	}
	return list
}

// manyHosts is an account in which the lists of hosts take several lines.
func manyHosts(n int) (list []driver.Machine) {
	for i := range n {
		list = append(list, driver.Machine{ID: fmt.Sprintf("i-%017x", i), Region: "eu-central-1", Name: fmt.Sprintf("fleet-%04d", i), Platform: "Ubuntu"})
	}
	return list
}

// TestOtherProgramsReadIt has them find what ssh finds.
func TestOtherProgramsReadIt(t *testing.T) {
	unix := Options{Executable: "/opt/ssmpipe", Home: "/home/ann", PushKey: true, ByName: true, Hosts: append(manyHosts(300), fleet...), Suffix: "", Profile: "a b"}
	suffix := Options{Executable: "/opt/with space/ssmpipe", Home: "/home/ann", PushKey: true, Suffix: ".prod", Pick: "newest", User: "bob", Start: true}
	windows := Options{Executable: `C:\Program Files\ssmpipe.exe`, Home: `C:\Users\Ann`, Windows: true, PushKey: true, ByName: true, Hosts: fleet, Keys: []string{"id_rsa"}}
	for name, o := range map[string]Options{"hosts": unix, "suffix": suffix, "windows": windows} {
		text := write(t, o)
		for line := range strings.Lines(text) {
			keyword, rest := splitLine(line)
			if keyword == "match" || keyword != "" && keyword[0] != '#' && keyword != "controlpath" && strings.Contains(strings.NewReplacer("%h", "", "%p", "", "%%", "").Replace(rest), "%") {
				t.Errorf("%s: others do not read %q", name, line)
			}
			if len(line) > 1000 {
				t.Errorf("%s: a line of %d bytes: %.50s", name, len(line), line)
			}
		}
		file := configFile(t, o)
		hosts := []string{"i-0123456789abcdef0", "mi-0123456789abcdef0", "example.com"}
		if o.ByName {
			hosts = append(hosts, "web-1", "DB-Main", "db-main", "worker.i-0aaaaaaaaaaaaaaa4", "the-pi-in-the-attic")
		}
		if len(o.Hosts) > 200 {
			hosts = append(hosts, "fleet-0000", "fleet-0123", "fleet-0299")
		}
		if o.Suffix != "" {
			hosts = append(hosts, "web-1.prod")
		}
		want := make([]readerSettings, len(hosts))
		for i, h := range hosts {
			want[i] = readerSettings{}
			s := settings(t, file, h)
			for _, k := range []string{"hostname", "hostkeyalias", "proxycommand", "identityagent"} {
				want[i][k] = strings.ReplaceAll(strings.ReplaceAll(s[k], "%h", s["hostname"]), "%p", "22")
				want[i][k] = strings.Replace(want[i][k], InHome("~/x")[:len(InHome("~/x"))-1], "~/", 1) // ssh -G has expanded some
			}
			if h != "example.com" && s["stricthostkeychecking"] != "accept-new" {
				t.Errorf("%s: %s: %v", name, h, s)
			}
			if push := strings.Contains(s["proxycommand"], "--push-key"); !o.Windows && push != (want[i]["identityagent"] == "~/.cache/ssmpipe/agent") {
				t.Errorf("%s: %s: pushes: %v, and the agent is %q", name, h, push, want[i]["identityagent"])
			}
		}
		for reader := range readers {
			if reader == "npm ssh-config" && name != "hosts" {
				continue // fetching it takes longest
			}
			t.Run(name+" "+reader, func(t *testing.T) {
				for i, got := range runReader(t, reader, file, hosts) {
					compareReader(t, hosts[i], want[i], func(k string) string {
						v, _ := got[k].(string)
						return v
					})
				}
			})
		}
		t.Run(name+" kevinburke/ssh_config", func(t *testing.T) {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			c, err := ssh_config.Decode(f)
			if err != nil {
				t.Fatal(err)
			}
			for i, h := range hosts {
				compareReader(t, h, want[i], func(k string) string {
					v, err := c.Get(h, k)
					if err != nil {
						t.Error(err)
					}
					return v
				})
			}
		})
	}
}

func compareReader(t *testing.T, host string, want readerSettings, get func(string) string) {
	t.Helper()
	for k, v := range want {
		got := get(k)
		if k == "hostname" && got == "" {
			got = host
		}
		got = strings.NewReplacer("%h", want["hostname"], "%p", "22", InHome("~/x")[:len(InHome("~/x"))-1], "~/").Replace(got)
		plainer := strings.NewReplacer(`"`, "", `\`, "")
		if plainer.Replace(got) != plainer.Replace(v) {
			t.Errorf("%s: %s is %q, want %q", host, k, got, v)
		}
	}
}

// TestOtherProgramsReadTheInclude: the line that is installed hurts nobody.
func TestOtherProgramsReadTheInclude(t *testing.T) {
	home := homeWith(t, "Host mine\n    HostName mine.example\n")
	if _, err := Install(home, []byte(write(t, Options{Executable: "/opt/ssmpipe", Home: home, PushKey: true}))); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(home, ".ssh", "config")
	for reader := range readers {
		t.Run(reader, func(t *testing.T) {
			if got := runReader(t, reader, file, []string{"mine"}); got[0]["hostname"] != "mine.example" {
				t.Errorf("%v", got)
			}
		})
	}
	t.Run("kevinburke/ssh_config", func(t *testing.T) {
		t.Setenv("HOME", home)
		c, err := ssh_config.DecodeBytes([]byte(strings.ReplaceAll(read(t, file), FileName, filepath.Join(home, ".ssh", FileName))))
		if err != nil {
			t.Fatal(err)
		}
		for host, want := range map[string]string{"mine": "", "i-0123456789abcdef0": "/opt/ssmpipe proxy "} {
			if got, err := c.Get(host, "ProxyCommand"); err != nil || !strings.HasPrefix(got, want) || (want == "") != (got == "") {
				t.Errorf("%s: %q, %v", host, got, err)
			}
		}
	})
}
