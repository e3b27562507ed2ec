//go:build unix

package sshconfig

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

// What real ssh makes of it.

// need returns a tool's path. Where it is missing the test is skipped, but not
// in CI.
func need(t testing.TB, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing", tool)
		}
		t.Skipf("%s is missing", tool)
	}
	return path
}

// recorder is a program with a name of the caller's that writes down with what
// arguments it is started.
func recorder(t testing.TB, name string) (exe string, started func() []string) {
	t.Helper()
	dir := t.TempDir()
	exe, record := filepath.Join(dir, name), filepath.Join(dir, "record")
	if err := os.MkdirAll(filepath.Dir(exe), 0o700); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\nprintf '%%s\\0' \"$0\" \"$@\" >'%s'\n", record)
	if err := os.WriteFile(exe, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return exe, func() []string {
		text, _ := os.ReadFile(record)
		os.Remove(record)
		return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	}
}

// configFile writes the configuration for o into a file.
func configFile(t testing.TB, o Options) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(write(t, o)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// settings returns what ssh -G says of a host.
func settings(t testing.TB, file string, args ...string) map[string]string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(need(t, "ssh"), append([]string{"-G", "-F", file}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, &stderr)
	}
	values := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		keyword, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		values[keyword] = value
	}
	return values
}

func TestSSHReadsIt(t *testing.T) {
	o := Options{Executable: "/opt/ssmpipe", Home: "/home/ann", PushKey: true, Profile: "prod", Region: "eu-west-1",
		ByName: true, Hosts: fleet, Suffix: ""}
	file := configFile(t, o)
	const push = " --push-key --identity-agent=~/.cache/ssmpipe/agent"
	for _, test := range []struct {
		host                          string
		hostname, alias, user, region string
		push                          bool
	}{
		{"web-1", "i-0aaaaaaaaaaaaaaa1", "i-0aaaaaaaaaaaaaaa1", "ubuntu", "eu-central-1", true},
		{"DB-Main", "i-0aaaaaaaaaaaaaaa2", "i-0aaaaaaaaaaaaaaa2", "ec2-user", "eu-central-1", true},
		{"db-main", "i-0aaaaaaaaaaaaaaa2", "i-0aaaaaaaaaaaaaaa2", "ec2-user", "eu-central-1", true},
		{"worker.i-0aaaaaaaaaaaaaaa4", "i-0aaaaaaaaaaaaaaa4", "i-0aaaaaaaaaaaaaaa4", "admin", "eu-central-1", true},
		{"the-pi-in-the-attic", "mi-0aaaaaaaaaaaaaaa7", "mi-0aaaaaaaaaaaaaaa7", "", "eu-central-1", false},
		{"i-0123456789abcdef0", "i-0123456789abcdef0", "", "", "eu-west-1", true},
		{"mi-0123456789abcdef0", "mi-0123456789abcdef0", "", "", "eu-west-1", false},
	} {
		got := settings(t, file, test.host)
		command := "/opt/ssmpipe proxy --control-dir=~/.cache/ssmpipe"
		agent := ""
		if test.push {
			command += push
			agent = InHome("~/.cache/ssmpipe/agent")
		}
		command += " --profile prod --region " + test.region + " %h %p"
		for keyword, want := range map[string]string{
			"hostname": test.hostname, "hostkeyalias": test.alias, "proxycommand": command,
			"identityagent": agent, "identitiesonly": "no", "stricthostkeychecking": "accept-new",
			"serveraliveinterval": "60", "serveralivecountmax": "10", "controlmaster": "auto", "controlpersist": "no",
		} {
			if got[keyword] != want {
				t.Errorf("%s: %s is %q, want %q", test.host, keyword, got[keyword], want)
			}
		}
		if test.user != "" && got["user"] != test.user {
			t.Errorf("%s: user %s, want %s", test.host, got["user"], test.user)
		}
		if !regexp.MustCompile(`/\.cache/ssmpipe/[0-9a-f]{40}$`).MatchString(got["controlpath"]) {
			t.Errorf("%s: control path %s", test.host, got["controlpath"])
		}
	}
	for _, host := range []string{"worker", "Worker", "old", "example.com", "webi-1"} {
		got := settings(t, file, host)
		if got["proxycommand"] != "" || got["hostname"] != strings.ToLower(host) || got["controlmaster"] != "false" || got["stricthostkeychecking"] != "ask" {
			t.Errorf("%s is touched: %v", host, got)
		}
	}
}

func TestSSHReadsTheOneForWindows(t *testing.T) {
	got := settings(t, filepath.Join("testdata", "windows.config"), "web-1")
	want := `"C:/Program Files/ssmpipe/ssmpipe.exe" proxy --push-key --key made --profile "prod" --region eu-central-1 %h %p`
	if got["proxycommand"] != want || got["controlmaster"] != "false" || got["identityfile"] != "~/.ssh/id_ed25519" { // the last one
		t.Errorf("%v", got)
	}
}

// TestASuffixIsForAnyCase has ssh lower a name, which ssmpipe is told of.
func TestASuffixIsForAnyCase(t *testing.T) {
	path, started := recorder(t, "ssmpipe")
	file := configFile(t, Options{Executable: path, Home: "/home/ann", PushKey: true, Suffix: ".prod", Profile: "prod", Pick: "newest", Start: true,
		ByName: true, Hosts: fleet})
	exec.Command(need(t, "ssh"), "-F", file, "-l", "ann", "Web-7.prod", "true").Run()
	want := []string{path, "proxy", "--control-dir=~/.cache/ssmpipe", "--push-key", "--identity-agent=~/.cache/ssmpipe/agent",
		"--profile", "prod", "--start", "--strip-suffix", ".prod", "--any-case", "--host-keys=~/.ssh/ssmpipe/hosts", "--pick", "newest", "web-7.prod", "22"}
	if got := started(); !slices.Equal(got, want) {
		t.Errorf("started %q\nwant %q", got, want)
	}
	if got := settings(t, file, "-l", "ann", "Web-7.prod"); got["identityagent"] != InHome("~/.cache/ssmpipe/agent") || got["controlmaster"] != "auto" {
		t.Errorf("%v", got)
	}
	if got := settings(t, file, "web-1.prod"); got["hostname"] != "i-0aaaaaaaaaaaaaaa1" || strings.Contains(got["proxycommand"], "--strip-suffix") {
		t.Errorf("%v", got)
	}
	if got := settings(t, file, "web-1"); got["proxycommand"] != "" {
		t.Errorf("without the suffix: %v", got)
	}
}

// TestSSHStartsWhatIsMeant starts the command by the shell that ssh takes.
func TestSSHStartsWhatIsMeant(t *testing.T) {
	for _, shell := range []string{"sh", "bash", "zsh"} {
		path, err := exec.LookPath(shell)
		if err != nil {
			continue // none that anybody here has
		}
		t.Setenv("SHELL", path)
		for _, name := range []string{
			"ssmpipe", "with space/ssmpipe", "a'b/ssmpipe", `a"b/ssmpipe`, `a\b\/ssmpipe`, `a\\b/ssmpipe`, `a\'b`, "$HOME/$(id)/`id`", "100%h/%r%%",
			"größe/データ", "a;b|c&d>e<f(g)*?[h]~!#", "#", "a=b", "{a,b}",
		} {
			t.Run(shell+" "+name, func(t *testing.T) { checkHosts(t, name, name, "web-1", "Web 2", "") })
		}
	}
}

// FuzzHostileText has names, a profile and a path of anything.
func FuzzHostileText(f *testing.F) {
	f.Add("ssmpipe", "prod", "web-1\x00web-1\x00Web-1")
	f.Add("with space", "a b", "x\nHost *\n    ProxyCommand touch /tmp/x\n\x00$(id)\x00`id`")
	f.Add("a'b\"c", "%h%r%%", "-oProxyCommand=x\x00* !a,b ?\x00\"q\" 'r'\x00\x1b[31m\x00%n%%\x00i-0000000000000001\x00localhost")
	f.Add("$x", "${HOME}", "github.com\x00a.i-0000000000000002\x00a\x00a\x00Ünïcode\x00\xff\xfe\x00# x\x00\\\\")
	f.Fuzz(func(t *testing.T, exe, profile, names string) {
		if exe == "" || len(exe) > 100 || strings.ContainsAny(exe, "/\x00") || exe == "." || exe == ".." || exe == "record" ||
			strings.Contains(profile, "\x00") || len(profile) > 1000 || len(names) > 10000 {
			t.Skip("no file, no argument or too long")
		}
		list := strings.Split(names, "\x00")
		checkHosts(t, exe, profile, list[:min(len(list), 8)]...)
	})
}

// checkHosts writes a configuration for machines of these names, and wants real
// ssh to find each of them by each of its aliases, and to start exe with the
// arguments that are meant.
func checkHosts(t *testing.T, exe, profile string, names ...string) {
	path, started := recorder(t, exe)
	o := Options{Executable: path, Home: "/home/ann", PushKey: true, ByName: true, HostsProfile: profile}
	for i, name := range names {
		o.Hosts = append(o.Hosts, driver.Machine{ID: fmt.Sprintf("i-%016x", i), Name: name, Region: "eu-central-1",
			Platform: name, State: "running"})
	}
	if strings.ContainsFunc(exe+profile, unicode.IsControl) {
		if err := Write(new(bytes.Buffer), o); err == nil {
			t.Errorf("%q and %q were taken", exe, profile)
		}
		return
	}
	checkLines(t, write(t, o))
	file := configFile(t, o)
	hosts := nameHosts(o.Hosts, "", nil)
	if len(hosts) != len(names) {
		t.Errorf("%d hosts for %d machines", len(hosts), len(names))
	}
	for _, h := range hosts {
		for _, alias := range h.aliases {
			cmd := exec.Command(need(t, "ssh"), "-F", file, "-l", "ann", "-p", "2222", "--", alias, "true")
			out, _ := cmd.CombinedOutput() // its error is that the recorder is no sshd
			want := []string{path, "proxy", "--control-dir=~/.cache/ssmpipe", "--push-key", "--identity-agent=~/.cache/ssmpipe/agent"}
			if profile != "" {
				want = append(want, "--profile", profile)
			}
			want = append(want, "--region", "eu-central-1", h.id, "2222")
			if got := started(); !slices.Equal(got, want) {
				t.Errorf("%s: started %q\nwant %q\nssh said %s", alias, got, want, out)
			}
		}
	}
}

var (
	commentLine = regexp.MustCompile(`^ *# ?[ -~]*$|^$`)
	hostLine    = regexp.MustCompile(`^Host ([A-Za-z0-9*][A-Za-z0-9._*-]* ?)+$`)
	settingLine = regexp.MustCompile(`^    (HostName|HostKeyAlias|User|ProxyCommand|IdentityAgent|IdentitiesOnly|IdentityFile|StrictHostKeyChecking|ServerAliveInterval|ServerAliveCountMax|ControlMaster|ControlPath) [^\pC]+$`)
)

// checkLines wants no line but those that Write means to write.
func checkLines(t testing.TB, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if !commentLine.MatchString(line) && !hostLine.MatchString(line) && !settingLine.MatchString(line) {
			t.Errorf("line %q", line)
		}
	}
}
