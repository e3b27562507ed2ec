package sshconfig

import (
	"strings"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

// TestNames gives one machine a name and looks at what it is called.
func TestNames(t *testing.T) {
	const own = "i-0123456789abcdef0"
	taken := &Names{hosts: map[string]bool{"mine": true, "mine.prod": true}}
	for _, test := range []struct{ name, want, withSuffix string }{
		{"web-1", "web-1", "web-1.prod"},
		{"Web_1.internal", "Web_1.internal." + own + " web_1.internal." + own, "Web_1.internal.prod web_1.internal.prod"},
		{"Build Server #3 (old)", "Build-Server-3-old build-server-3-old", "Build-Server-3-old.prod build-server-3-old.prod"},
		{"  x  ", "x", "x.prod"},
		{"-oProxyCommand=sh", "oProxyCommand-sh oproxycommand-sh", "oProxyCommand-sh.prod oproxycommand-sh.prod"},
		{"a\nHost *\n  ProxyCommand id", "a-Host-ProxyCommand-id a-host-proxycommand-id", "a-Host-ProxyCommand-id.prod a-host-proxycommand-id.prod"},
		{"x;id|sh&`id`$(id)", "x-id-sh-id-id", "x-id-sh-id-id.prod"},
		{"a,b !c *d ?e", "a-b-c-d-e", "a-b-c-d-e.prod"},
		{`"q" 'r' \s %h`, "q-r-s-h", "q-r-s-h.prod"},
		{"\x1b[31mred\x1b[0m", "31mred-0m", "31mred-0m.prod"},
		{"web-1.", "web-1", "web-1.prod"},
		{"", own, own + ".prod"},
		{"データベース", own, own + ".prod"},
		{"***", own, own + ".prod"},
		{"..", own, own + ".prod"},

		{"localhost", "localhost." + own, "localhost.prod"},
		{"Localhost", "Localhost." + own + " localhost." + own, "Localhost.prod localhost.prod"},
		{"a.localhost", "a.localhost." + own, "a.localhost.prod"},
		{"10.0.0.1", "10.0.0.1." + own, "10.0.0.1.prod"},
		{"167772161", "167772161." + own, "167772161.prod"},
		{"0xa000001", "0xa000001." + own, "0xa000001.prod"},
		{"db1", "db1", "db1.prod"},
		{"github.com", "github.com." + own, "github.com.prod"},
		{"GitHub.com", "GitHub.com." + own + " github.com." + own, "GitHub.com.prod github.com.prod"},
		{"i-0fedcba9876543210", "i-0fedcba9876543210." + own, "i-0fedcba9876543210." + own + ".prod"},
		{"I-0fedcba9876543210", "I-0fedcba9876543210." + own + " i-0fedcba9876543210." + own, ""},
		{"mi-0fedcba9876543210", "mi-0fedcba9876543210." + own, ""},
		{"web-1.i-0fedcba9876543210", "web-1.i-0fedcba9876543210." + own, ""},
		{"mine", "mine." + own, "mine." + own + ".prod"},
		{"Mine", "Mine." + own + " mine." + own, ""},
	} {
		for suffix, want := range map[string]string{"": test.want, ".prod": test.withSuffix} {
			hosts := nameHosts([]driver.Machine{{ID: own, Name: test.name}}, suffix, taken)
			if got := strings.Join(hosts[0].aliases, " "); got != want && want != "" {
				t.Errorf("%q with suffix %q: %s, want %s", test.name, suffix, got, want)
			}
			if plain := strings.Contains(hosts[0].aliases[0], own); plain != (hosts[0].note != "") {
				t.Errorf("%q: called %s with the note %q", test.name, hosts[0].aliases, hosts[0].note)
			}
		}
	}
}

// TestNoTwoMachinesShareAName has names that become the same one.
func TestNoTwoMachinesShareAName(t *testing.T) {
	var list []driver.Machine
	for i, name := range []string{"web", "web", "Web", "db 1", "db-1", "db/1", "x.i-0000000000000001", "x", "x", "alone"} {
		list = append(list, driver.Machine{ID: "i-000000000000000" + string(rune('0'+i)), Name: name})
	}
	list = append(list, list[0]) // as when a page came twice
	owner := make(map[string]string)
	for _, h := range nameHosts(list, "", nil) {
		for _, a := range h.aliases {
			if other := owner[a]; other != "" {
				t.Errorf("%s is %s and %s", a, other, h.id)
			}
			owner[a] = h.id
		}
	}
	for alias, want := range map[string]string{
		"web": "", "web.i-0000000000000000": "i-0000000000000000", "Web.i-0000000000000002": "i-0000000000000002",
		"db-1": "", "db-1.i-0000000000000005": "i-0000000000000005",
		"x": "", "x.i-0000000000000001.i-0000000000000006": "i-0000000000000006",
		"alone": "i-0000000000000009",
	} {
		if owner[alias] != want {
			t.Errorf("%s is %q, want %q", alias, owner[alias], want)
		}
	}
}

// TestWhatIsNoMachineIsLeftOut has ids and regions that are not.
func TestWhatIsNoMachineIsLeftOut(t *testing.T) {
	hosts := nameHosts([]driver.Machine{
		{ID: "i-0;id", Name: "a"}, {ID: "", Name: "b"}, {ID: "i-0\n", Name: "c"},
		{ID: "i-0", Name: "gone", State: "terminated"}, {ID: "i-1", Name: "going", State: "shutting-down"},
		{ID: "i-2", Name: "here", State: "stopped", Region: "$(id)"},
	}, "", nil)
	if len(hosts) != 1 || hosts[0].id != "i-2" || hosts[0].region != "" {
		t.Errorf("%+v", hosts)
	}
}
