package completion

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
)

// hostileNames are names that somebody could have given to a machine. Those
// that can be written on a line are true.
var hostileNames = map[string]bool{
	"a b":                      true,
	`it's`:                     true,
	`say "hi"`:                 true,
	"$(touch pwned)":           true,
	"`touch pwned`":            true,
	"x;touch pwned":            true,
	"x|y&z>pwned<q":            true,
	"*":                        true,
	"[a-z]?{b,c}":              true,
	"~root":                    true,
	"#comment":                 true,
	"!!":                       true,
	"^old^new":                 true,
	"a=b:c@d":                  true,
	"%F{red}%n%s":              true,
	"=ls":                      true,
	"(group)":                  true,
	"Grüße-日本":                 true,
	"’; touch pwned; ‘":        true, // quotes to PowerShell
	"@{a=1}":                   true,
	"a,b":                      true,
	"/":                        true,
	"":                         false,
	"-oProxyCommand=x":         false,
	" leading":                 false,
	"trailing ":                false,
	`back\slash`:               false,
	"two\nlines":               false,
	"tab\tbed":                 false,
	"\x1b]0;title\a":           false,
	"\x1b[31mred":              false,
	"\u009b31mred":             false, // the same in one character
	"nul\x00":                  false,
	"\u202egnp.exe":            false, // written from right to left
	"zero\u200bwidth":          false,
	"not \xff UTF-8":           false,
	"\ufffd":                   true,
	strings.Repeat("long", 70): false,
}

func hostileMachines() (list []driver.Machine) {
	for name := range hostileNames {
		list = append(list, driver.Machine{ID: "i-0evil", Name: name, State: name, Ping: name, Tags: map[string]string{name: name, "K": name, groupTag: name}})
	}
	return list
}

func TestHostileNamesAreOfferedOnlyIfTheyCanBeWritten(t *testing.T) {
	list := hostileMachines()
	for _, cur := range []string{"", "i", "tag:", "tag:K=", "asg:"} {
		found := map[string]bool{}
		for _, c := range targets(list, cur) {
			name := strings.TrimPrefix(strings.TrimPrefix(c.value, "tag:K="), "asg:")
			name = strings.TrimSuffix(strings.TrimPrefix(name, "tag:"), "=")
			found[name] = true
			for _, text := range []string{c.value, c.help} {
				if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("%q: %q", cur, text)
				}
			}
			if len([]rune(c.help)) > maxHelp {
				t.Errorf("%q is long", c.help)
			}
		}
		for name, usable := range hostileNames {
			if cur == "tag:" && strings.Contains(name, "=") {
				continue // where would the key end?
			}
			if name != "" && found[name] != usable {
				t.Errorf("%q: %q is offered: %v", cur, name, found[name])
			}
		}
		if cur != "tag:" && cur != "asg:" && cur != "tag:K=" && !found["i-0evil"] {
			t.Errorf("%q: no id", cur)
		}
	}
	for _, c := range machines(list, "i", usableHost) {
		if strings.Trim(c.value, hostCharacters) != "" || c.value[0] == '-' {
			t.Errorf("ssh is offered %q", c.value)
		}
	}
}

// TestQuotedForBash has a real shell say what it reads.
func TestQuotedForBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is missing")
	}
	for name, usable := range hostileNames {
		for _, quote := range []string{"", `"`, `'`} {
			if !usable {
				continue
			}
			var out bytes.Buffer
			line := splitBash("ssmpipe proxy "+quote, "")
			if err := line.write(&out, []candidate{{value: name}}, false); err != nil {
				t.Fatal(err)
			}
			if out.Len() == 0 && quote != "" && strings.ContainsAny(name, "'\"`$!\\") {
				continue
			}
			word := quote + strings.TrimSuffix(out.String(), "\n") + quote
			cmd := exec.Command(bash, "-c", "printf %s "+word)
			cmd.Dir = t.TempDir()
			got, err := cmd.CombinedOutput()
			if err != nil || string(got) != name {
				t.Errorf("%q became %s, which is %q to bash (%v)", name, word, got, err)
			}
		}
	}
}

func TestSplitForBash(t *testing.T) {
	tests := []struct {
		line, text string
		words      string // separated by |
		kept       string
		quote      rune
	}{
		{"ssmpipe proxy we", "we", "ssmpipe|proxy|we", "", 0},
		{"ssmpipe  proxy ", "", "ssmpipe|proxy|", "", 0},
		{"ssmpipe proxy tag:Na", "Na", "ssmpipe|proxy|tag:Na", "tag:", 0},
		{"ssmpipe proxy tag:", "", "ssmpipe|proxy|tag:", "tag:", 0},
		{"ssmpipe proxy tag:Name=w", "w", "ssmpipe|proxy|tag:Name=w", "tag:Name=", 0},
		{`ssmpipe proxy "we b`, "we b", "ssmpipe|proxy|we b", "", '"'},
		{`ssmpipe proxy tag:"Na me`, "Na me", "ssmpipe|proxy|tag:Na me", "tag:", '"'},
		{`ssmpipe proxy 'it`, "it", "ssmpipe|proxy|it", "", '\''},
		{`ssmpipe proxy we\ b`, `we\ b`, "ssmpipe|proxy|we b", "", 0},
		{`ssmpipe proxy "a\"b\c"\"`, `"a\"b\c"\"`, `ssmpipe|proxy|a"b\c"`, "", 0},
		{`ssmpipe "" x`, "x", "ssmpipe||x", "", 0},
		{"ssmpipe proxy ü:x", "x", "ssmpipe|proxy|ü:x", "ü:", 0},
		{"ssh me@we", "@we", "ssh|me@we", "me", 0},
		{"ssh 'unclosed \\", "\\", "ssh|unclosed \\", "unclosed ", '\''},
	}
	for _, test := range tests {
		l := splitBash(test.line, test.text)
		if got := strings.Join(l.words, "|"); got != test.words || l.kept != test.kept || l.quote != test.quote {
			t.Errorf("%q: %q, %q, %q; want %q, %q, %q", test.line, got, l.kept, l.quote, test.words, test.kept, test.quote)
		}
	}
}

func TestQuotedForPowerShell(t *testing.T) {
	for word, want := range map[string]string{
		"web-1":       "web-1",
		"tag:A=b":     "tag:A=b",
		"a b":         "'a b'",
		"it's":        "'it''s'",
		"$(x)":        "'$(x)'",
		"a’; evil; ‘": "'a’’; evil; ‘‘'",
		"a,b":         "'a,b'",
		"@x":          "'@x'",
		"1%":          "'1%'",
	} {
		if got := quotePowerShell(word); got != want {
			t.Errorf("%s became %s, want %s", word, got, want)
		}
	}
}

func TestPowerShellReadsASCII(t *testing.T) {
	var out bytes.Buffer
	// "ssmpipe\nproxy\n\"B" in base64
	a := testAsker()
	if err := a.answer(&out, []string{"powershell", "c3NtcGlwZQpwcm94eQoiQg=="}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsFunc(out.String(), func(r rune) bool { return r >= 0x80 }) {
		t.Errorf("%q", &out)
	}
	var got []struct{ Text, Item, Help string }
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || len(got) != 1 || got[0].Text != "'Büro'" || got[0].Item != "Büro" || got[0].Help != "mi-0ddd1" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestOtherHostsAreNotOffered as machines: ssh would go to those hosts.
func TestOtherHostsAreNotOffered(t *testing.T) {
	a := testAsker()
	a.known = func(machine.Options) ([]driver.Machine, time.Duration, bool) {
		return []driver.Machine{{ID: "i-0aaa1", Name: "vault.corp"}, {ID: "i-0aaa2", Name: "localhost"}, {ID: "i-0aaa3", Name: "0x7f.1"}, {ID: "i-0aaa4", Name: "web-1"}}, 0, true
	}
	var got []string
	for _, c := range a.hosts(hostCommands["ssh"], []string{""}) {
		got = append(got, c.value)
	}
	if want := "i-0aaa1 i-0aaa2 i-0aaa3 web-1"; strings.Join(got, " ") != want {
		t.Errorf("ssh is offered %q, want %q", got, want)
	}
}
