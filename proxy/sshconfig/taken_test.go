package sshconfig

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

// putAll writes files into dir.
func putAll(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// namesIn reads the names of a home in dir, with dir/etc for the system's.
func namesIn(dir string) *Names {
	return readNames(filepath.Join(dir, "home"), filepath.Join(dir, "etc", "ssh"), filepath.Join(dir, "etc", "hosts"))
}

const someKey = " ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJzc2hrZXlzc2hrZXlzc2hrZXlzc2hrZXlzc2hrZXl6\n"

// TestNoNameTakesOverAHost has whoever may set tags call a machine as hosts are
// called that its users reach today.
func TestNoNameTakesOverAHost(t *testing.T) {
	dir := t.TempDir()
	putAll(t, dir, map[string]string{
		"home/.ssh/config": `
Include "conf d/*" ~/more ${SSMPIPE_TEST_INCLUDE} missing
Host *
    User ann
Host git* !gitlab
    User git
Host plain "quoted" # notthis
    ProxyJump ann@jump:2233,ssh://second/
host=equals
    HostName reallythis
Match originalhost matched,pat-*-tern exec "true"
    Port 7022
Host old
    ProxyCommand ssh -W %h:%p nobody@gateway
Host keys
    UserKnownHostsFile ~/keys/mine %d/keys/%k.keys
    GlobalKnownHostsFile none
`,
		"home/.ssh/conf d/a":    "Host included\nInclude nested\n",
		"home/.ssh/nested":      "Host nested\n",
		"home/more":             "\xef\xbb\xbfHost MORE\r\n",
		"home/env":              "Host fromenv\n",
		"home/.ssh/" + FileName: marker + "\nHost earlier\n",
		"home/.ssh/known_hosts": "# comment" + someKey + "vault,10.0.0.1" + someKey + "[onport]:2233" + someKey +
			knownhosts.HashHostname("hashed") + someKey + knownhosts.HashHostname("[hashedport]:2222") + someKey +
			knownhosts.HashHostname("[hashedown]:7022") + someKey +
			"@cert-authority known-*" + someKey + "@cert-authority *" + someKey + "@revoked bad" + someKey + "|1|x|y" + someKey + "short\n",
		"home/.ssh/known_hosts2":      "second2" + someKey,
		"home/keys/mine":              "minekey" + someKey,
		"home/keys/any.keys":          "bytoken" + someKey,
		"etc/ssh/ssh_known_hosts":     "company" + someKey,
		"etc/ssh/ssh_config":          "Include ssh_config.d/*.conf\n",
		"etc/ssh/ssh_config.d/a.conf": "Host systems\n",
		"etc/hosts":                   "127.0.0.1 localhost loop\n::1 ip6-loopback # comment\n10.1.1.1\tPrinter printer.lan\n",
	})
	t.Setenv("SSMPIPE_TEST_INCLUDE", filepath.Join(dir, "home", "env"))
	taken := namesIn(dir)
	const own = "i-0123456789abcdef0"
	for _, name := range []string{
		"vault.corp", "git.company.internal", "github.com", "a.b", "web.eu-central-1.internal", "x.compute.internal.evil", "compute.internal",
		"github", "GitHub", "git", "gitlab", "plain", "Plain", "PLAIN.", "quoted", "jump", "second", "equals", "reallythis", "matched", "pat-x-tern",
		"gateway", "included", "nested", "more", "fromenv", "vault", "VAULT", "onport", "hashed", "Hashed", "hashedport", "hashedown",
		"known-x", "bad", "second2", "minekey", "bytoken", "company", "systems", "printer", "Printer", "loop", "ip6-loopback", "localhost",
		"10.0.0.1", "0x7f.1", "0X7F000001", "2130706433", "-vault", "vault-", ".vault.", "»vault«", "va\u200bult.corp", "vault\n", "*vault*",
		"ip-10-0-0-2.ec2.internal", "ip-10-0-0-2", "IP-10-0-0-2.EC2.internal", "ip-10-0-0-9.ec2.internal", "i-0fedcba9876543210.eu-central-1.compute.internal",
	} {
		list := []driver.Machine{{ID: own, Name: name, PrivateDNS: "ip-10-0-0-1.ec2.internal"}, {ID: "i-02", PrivateDNS: "ip-10-0-0-2.ec2.internal"}}
		for _, h := range nameHosts(list, "", taken) {
			for _, alias := range h.aliases {
				if h.id == own && !strings.HasSuffix(alias, "."+own) {
					t.Errorf("%q is called %s", name, alias)
				}
			}
		}
	}
	for _, name := range []string{
		"web-1", "notthis", "comment", "earlier", "short", "none", "user", "ann", "true", "xgit", "pat-tern", "ip-10-0-0-1.ec2.internal", "ip-10-0-0-1",
	} {
		hosts := nameHosts([]driver.Machine{{ID: own, Name: name, PrivateDNS: "ip-10-0-0-1.ec2.internal"}}, "", taken)
		if hosts[0].aliases[0] != name {
			t.Errorf("%q is called %s: %s", name, hosts[0].aliases, hosts[0].note)
		}
	}
	// A node outside EC2 is in nobody's DNS; what nothing is known of may be.
	for id, want := range map[string]string{"mi-01": "ip-10-0-0-3.ec2.internal.mi-01", "i-01": "ip-10-0-0-3.ec2.internal"} {
		hosts := nameHosts([]driver.Machine{{ID: id, Name: "ip-10-0-0-3.ec2.internal"}}, "", taken)
		if hosts[0].aliases[0] != want {
			t.Errorf("%s is called %s", id, hosts[0].aliases)
		}
	}
	// With a suffix all names are ssmpipe's, but for Host lines.
	putAll(t, dir, map[string]string{"home/.ssh/config": "Host mine.prod *.prod web-*\n", "home/.ssh/known_hosts": "web-1.prod" + someKey})
	taken = namesIn(dir)
	for name, want := range map[string]string{"mine": "mine." + own + ".prod", "web-1": "web-1.prod", "vault.corp": "vault.corp.prod"} {
		hosts := nameHosts([]driver.Machine{{ID: own, Name: name}}, ".prod", taken)
		if hosts[0].aliases[0] != want {
			t.Errorf("%q with a suffix is called %s", name, hosts[0].aliases)
		}
	}
}

// TestIncludesAreReadOnce has files that include themselves and each other, in
// ways that would take a reader who goes by depth alone for ever.
func TestIncludesAreReadOnce(t *testing.T) {
	self := map[string]string{"home/.ssh/config": strings.Repeat("Include config\n", 500) + "Host self\n"}
	all := map[string]string{"home/.ssh/config": "Include *\nInclude ~/.ssh/*\n", "home/.ssh/z": "Host self\n"}
	doubled := map[string]string{"home/.ssh/config": "Include 0 0\n", "home/.ssh/15": "Host self\n"}
	for i := range 15 {
		doubled[fmt.Sprintf("home/.ssh/%d", i)] = strings.Repeat(fmt.Sprintf("Include %d ./%d\n", i+1, i+1), 10)
		all[fmt.Sprintf("home/.ssh/%d", i)] = "Include *\n"
	}
	for name, files := range map[string]map[string]string{"of itself": self, "of all": all, "doubled": doubled} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			putAll(t, dir, files)
			os.Symlink("config", filepath.Join(dir, "home", ".ssh", "link"))
			r := newReader(filepath.Join(dir, "home"))
			lines := 0
			found := false
			r.config(filepath.Join(dir, "home", ".ssh", "config"), filepath.Join(dir, "home", ".ssh"), func(_ string, words []string) {
				lines++
				found = found || words[0] == "self"
			})
			if lines != 1 || !found || r.cut || r.files > 20 {
				t.Errorf("%d lines, found: %v, %d files, cut: %v", lines, found, r.files, r.cut)
			}
		})
	}
}

// TestWhatIsReadIsBounded has more than anybody needs.
func TestWhatIsReadIsBounded(t *testing.T) {
	dir := t.TempDir()
	putAll(t, dir, map[string]string{"home/.ssh/config": "Include d/*\nHost last\n"})
	for i := range maxFiles + 10 {
		putAll(t, dir, map[string]string{fmt.Sprintf("home/.ssh/d/%04d", i): "Host x\n"})
	}
	if n := namesIn(dir); !n.Cut() || !n.hosts["x"] || !n.hosts["last"] {
		t.Error("files are not bounded, or what was read is lost")
	}
	putAll(t, dir, map[string]string{"home/.ssh/config": "Host first\n" + strings.Repeat("#\n", maxRead/2+1) + "Host beyond\n"})
	if n := namesIn(dir); !n.Cut() || !n.hosts["first"] || n.hosts["beyond"] {
		t.Error("bytes are not bounded, or what was read is lost")
	}
	putAll(t, dir, map[string]string{"home/.ssh/config": strings.Repeat("Include nothing*\n", maxIncludes+1)})
	if !namesIn(dir).Cut() {
		t.Error("Includes are not bounded")
	}
	deep := map[string]string{"home/.ssh/config": "Include 0\n"}
	for i := range 20 {
		deep[fmt.Sprintf("home/.ssh/%d", i)] = fmt.Sprintf("Host at%d\nInclude %d\n", i, i+1)
	}
	putAll(t, dir, deep)
	if n := namesIn(dir); !n.hosts["at15"] || n.hosts["at16"] {
		t.Error("the depth is not ssh's")
	}
}

// FuzzNames reads whatever is in the files.
func FuzzNames(f *testing.F) {
	f.Add("Host a*b?c !d\nMatch host x,y\nInclude config known_hosts %\n", "a,b"+someKey+"|1|YQ==|YQ=="+someKey, "web")
	f.Add("Host \"\nHost '\n=\nHost=\nMatch host\nProxyJump @:,[]\n", "@\n[\n[]:\n|1|\n|1||\n", "")
	f.Add("Host *a*a*a*a*a*a*a*a*a*a*a*b\nUserKnownHostsFile %d/.ssh/config ${HOME\n", "*,?"+someKey, strings.Repeat("a", 200))
	f.Fuzz(func(t *testing.T, config, known, name string) {
		dir := t.TempDir()
		putAll(t, dir, map[string]string{"home/.ssh/config": config, "home/.ssh/known_hosts": known})
		begun := time.Now()
		n := namesIn(dir)
		for _, h := range nameHosts([]driver.Machine{{ID: "i-0", Name: name}}, "", n) {
			for _, a := range h.aliases {
				if n.meaning(strings.ToLower(a)) != "" && a == hostName(name) {
					t.Errorf("%q has another meaning", a)
				}
			}
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
	})
}
